#!/usr/bin/env bash
# Builds the programs for a system: contrib/build.sh [--helper | --check | --test] [TARGET...]
#
# Targets: {x86_64,aarch64}-unknown-linux-{gnu,musl}, {x86_64,aarch64}-apple-darwin, x86_64-pc-windows-gnu. Without one it
# is this machine's, and for --check it is all others. Each target gets a folder. Only the paths of these folders are
# printed on stdout.
#
# - musl: static programs, for every Linux.
# - gnu: `kohakuriver` and the gateway for Debian 11, RHEL 9 and newer ones. The helper is the static one: it starts in
#   half the time.
# - Windows has no gateway.
#
# --helper builds the helper alone. --check only checks that everything compiles. --test runs the unit tests, on a machine
# that runs programs of the target.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

only_helper=no verb=build
case ${1-} in
    --helper) only_helper=yes; shift ;;
    --check) verb=check; shift ;;
    --test) verb='test'; shift ;;
esac
tools=(cc:gcc cc:libc6-dev python3:python3 python3:python3-venv)
. contrib/packages.sh
. contrib/cross.sh
targets=("$@")
own_target() { rustc -vV | sed -n 's/^host: //p'; }
case $#-$verb in
    0-check) mapfile -t targets < <(printf '%s\n' "${all_targets[@]}" | grep -vxF "$(own_target)") ;;
    0-*) targets=("$(own_target)") ;;
esac
for name in "${targets[@]}"; do
    case $name in *-windows-gnu) tools+=(x86_64-w64-mingw32-gcc:gcc-mingw-w64-x86-64) ;; esac
done
install_missing
need_cargo

# No path of this machine gets into a program.
hide_paths() {
    local sources
    sources=$(rustc --print sysroot)/lib/rustlib/src/rust
    rustflags+=("--remap-path-prefix="{"$PWD=.","${CARGO_HOME:-$HOME/.cargo}=/cargo","$sources=/rustc"})
    # The folder itself may be a link.
    [ ! -d "$sources" ] || rustflags+=("--remap-path-prefix=$(readlink -f "$sources")=/rustc")
}

# Builds for the target $1 with the arguments of cargo behind it.
build() (
    name=$1 rustflags=()
    shift
    prepare_rust "$name" "$folder"
    prepare_linker "$name" "$folder" "$verb"
    # With them, a check in another folder would begin anew.
    [ "$verb" = check ] || hide_paths
    # Paths may have blanks.
    CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf %s "${rustflags[*]}")
    export CARGO_ENCODED_RUSTFLAGS
    "${cargo[@]}" --locked "${std[@]}" --target "$target" "$@" >&2
)

folder=$(target_folder)
for name in "${targets[@]}"; do
    helper=$name suffix='' features=() others=(kohakuriver kohakuriver-gateway)
    case $name in
        *-linux-gnu) helper=${name%-gnu}-musl ;;
        *-windows-gnu) suffix=.exe features=(--no-default-features --features cli) others=(kohakuriver) ;;
    esac
    if [ "$verb" = test ]; then
        build "$name" "${features[@]}" --lib
        continue
    fi
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
