#!/usr/bin/env bash
# Installs the ProxyCommand helpers that ours is measured beside, and measures. Arguments go to the benchmark
# (`--quick` for a short run).
#
# On Debian and Ubuntu it installs missing packages with apt (through sudo unless run as root), and leaves no service of
# theirs running or enabled; elsewhere it says what is missing and measures beside what there is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# program:package
tools=(
    sshd:openssh-server ssh:openssh-client ssh-keygen:openssh-client
    nc:netcat-openbsd socat:socat ncat:ncat proxytunnel:proxytunnel corkscrew:corkscrew connect-proxy:connect-proxy
    cc:gcc
)
. contrib/packages.sh

mapfile -t packages < <(missing_packages | sort -u)
if [ ${#packages[@]} -gt 0 ]; then
    if has apt-get; then
        apt_get update >&2
        install_packages "${packages[@]}"
    else
        say "not installed, so not measured beside (the names are Debian's): ${packages[*]}"
    fi
fi
has cargo || die "cargo is missing: install Rust from https://rustup.rs"

cargo bench --bench helper -- "$@"
