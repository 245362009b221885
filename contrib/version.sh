#!/usr/bin/env bash
# A version is one number in three places: Cargo.toml, the newest section of CHANGELOG.md, and the tag of its commit.
#
#   contrib/version.sh            prints the version, if the places agree
#   contrib/version.sh NUMBER     makes a version of what is Unreleased: writes the number, commits it, and sets the tag
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf '%s\n' "contrib/version.sh: $*" >&2; exit 1; }
written() { sed -n '/^name = "kohakuriver-proxy"$/,/^version/ s/^version = "\(.*\)"$/\1/p' "$1"; }
sections() { sed -n 's/^## //p' CHANGELOG.md; }

# Prints the version; $1 is the tag that this commit is to have, if it has none.
check() {
    local version tag
    version=$(written Cargo.toml)
    [ "$(written Cargo.lock)" = "$version" ] || die "Cargo.lock is not of version $version: run cargo"
    # What comes after a version gathers in a section above it.
    [ "$(sections | sed '1{/^Unreleased$/d}' | head -n 1)" = "$version" ] ||
        die "the newest section of CHANGELOG.md is not $version"
    tag=$(git tag --points-at HEAD 'v*' 2>/dev/null || true)
    tag=${tag:-${1-}}
    if [ -n "$tag" ]; then
        [ "$tag" = "v$version" ] || die "this commit has the tag $tag, and is version $version"
        [ "$(sections | head -n 1)" = "$version" ] || die "CHANGELOG.md has something Unreleased above $version"
    fi
    printf '%s\n' "$version"
}

if [ $# -gt 0 ]; then
    [[ $1 =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || die "$1 is not a version: write it as 1.2.3"
    [ -z "$(git status --porcelain)" ] || die "commit your changes first"
    [ -z "$(git tag --list "v$1")" ] || die "there is a tag v$1"
    for file in Cargo.toml Cargo.lock; do
        sed -i "/^name = \"kohakuriver-proxy\"\$/,/^version/ s/^version = .*/version = \"$1\"/" "$file"
    done
    sed -i "s/^## Unreleased\$/## $1/" CHANGELOG.md
    (check "v$1") >/dev/null || {
        git checkout --quiet .
        exit 1
    }
    git diff --quiet || git commit --quiet --all --message "Version $1"
    git tag --annotate --message "Version $1" "v$1"
fi
check
