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

build="build them in the folder of the source: cargo install --locked --path ."
elsewhere="name another folder: KOHAKURIVER_PREFIX=FOLDER"

target() {
    case $(uname -m) in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) die "there are no programs for the processor $(uname -m)" "$build" ;;
    esac
    case $(uname -s) in
    # The static programs, which run on each distribution.
    Linux) echo "$machine-unknown-linux-musl" ;;
    Darwin) echo "$machine-apple-darwin" ;;
    MINGW* | MSYS* | CYGWIN*)
        die "this script knows Linux and macOS, not Windows" "unpack $url/kohakuriver-proxy-@VERSION@-x86_64-pc-windows-gnu.zip"
        ;;
    *) die "there are no programs for $(uname -s)" "$build" ;;
    esac
}

# Downloads the file $1 into the work folder.
download() {
    say "downloading $url/$1"
    # From https, no redirection leads to http. Only GNU's wget has an option for that, and with -q it gives no reason.
    only=
    case $url in https:*) only=yes ;; esac
    if has curl; then
        said=$(curl ${only:+--proto =https} -fsSL -o "$work/$1" "$url/$1" 2>&1)
    elif wget --help 2>&1 | grep -q -e --https-only; then
        said=$(wget -nv ${only:+--https-only} -O "$work/$1" "$url/$1" 2>&1)
    else
        said=$(wget -q -O "$work/$1" "$url/$1" 2>&1)
    fi || die "cannot download $url/$1: ${said##*
}" "check the address, the network, and the room in $prefix"
}

# The SHA-256 of the file $1.
sum() {
    if has sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

# Prints what keeps a file from its place, if anything does.
blocked() {
    find bin share -type f | while IFS= read -r file; do
        folder=$prefix/${file%/*}
        [ ! -d "$prefix/$file" ] || folder=$prefix/$file
        while [ ! -e "$folder" ] && [ ! -L "$folder" ]; do folder=${folder%/*}; done
        if [ ! -d "$folder" ] || [ ! -w "$folder" ] || [ "$folder" = "$prefix/$file" ]; then
            echo "$folder"
            break
        fi
    done
}

# Moves each file to its place. The work folder is on the same disk, so no file is ever half there.
move() {
    find bin share -type f | while IFS= read -r file; do
        { mkdir -p "$prefix/${file%/*}" && mv -f "$file" "$prefix/$file"; } || exit 1
    done
}

# Makes the folder of the prefix, and the work folder in it. `made` is each folder that was not there before.
folders() {
    case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
    prefix=${prefix%/}
    made= work= folder=$prefix
    while [ ! -e "$folder" ] && [ -n "$folder" ]; do
        made="$made$folder
"
        folder=${folder%/*}
    done
    trap leave EXIT
    trap 'exit 130' HUP INT PIPE TERM
    mkdir -p "$prefix/" && prefix=$(cd "$prefix/" && pwd) && work=$(mktemp -d "$prefix/.kohakuriver-proxy.XXXXXX")
}

# Of what this script makes, only the installed files stay.
leave() {
    [ -z "$work" ] || rm -rf "$work"
    printf '%s' "$made" | while IFS= read -r folder; do rmdir "$folder" || :; done 2>/dev/null
}

# All of it is a function: of a script that is cut off on its way, nothing runs.
main() {
    unset CDPATH
    # Other users can read the manual and completions, whatever umask the caller has.
    umask 022
    url=${KOHAKURIVER_URL:-@URL@}
    url=${url%/}
    [ -n "${KOHAKURIVER_PREFIX:-${HOME:-}}" ] || die "HOME is not set" "name a folder: KOHAKURIVER_PREFIX=FOLDER"
    prefix=${KOHAKURIVER_PREFIX:-$HOME/.local}
    name=kohakuriver-proxy-@VERSION@-$(target)
    has curl || has wget || die "neither curl nor wget is installed" "install one of them"
    has sha256sum || has shasum || die "neither sha256sum nor shasum is installed" "install one of them"
    for tool in awk cut find grep gzip mktemp tar; do
        has $tool || die "$tool is not installed" "install it"
    done
    folders || die "cannot write to $prefix" "$elsewhere"

    download SHA256SUMS
    expected=$(awk -v name="$name.tar.gz" '$2 == name { print $1 }' "$work/SHA256SUMS")
    [ -n "$expected" ] || die "$url/SHA256SUMS does not name $name.tar.gz" "there is no such file in this release"
    download "$name.tar.gz"
    actual=$(sum "$work/$name.tar.gz")
    [ "$actual" = "$expected" ] ||
        die "$name.tar.gz has the SHA-256 $actual, and SHA256SUMS says $expected" "try again; if it stays so, tell the maintainers"
    # On a full disk, tar prints a line for each file. The first one is enough.
    said=$(tar -xzf "$work/$name.tar.gz" -C "$work" 2>&1) ||
        die "cannot unpack $name.tar.gz into $prefix: ${said%%
*}" "is there room on the disk?"
    "$work/$name/bin/kohakuriver" --version >/dev/null ||
        die "the programs don't run in $prefix" "if its disk is mounted noexec, $elsewhere"
    folder=$(cd "$work/$name" && blocked)
    [ -z "$folder" ] || die "cannot write to $folder" "$elsewhere"
    (cd "$work/$name" && move) && [ -x "$prefix/bin/kohakuriver" ] || die "cannot write to $prefix" "$elsewhere"

    say "installed kohakuriver, kohakuriver-proxy and kohakuriver-gateway @VERSION@ in $prefix/bin"
    run=kohakuriver
    found=$(command -v kohakuriver || :)
    if ! [ "$found" -ef "$prefix/bin/kohakuriver" ]; then
        [ -z "$found" ] || say "$found comes first on your PATH"
        say "put this line into your shell's start-up file: export PATH=\"$prefix/bin:\$PATH\""
        run=$prefix/bin/kohakuriver
        case $run in *[!A-Za-z0-9/._+-]*) run="'$run'" ;; esac
    fi
    case ${SHELL:-} in
    */zsh) say "for completions, put this line into ~/.zshrc, before compinit: fpath=(\"$prefix/share/zsh/site-functions\" \$fpath)" ;;
    esac
    say "next: $run login HOST"
}

main
