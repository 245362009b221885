# shellcheck shell=bash
# The smallest Debian, which a test installs the package into. To be sourced behind packages.sh, older-ssh.sh and
# emulation.sh.

debian_suite=bookworm
# What the package depends on, and what rotates the gateway's log.
debian_packages=openssh-client,logrotate

unpack_debian() {
    PATH=$PATH:/usr/sbin:/sbin debootstrap --variant=minbase --include="$debian_packages" \
        ${architecture:+--foreign --arch "$architecture"} "$debian_suite" "$folder/root" ${mirror:+"$mirror"} || return
    [ -n "$architecture" ] || return 0
    # A namespace of users can make no devices: they are there, and can't be copied later.
    emulated "$processor" env container=lxc chroot "$folder/root" /debootstrap/debootstrap --second-stage || return
    rm -rf "$folder"/root/dev/*
}

# Brings it into the target folder $1, unless it is there. Only root can do that: without it, its test says so. With the
# architecture $2, which qemu calls $3, it is one for another processor.
install_debian_root() {
    local folder=$1/debian-root${2:+-$2} mirror='' architecture=${2-} processor=${3-}
    if [ "$(cat "$folder/complete" 2>/dev/null)" = "$debian_suite $debian_packages" ] || [ "$(id -u)" != 0 ]; then
        return
    fi
    say "unpacking a Debian into $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    # Ubuntu's mirror has no Debian; debootstrap knows another one.
    if grep -qs '^ID=debian$' /etc/os-release; then mirror=$(debian_mirror); fi
    if ! (umask 022 && unpack_debian) </dev/null >"$folder/log" 2>&1; then
        tail -n 20 "$folder/log" >&2
        say "debootstrap failed, so the test of the package will fail"
        return
    fi
    rm -rf "$folder"/root/var/{cache/apt/archives,lib/apt/lists}/*
    printf '%s\n' "$debian_suite $debian_packages" >"$folder/complete"
}
