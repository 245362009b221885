#!/bin/sh
# Installs kohakuriver-proxy @VERSION@ without root:
#
#   curl -fsSL @URL@/install.sh | sh
#
#   KOHAKURIVER_PREFIX   the folder whose `bin` gets the programs, and whose `share` the manual and completions (~/.local)
#   KOHAKURIVER_URL      the address of the release's files
set -eu

say() { printf '%s\n' "$*" >&2; }
die() {
    say "install.sh: $1"
    shift
    for line; do say "  hint: $line"; done
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

target() {
    case $(uname -m) in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) die "there are no programs for the processor $(uname -m)" "build them: cargo install --locked kohakuriver-proxy" ;;
    esac
    case $(uname -s) in
    # The static programs, which run on each distribution.
    Linux) echo "$machine-unknown-linux-musl" ;;
    Darwin) echo "$machine-apple-darwin" ;;
    *) die "this script knows Linux and macOS, not $(uname -s)" "for Windows there is a .zip at $url" ;;
    esac
}

# Downloads the file $1 into the work folder.
download() {
    say "downloading $url/$1"
    if ! has curl; then
        # A redirection does not lead away from https, where wget can be told so.
        only=
        if [ "${url#https:}" != "$url" ] && wget --help 2>&1 | grep -q -e --https-only; then only=--https-only; fi
        wget -q $only -O "$work/$1" "$url/$1"
    elif [ "${url#https:}" != "$url" ]; then
        # The same with curl.
        curl --proto '=https' -fsSL -o "$work/$1" "$url/$1"
    else
        curl -fsSL -o "$work/$1" "$url/$1"
    fi || die "cannot download $1 into $prefix" "is there a network, and room on the disk?"
}

# The SHA-256 of the file $1.
sum() {
    if has sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# Moves each file to its place. The work folder is on the same disk, so no file is ever half there.
move() {
    find bin share -type f | while IFS= read -r file; do
        mv -f "$file" "$prefix/$file" || exit 1
    done
}

# Makes the folders of the prefix. Prints the first one that can't take its files, if there is one.
blocked() {
    find bin share -type f | while IFS= read -r file; do
        folder=$prefix/${file%/*}
        if ! { mkdir -p "$folder" && [ -w "$folder" ] && [ ! -d "$prefix/$file" ]; } 2>/dev/null; then
            echo "$folder"
            break
        fi
    done
}

# All of it is a function: of a script that is cut off on its way, nothing runs.
main() {
    unset CDPATH
    url=${KOHAKURIVER_URL:-@URL@}
    [ -n "${KOHAKURIVER_PREFIX:-${HOME:-}}" ] || die "HOME is not set" "name a folder: KOHAKURIVER_PREFIX=FOLDER"
    prefix=${KOHAKURIVER_PREFIX:-$HOME/.local}
    name=kohakuriver-proxy-@VERSION@-$(target)
    has curl || has wget || die "neither curl nor wget is installed" "install one of them"
    has sha256sum || has shasum || die "neither sha256sum nor shasum is installed" "install one of them"
    for tool in awk cut find gzip mktemp tar; do
        has $tool || die "$tool is not installed" "install it"
    done
    is_new=$([ -d "$prefix" ] || echo yes)
    { mkdir -p "$prefix" && prefix=$(cd "$prefix" && pwd) && work=$(mktemp -d "$prefix/.kohakuriver-proxy.XXXXXX"); } ||
        die "cannot write to $prefix" "name another folder: KOHAKURIVER_PREFIX=FOLDER"
    trap 'rm -rf "$work"; [ -z "$is_new" ] || rmdir "$prefix" 2>/dev/null || :' EXIT
    trap 'exit 130' HUP INT PIPE TERM

    download SHA256SUMS
    expected=$(awk -v name="$name.tar.gz" '$2 == name { print $1 }' "$work/SHA256SUMS")
    [ -n "$expected" ] || die "SHA256SUMS does not name $name.tar.gz" "there is no such file in this release"
    download "$name.tar.gz"
    actual=$(sum "$work/$name.tar.gz")
    [ "$actual" = "$expected" ] ||
        die "$name.tar.gz has the SHA-256 $actual, and SHA256SUMS says $expected" "try again; if it stays so, tell the maintainers"
    tar -xzf "$work/$name.tar.gz" -C "$work" || die "cannot unpack into $prefix" "is there room on the disk?"
    "$work/$name/bin/kohakuriver" --version >/dev/null || die "the programs don't run on this machine"
    folder=$(cd "$work/$name" && blocked)
    [ -z "$folder" ] || die "cannot write to $folder" "name another folder: KOHAKURIVER_PREFIX=FOLDER"
    (cd "$work/$name" && move) && [ -x "$prefix/bin/kohakuriver" ] ||
        die "cannot write to $prefix" "name another folder: KOHAKURIVER_PREFIX=FOLDER"

    say "installed kohakuriver, kohakuriver-proxy and kohakuriver-gateway @VERSION@ in $prefix/bin"
    case :$PATH: in
    *":$prefix/bin:"*)
        found=$(command -v kohakuriver)
        [ "$found" = "$prefix/bin/kohakuriver" ] || say "$found comes first on your PATH: put $prefix/bin before it"
        ;;
    *) say "put this line into your shell's start-up file: export PATH=\"$prefix/bin:\$PATH\"" ;;
    esac
    say "next: kohakuriver login HOST"
}

main
