#!/usr/bin/env bash
# Makes what a release consists of, in target/release-artifacts/: archives of the programs with their manual and
# completions, the static helper alone, packages for Debian and Fedora, container images of the gateway, a formula for
# Homebrew, a manifest for Scoop, a PKGBUILD, install.sh, a bill of materials and SHA256SUMS.
#
#   contrib/release.sh [--url URL] [--programs FOLDER] [--output FOLDER] [TARGET...]
#
# Without a TARGET it makes all of them. URL is where the files will be: the formula, the manifest, the PKGBUILD and
# install.sh name it, and are not made without it. contrib/build.sh builds the programs, unless FOLDER/TARGET holds them.
# Two runs on one commit pack equal programs into equal bytes: each time of a file is the commit's (SOURCE_DATE_EPOCH).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022
export LC_ALL=C TZ=UTC

tools=(git:git zip:zip umoci:umoci xz:xz-utils readelf:binutils cc:gcc cc:libc6-dev)
. contrib/packages.sh
. contrib/cross.sh
. contrib/release-tools.sh
install_missing
need_cargo

documents=(
    README.md CHANGELOG.md CONTRIBUTING.md LICENSE SECURITY.md benches/{README.md,scale.svg} examples/ssh_config
    contrib/{fuzz,gateway,ide,office,systemd}/README.md contrib/gateway/{front,grafana,images,prometheus}/*.*
)
folder=$(target_folder)
programs= url=
output=$folder/release-artifacts
while [[ ${1-} == --* ]]; do
    case $1 in
    --url) url=${2%/} ;;
    --programs) programs=$(realpath "$2") ;;
    --output) output=$(realpath --canonicalize-missing "$2") ;;
    *) die "unknown option $1" ;;
    esac
    shift 2
done
targets=("$@")
[ $# -gt 0 ] || targets=("${all_targets[@]}")

version=$(contrib/version.sh)
[ -n "$(git tag --points-at HEAD "v$version")" ] || say "v$version is not the tag of this commit: this is no release"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
created=$(date --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
maintainer="${DEBFULLNAME:-$(git log -1 --format=%an)} <${DEBEMAIL:-$(git log -1 --format=%ae)}>"
install_release_tools "$folder/tools"
PATH=$folder/tools/bin:$PATH

# A tar archive of what is in the folder $1, on stdout; `${@:2}` are the names in it.
pack() {
    tar --create --dereference --directory "$1" --sort name --mtime "@$SOURCE_DATE_EPOCH" --owner 0 --group 0 \
        --numeric-owner --mode u=rwX,go=rX "${@:2}"
}

# Where the programs of the target $1 are.
programs_of() {
    if [ -n "$programs" ]; then
        [ -d "$programs/$1" ] || die "there is no folder $programs/$1"
        printf '%s\n' "$programs/$1"
    else
        contrib/build.sh "$1" >&2
        printf '%s\n' "$folder/dist/$1"
    fi
}

# The programs in the folder $1 must need no newer libc than the packages ask for.
check_libc() {
    local promised newest
    promised=$(sed -n 's/^depends = "libc6 (>= \([0-9.]*\)).*/\1/p' Cargo.toml)
    newest=$({ echo "GLIBC_$promised"; grep -aoh 'GLIBC_2\.[0-9]*' "$1"/*; } | sort -uV | tail -n 1)
    [ "$newest" = "GLIBC_$promised" ] || die "the programs in $1 need $newest, and Cargo.toml promises $promised"
    grep -qF "libc.so.6(GLIBC_$promised)" Cargo.toml || die "Cargo.toml promises two versions of libc"
}

# The programs in the folder $1 must run where there is no loader.
check_static() {
    local program
    for program in "$1"/*; do
        ! readelf --wide --segments "$program" | grep INTERP >/dev/null || die "$program is not static"
    done
}

# No path of this machine may be in the programs in the folder $1: another one would make others.
check_paths() {
    ! grep -alF -- "$PWD" "$1"/* >&2 || die "these programs in $1 name a file of this machine"
}

# The documents, into the folder $1.
pack_documents() {
    local document
    for document in "${documents[@]}"; do
        install -D -m 644 "$document" "$1/$document"
    done
}

# What users of UNIX systems get beside the programs, in the folder $1.
shared_files() {
    local share=$1/share said program
    mkdir -p "$share"/{bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
    said=$("$kohakuriver" man --output "$share/man" 2>&1) || die "$said"
    find "$share/man" -type f -exec gzip -9n {} +
    for program in kohakuriver{,-proxy,-gateway}; do
        "$kohakuriver" completions bash "$program" >"$share/bash-completion/completions/$program"
        "$kohakuriver" completions zsh "$program" >"$share/zsh/site-functions/_$program"
        "$kohakuriver" completions fish "$program" >"$share/fish/vendor_completions.d/$program.fish"
    done
    pack_documents "$share/doc/kohakuriver-proxy"
    install -m 644 LICENSE "$1"
}

# What users of Windows get beside the programs, in the folder $1. Windows shows no manual pages.
windows_files() {
    local program
    pack_documents "$1"
    mkdir "$1/completions"
    for program in kohakuriver{,-proxy}; do
        "$kohakuriver" completions powershell "$program" >"$1/completions/$program.ps1"
    done
}

archive() {
    if [[ $1 == *-windows-* ]]; then
        (cd "$work" && find -L "$name" -type f | sort | zip -9 --quiet -X - -@ >"$out/$name.zip")
    else
        pack "$work" "$name" | gzip -9n >"$out/$name.tar.gz"
    fi
}

# For the target $1, a package for Debian and Ubuntu, and one for Fedora and its relatives.
packages() {
    sed -i 's|/usr/local/bin/|/usr/bin/|' "$work/$name"/lib/systemd/system/*
    mkdir "$work/$name/debian"
    install -D -m 644 contrib/packaging/lintian-overrides "$work/$name/lintian/kohakuriver-proxy"
    gzip -9n >"$work/$name/debian/changelog.Debian.gz" <<END
kohakuriver-proxy ($version-1) stable; urgency=medium

  * CHANGELOG.md lists the changes.

 -- $maintainer  $(date --date "@$SOURCE_DATE_EPOCH" --rfc-email)
END
    CARGO_TARGET_DIR=$work cargo-deb --quiet --locked --no-build --no-strip --target "$1" --maintainer "$maintainer" \
        --output "$out/"
    cargo-generate-rpm --target-dir "$work" --target "$1" --output "$out/"
}

# An image that holds the static gateway of the target $1 and nothing else.
image() {
    local layout=$work/image architecture=amd64 image
    [[ $1 == x86_64-* ]] || architecture=arm64
    install -D -m 755 "$work/$name/bin/kohakuriver-gateway" "$work/root/usr/bin/kohakuriver-gateway"
    pack "$work/root" usr >"$work/layer.tar"
    image=$layout:kohakuriver-gateway:$version
    umoci init --layout "$layout"
    umoci new --image "$image"
    umoci raw add-layer --image "$image" --history.created "$created" --history.created_by contrib/release.sh \
        "$work/layer.tar"
    umoci config --image "$image" --no-history --created "$created" --os linux --architecture "$architecture" \
        --config.user 65534:65534 --config.exposedports 8002/tcp --config.entrypoint /usr/bin/kohakuriver-gateway \
        --config.label "org.opencontainers.image.version=$version"
    umoci gc --layout "$layout" >/dev/null
    pack "$layout" . >"$out/kohakuriver-gateway-$version-linux-$architecture.oci.tar"
    rm -r "$layout" "$work/root"
}

# Fills in the template $1: the version, where the files will be, and the sums of archives.
fill() {
    local text archive
    text=$(sed -e "s|@VERSION@|$version|g" -e "s|@URL@|$url|g" "$1")
    while [[ $text =~ @SHA256:([^@]+)@ ]]; do
        archive=kohakuriver-proxy-$version-${BASH_REMATCH[1]}
        if [ ! -e "$out/$archive" ]; then
            say "no $(basename "$1"): it names $archive, which was not made"
            return
        fi
        text=${text//"${BASH_REMATCH[0]}"/$(sha256sum "$out/$archive" | cut -d ' ' -f 1)}
    done
    printf '%s\n' "$text" >"$out/$(basename "$1")"
}

work=$(mktemp -d)
materials=kohakuriver-proxy-$version.cdx
trap 'rm -rf "$work" "$materials.json"' EXIT
if [ -n "$(ls -A "$output" 2>/dev/null)" ] && [ ! -e "$output/SHA256SUMS" ]; then
    die "$output holds something else than a release: name an empty folder"
fi
# The last release stays until this one is whole.
out=$work/out
mkdir "$out"
# A native `kohakuriver` writes the manual and completions.
kohakuriver=$(programs_of "$(rustc -vV | sed -n 's/^host: //p')")/kohakuriver
[ "$("$kohakuriver" --version)" = "kohakuriver $version" ] || die "$kohakuriver is not of version $version"
shared_files "$work/shared"
windows_files "$work/windows"
for target in "${targets[@]}"; do
    say "$target"
    from=$(programs_of "$target")
    [ -n "$programs" ] || check_paths "$from"
    name=kohakuriver-proxy-$version-$target
    # Where cargo's tools look for what they pack, by its name in the archive.
    mkdir -p "$work/$target"
    case $target in
    *-windows-*) cp -r "$work/windows" "$work/$target/release" ;;
    *) cp -r "$work/shared" "$work/$target/release" ;;
    esac
    ln -s "$target/release" "$work/$name"
    install -D -m 755 -t "$work/$name/bin" "$from"/kohakuriver*
    if [[ $target == *-linux-* ]]; then
        install -D -m 644 -t "$work/$name/lib/systemd/system" contrib/systemd/*.{service,socket}
        install -D -m 644 contrib/packaging/default "$work/$name/etc/default/kohakuriver-gateway"
        install -D -m 644 contrib/packaging/logrotate "$work/$name/etc/logrotate.d/kohakuriver-gateway"
    fi
    find "$work/$target" -exec touch --date "@$SOURCE_DATE_EPOCH" {} +
    archive "$target"
    case $target in
    *-linux-gnu)
        [ -n "$programs" ] || check_libc "$from"
        packages "$target"
        ;;
    *-linux-musl)
        [ -n "$programs" ] || check_static "$from"
        install -m 755 "$from/kohakuriver-proxy" "$out/$name"
        image "$target"
        ;;
    esac
done
if [ -n "$url" ]; then
    for template in contrib/install.sh contrib/packaging/{kohakuriver-proxy.{rb,json},PKGBUILD}; do
        fill "$template"
    done
else
    say "no --url: there is no formula, manifest, PKGBUILD and install.sh"
fi
cargo cyclonedx --quiet --format json --target all --override-filename "$materials"
# The path of this checkout does not belong there.
sed "s|path+file://$PWD|path+file:///|" "$materials.json" >"$out/$materials.json"
(cd "$out" && sha256sum -- * >"$work/SHA256SUMS" && install -m 644 "$work/SHA256SUMS" .)
rm -rf "$output"
mkdir -p "$(dirname "$output")"
mv "$out" "$output"
(cd "$output" && du -h -- *)
