# shellcheck shell=bash
# What it takes to build for another system. To be sourced behind packages.sh.
#
# rustup's targets are taken where they are installed (`rustup target add TARGET`). On Debian 12, Debian's own compiler
# works without them: it has the sources of the standard library, from which cargo builds it for any target. It is unpacked
# into a folder and not installed, since it conflicts with other compilers.
#
# Programs for Windows are linked by Debian's mingw. All others are linked by zig, which brings the C libraries of Linux
# and macOS, from PyPI.

# All that a release is made for.
all_targets=(
    {x86_64,aarch64}-unknown-linux-{gnu,musl} {x86_64,aarch64}-apple-darwin x86_64-pc-windows-gnu
)
rust_version=1.96
rust_packages=(
    rustc-web cargo-web rust-web-src libstd-rust-web-dev "libstd-rust-web-$rust_version" libllvm22
    libgit2-1.5 libhttp-parser2.9 libssh2-1 libmbedcrypto7 libmbedtls14 libmbedx509-1
)
zig_packages=(ziglang==0.15.2 cargo-zigbuild==0.24.1)
# The oldest C library that the programs run with: Debian 11's. Ubuntu 22.04 and RHEL 9 have newer ones.
glibc=2.31

has_target() { [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ]; }

# Debian's compiler in the folder $1.
unpack_rust() (
    [ ! -x "$1/root/usr/bin/rustc" ] || exit 0
    say "unpacking Debian's Rust compiler into $1"
    rm -rf "$1" && mkdir -p "$1/packages" "$1/new" && cd "$1/packages" || exit 1
    apt-get -qq -o APT::Sandbox::User= download "${rust_packages[@]}" || exit 1
    for package in ./*.deb; do
        dpkg -x "$package" ../new || exit 1
    done
    cd .. && rm -rf packages && mv new root
)

# Makes cargo and rustc able to build for the target $1; $2 is the target folder. Sets `std`, cargo's arguments for the
# standard library.
prepare_rust() {
    std=()
    if has_target "$1"; then
        return
    fi
    local root=$2/debian-rust
    if ! has apt-get || ! { apt_get update && unpack_rust "$root"; } >&2; then
        die "there is no standard library for $1: rustup target add $1"
    fi
    root=$root/root/usr
    export PATH=$root/bin:$PATH RUSTC=$root/bin/rustc RUSTDOC=$root/bin/rustdoc
    LD_LIBRARY_PATH=$root/lib/$(uname -m)-linux-gnu:$root/lib
    export LD_LIBRARY_PATH
    if ! has_target "$1"; then
        # The option needs this of a stable compiler.
        export RUSTC_BOOTSTRAP=1
        std=(-Z build-std=std,panic_unwind)
    fi
}

# Makes a linker for the target $1; $2 is the target folder. Adds to `rustflags`. Sets `cargo`, the command that builds with it, or checks if
# $3 is `check`, and `target`, the target's name for that command.
prepare_linker() {
    local verb=${3/#build/zigbuild}
    cargo=(cargo-zigbuild "$verb")
    target=$1
    case $1 in
        *-windows-gnu)
            export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=$PWD/contrib/windows/gcc.sh
            # The header of a program would hold the time of linking.
            rustflags+=(-Clink-arg=-Wl,--no-insert-timestamp)
            cargo=(cargo "$3")
            return
            ;;
        *-linux-gnu) target=$1.$glibc ;;
        # zig has the start files of the C library, and rustc's would come twice.
        *-musl) rustflags+=(-Clink-self-contained=no) ;;
        *-apple-darwin)
            # There is no program that strips these. zig leaves out what debuggers need, such as the paths of object files.
            export CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_SMALL_STRIP=none
            rustflags+=(-Clink-arg=-Wl,-S)
            # It has no frameworks: the names in them are enough to link.
            local framework
            for framework in contrib/macos/*.tbd; do
                framework=$(basename "$framework" .tbd)
                install -D -m 644 -t "$2/macos/$framework.framework" "contrib/macos/$framework.tbd"
            done
            rustflags+=("-Clink-arg=-F$2/macos")
            ;;
    esac
    local zig=$2/zig
    if [ ! -x "$zig/bin/cargo-zigbuild" ]; then
        say "installing zig into $zig"
        rm -rf "$zig" "$zig.new"
        python3 -m venv "$zig.new" >&2 && "$zig.new/bin/pip" --quiet install "${zig_packages[@]}" >&2 || die "zig can't be installed"
        mv "$zig.new" "$zig"
    fi
    export PATH=$zig/bin:$PATH CARGO_ZIGBUILD_ZIG_PATH=$zig/bin/python-zig
}
