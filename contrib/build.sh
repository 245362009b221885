#!/usr/bin/env bash
# Builds the programs for a system: contrib/build.sh [--helper | --check] [TARGET...]
#
# Targets: {x86_64,aarch64}-unknown-linux-{gnu,musl}, {x86_64,aarch64}-apple-darwin, x86_64-pc-windows-gnu. Without one it
# is this machine's. Each target gets a folder. Only the paths of these folders are printed on stdout.
#
# - musl: static programs, for every Linux.
# - gnu: `kohakuriver` and the gateway for Debian 11, RHEL 9 and newer ones. The helper is the static one: it starts in
#   half the time.
# - Windows has no gateway.
#
# --helper builds the helper alone. --check only checks that everything compiles.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

only_helper=no verb=build
case ${1-} in
    --helper) only_helper=yes; shift ;;
    --check) verb=check; shift ;;
esac
targets=("$@")
if [ $# -eq 0 ]; then
    targets=("$(rustc -vV | sed -n 's/^host: //p')")
fi
tools=(cc:gcc cc:libc6-dev python3:python3 python3:python3-venv)
for name in "${targets[@]}"; do
    case $name in *-windows-gnu) tools+=(x86_64-w64-mingw32-gcc:gcc-mingw-w64-x86-64) ;; esac
done
. contrib/packages.sh
. contrib/cross.sh
install_missing
need_cargo

# No path of this machine gets into a program.
prefixes() {
    local sources
    sources=$(rustc --print sysroot)/lib/rustlib/src/rust
    # The folder itself may be a link.
    printf -- ' --remap-path-prefix=%s' "$PWD=." "${CARGO_HOME:-$HOME/.cargo}=/cargo" "$sources=/rustc" "$(readlink -f "$sources")=/rustc"
}

# Builds for the target $1 with the arguments of cargo behind it.
build() (
    name=$1 RUSTFLAGS=
    shift
    prepare_rust "$name" "$folder"
    prepare_linker "$name" "$folder" "$verb"
    RUSTFLAGS="$RUSTFLAGS$(prefixes)"
    export RUSTFLAGS
    "${cargo[@]}" --locked "${std[@]}" --target "$target" "$@" >&2
)

folder=$(target_folder)
for name in "${targets[@]}"; do
    helper=$name suffix='' features=() others=(kohakuriver kohakuriver-gateway)
    case $name in
        *-linux-gnu) helper=${name%-gnu}-musl ;;
        *-windows-gnu) suffix=.exe features=(--no-default-features --features cli) others=(kohakuriver) ;;
    esac
    if [ "$verb" = check ]; then
        build "$name" "${features[@]}" --bins
        continue
    fi
    if [ "$only_helper" = yes ]; then
        others=()
    else
        build "$name" --release "${features[@]}" "${others[@]/#/--bin=}"
    fi
    build "$helper" --profile small --no-default-features --bin kohakuriver-proxy
    made=$folder/dist/$name
    rm -rf "$made"
    others=("${others[@]/#/$folder/$name/release/}")
    install -D -t "$made" "${others[@]/%/$suffix}" "$folder/$helper/small/kohakuriver-proxy$suffix"
    printf '%s\n' "$made"
done
