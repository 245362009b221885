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
    dbclient:dropbear-bin dropbearconvert:dropbear-bin node:nodejs npm:npm
    zsh:zsh fish:fish groff:groff-base
)
# The versions that the tests were written against; a newer FastAPI breaks the older Host's imports.
older_host=(hakuriver==0.3.0 fastapi==0.128.0 starlette==0.50.0 pyzmq)
python_clients=(paramiko==5.1.0 asyncssh==2.24.1)
node_clients=(ssh2@1.17.0 ssh-config@5.3.0)

. contrib/packages.sh

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

# A library has no program to look for.
has_libssh() {
    printf '#include <libssh/libssh.h>
int main(void) { return ssh_init(); }
' |
        cc -x c -o /dev/null - -lssh >/dev/null 2>&1
}

mapfile -t packages < <(missing_packages | sort -u)
has_libssh || packages+=(libssh-dev)
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
    has_libssh || packages+=(libssh-dev)
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
