#!/bin/sh
# The whole path on this machine: builds the programs, then starts a VPS (a real sshd) and a gateway on loopback and
# runs `kohakuriver vps connect` into it. See examples/quickstart.rs, which does the work and cleans up.
#
# On Debian and Ubuntu it installs what is missing (OpenSSH, a linker); elsewhere it says what to install.
set -eu

fail() {
    echo "quickstart: $1" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "installing needs root: run \`$*\` as root first"
    fi
}

has_sshd() {
    [ -x /usr/sbin/sshd ] || [ -x /usr/local/sbin/sshd ] || [ -x /sbin/sshd ] || [ -x /usr/bin/sshd ]
}

missing=
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
{ command -v ssh && command -v ssh-keygen; } >/dev/null || missing="$missing openssh-client"
has_sshd || missing="$missing openssh-server"

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || fail "please install:$missing
  Fedora, RHEL:  dnf install gcc openssh-clients openssh-server
  Arch:          pacman -S gcc openssh
  Alpine:        apk add build-base openssh
  openSUSE:      zypper install gcc openssh"
    echo "quickstart: installing$missing" >&2
    if ! has_sshd; then
        # Debian's package starts its sshd at once and at every boot. This machine is not asked to take logins: with
        # this file, which Debian's own unit, socket and init script look for, it stays off until the file is removed.
        as_root mkdir -p /etc/ssh
        as_root touch /etc/ssh/sshd_not_to_be_run
        echo "quickstart: the system's own sshd stays off; /etc/ssh/sshd_not_to_be_run keeps it so" >&2
    fi
    as_root apt-get update -qq >&2
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
fi

command -v cargo >/dev/null || fail "there is no cargo: install Rust from https://rustup.rs"

CDPATH= cd -- "$(dirname -- "$0")/.."
# The debug profile: its programs do the same, and are built in a fraction of the time.
cargo build --locked --bins --example quickstart
# exec, so that a signal to this script reaches the program itself.
exec cargo run --quiet --locked --example quickstart
