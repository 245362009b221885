# shellcheck shell=bash
# What the scripts here share: finding and installing packages of Debian and Ubuntu, and cargo. To be sourced, with
# `tools` set to the programs that are needed, each as program:package, and perhaps `elsewhere` to how other systems
# install them.
: "${tools:?}"

say() { printf '%s\n' "contrib/$(basename "$0"): $*" >&2; }
die() { say "$@"; exit 1; }
has() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

need_cargo() { has cargo || die "cargo is missing: install Rust from https://rustup.rs"; }

# Cargo's target folder.
target_folder() { cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'; }

missing_packages() {
    local pair
    for pair in "${tools[@]}"; do
        has "${pair%%:*}" || echo "${pair#*:}"
    done
    # cargo and pip download over TLS, and the smallest Debian has nobody to trust.
    if has apt-get && [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
        echo ca-certificates
    fi
    # Other programs of this name take no -X.
    if [[ " ${tools[*]} " == *" nc:"* ]] && has nc && ! nc -h 2>&1 | grep -q 'proxy_protocol'; then
        echo netcat-openbsd
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
    # Nor shall the next start of the machine bring up a service that was installed for this alone.
    local package unit
    for package in "$@"; do
        case $package in
            openssh-server) set -- ssh.service ssh.socket ;;
            squid) set -- squid.service ;;
            stunnel4) set -- stunnel4.service stunnel.target ;;
            haproxy) set -- haproxy.service ;;
            nginx) set -- nginx.service ;;
            caddy) set -- caddy.service ;;
            prometheus) set -- prometheus.service ;;
            docker.io) set -- docker.service docker.socket containerd.service ;;
            *) continue ;;
        esac
        for unit in "$@"; do
            if has systemctl; then as_root systemctl disable "$unit" >/dev/null 2>&1 || true; fi
        done
    done
}

# Installs what is missing of `tools`. Where there is no apt-get it ends and says what to install.
install_missing() {
    local packages
    mapfile -t packages < <(missing_packages | sort -u)
    [ ${#packages[@]} -gt 0 ] || return 0
    has apt-get || die "install these first (the names are Debian's): ${packages[*]}${elsewhere-}"
    apt_get update >&2
    install_packages "${packages[@]}"
}
