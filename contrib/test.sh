#!/usr/bin/env bash
# Installs what the tests need and runs them all. Arguments go to `cargo test`.
#
# On Debian and Ubuntu it installs missing packages with apt (through sudo unless run as root), and leaves no service
# of theirs running or enabled; elsewhere it says what is missing. The older Host that the tests run against comes from
# PyPI, into a virtual environment under cargo's target folder. A second run finds all of it and starts at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# program:package, for everything that a test or the build runs.
tools=(
    sshd:openssh-server ssh:openssh-client sftp:openssh-client scp:openssh-client ssh-keygen:openssh-client
    nc:netcat-openbsd socat:socat curl:curl proxytunnel:proxytunnel corkscrew:corkscrew
    tinyproxy:tinyproxy-bin squid:squid rsync:rsync git:git script:bsdutils cc:gcc cc:libc6-dev
)
# The versions that the tests were written against; a newer FastAPI breaks the older Host's imports.
python_clients=(paramiko==5.1.0 asyncssh==2.24.1)
node_clients=(ssh2@1.17.0 ssh-config@5.3.0)
older_host=(hakuriver==0.3.0 fastapi==0.128.0 starlette==0.50.0 pyzmq)

say() { printf '%s\n' "contrib/test.sh: $*" >&2; }
die() { say "$@"; exit 1; }
has() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

# A Python of 3.11 or later that can make a virtual environment. 3.11 comes first: the older Host's garbage collector
# cuts sessions now and then on later ones.
find_python() {
    local python
    for python in python3.11 python3 python3.12 python3.13 python3.14; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$python"
            return
        fi
    done
    return 1
}

# The packages that bring a Python like that, when there is none.
python_packages() {
    if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        echo python3-venv
    elif [ -n "$(apt-cache search --names-only '^python3\.11-venv$' 2>/dev/null)" ]; then
        echo python3.11 python3.11-venv
    else
        echo python3 python3-venv
    fi
}

missing_packages() {
    local pair
    for pair in "${tools[@]}"; do
        has "${pair%%:*}" || echo "${pair#*:}"
    done
    # Other programs of this name take no -X.
    if has nc && ! nc -h 2>&1 | grep -q 'proxy_protocol'; then
        echo netcat-openbsd
    fi
    if ! printf '#include <libssh/libssh.h>\nint main(void) { return ssh_init(); }\n' |
        cc -x c -o /dev/null - -lssh >/dev/null 2>&1; then
        echo libssh-dev
        # Its headers are of no use without those of the C library.
        echo libc6-dev
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        die "installing packages takes root: run it as root, or install sudo"
    fi
}

policy=/usr/sbin/policy-rc.d
own_policy=no
remove_policy() {
    if [ "$own_policy" = yes ]; then
        as_root rm -f "$policy"
        own_policy=no
    fi
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null; }

install_packages() {
    say "installing: $*"
    if [ ! -e "$policy" ]; then
        # What exits with 101 here keeps packages from starting their services.
        own_policy=yes
        trap remove_policy EXIT
        trap 'exit 130' INT TERM HUP
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    apt_get install -y --no-install-recommends "$@" >&2
    remove_policy
    # Nor shall the next start of the machine bring up a service that was only installed for the tests.
    local package unit
    for package in "$@"; do
        case $package in
            openssh-server) set -- ssh.service ssh.socket ;;
            squid) set -- squid.service ;;
            *) continue ;;
        esac
        for unit in "$@"; do
            if has systemctl; then as_root systemctl disable "$unit" >/dev/null 2>&1 || true; fi
        done
    done
}

mapfile -t packages < <(missing_packages | sort -u)
python=$(find_python || true)
if [ ${#packages[@]} -gt 0 ] || [ -z "$python" ]; then
    if ! has apt-get; then
        [ -n "$python" ] || packages+=("python3 (3.11 or later, with venv and ensurepip)")
        die "install these first (the names are Debian's): ${packages[*]}"
    fi
    apt_get update >&2
    if [ -z "$python" ]; then
        read -r -a more < <(python_packages)
        packages+=("${more[@]}")
    fi
    install_packages "${packages[@]}"
    mapfile -t packages < <(missing_packages | sort -u)
    python=$(find_python) || die "there is still no Python of 3.11 or later with venv and ensurepip"
    [ ${#packages[@]} -eq 0 ] || die "these are still missing: ${packages[*]}"
fi
has cargo || die "cargo is missing: install Rust from https://rustup.rs"

target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
folder=$target/older-host
wanted=$(printf '%s\n' "${older_host[@]}")
if [ ! -x "$folder/bin/python" ] || [ "$(cat "$folder/complete" 2>/dev/null)" != "$wanted" ]; then
    say "installing the older Host into $folder"
    rm -rf "$folder"
    "$python" -m venv "$folder"
    # The user's settings for pip may lead elsewhere than into the virtual environment.
    env -u PIP_USER -u PIP_TARGET -u PIP_PREFIX -u PYTHONPATH -u PYTHONHOME \
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "${older_host[@]}" </dev/null >&2
    printf '%s\n' "${older_host[@]}" >"$folder/complete"
fi

folder=$target/ssh-clients
wanted=$(printf '%s\n' "${python_clients[@]}" "${node_clients[@]}")
if [ "$(cat "$folder/complete" 2>/dev/null)" != "$wanted" ]; then
    say "installing other people's SSH clients into $folder"
    rm -rf "$folder"
    mkdir -p "$folder/node"
    "$python" -m venv "$folder/python"
    env -u PIP_USER -u PIP_TARGET -u PIP_PREFIX -u PYTHONPATH -u PYTHONHOME \
        "$folder/python/bin/python" -m pip install --quiet --disable-pip-version-check "${python_clients[@]}" </dev/null >&2
    # Their optional native parts only make them faster, and need a compiler for C++.
    npm install --prefix "$folder/node" --omit=optional --ignore-scripts --silent --no-audit --no-fund \
        "${node_clients[@]}" </dev/null >&2
    printf '%s\n' "$wanted" >"$folder/complete"
fi

cargo test --no-fail-fast "$@"
