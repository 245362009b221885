#!/usr/bin/env bash
# The whole path on this machine: builds the programs, then starts a VPS (a real sshd) and a gateway on loopback and
# runs `kohakuriver vps connect` into it. See examples/quickstart.rs, which does the work and cleans up.
#
# On Debian and Ubuntu it installs missing packages with apt (through sudo unless run as root), and leaves no service of
# theirs running or enabled; elsewhere it says what to install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# program:package
tools=(sshd:openssh-server ssh:openssh-client ssh-keygen:openssh-client cc:gcc cc:libc6-dev)
elsewhere="
  Fedora, RHEL:  dnf install gcc openssh-clients openssh-server
  Arch:          pacman -S gcc openssh
  Alpine:        apk add build-base openssh
  openSUSE:      zypper install gcc openssh"
. contrib/packages.sh
install_missing
need_cargo

# The debug profile: its programs do the same, and are built in a fraction of the time.
cargo build --locked --bins --example quickstart
# exec, so that a signal to this script reaches the program itself.
exec cargo run --quiet --locked --example quickstart
