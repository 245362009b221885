# shellcheck shell=bash
# The smallest Debian, which a test installs the package into. To be sourced behind packages.sh and older-ssh.sh.

debian_suite=bookworm
# What the package depends on, and what rotates the gateway's log.
debian_packages=openssh-client,logrotate

# Brings it into the target folder $1, unless it is there. Only root can do that: without it, its test says so.
install_debian_root() {
    local folder=$1/debian-root mirror=
    if [ "$(cat "$folder/complete" 2>/dev/null)" = "$debian_suite $debian_packages" ] || [ "$(id -u)" != 0 ]; then
        return
    fi
    say "unpacking a Debian into $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    # Ubuntu's mirror has no Debian; debootstrap knows another one.
    if grep -qs '^ID=debian$' /etc/os-release; then mirror=$(debian_mirror); fi
    if ! (umask 022 && PATH=$PATH:/usr/sbin:/sbin debootstrap --variant=minbase --include="$debian_packages" \
        "$debian_suite" "$folder/root" ${mirror:+"$mirror"}) </dev/null >"$folder/log" 2>&1; then
        tail -n 20 "$folder/log" >&2
        say "debootstrap failed, so the test of the package will fail"
        return
    fi
    rm -rf "$folder"/root/var/{cache/apt/archives,lib/apt/lists}/*
    printf '%s\n' "$debian_suite $debian_packages" >"$folder/complete"
}
