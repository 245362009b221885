# shellcheck shell=bash
# Programs for another processor, which start as any other does: also when a program starts itself again, or a script
# of a package starts one. To be sourced behind packages.sh.

# Runs a command, `${@:2}`, where qemu runs programs for the processor $1. That is registered (binfmt_misc) in a user
# namespace of its own, so nothing else on the machine sees it. It takes root and Linux 6.7.
emulated() {
    local fifo ready mapped process status=0
    fifo=$(mktemp -d)
    mkfifo "$fifo/ready" "$fifo/mapped"
    exec {ready}<>"$fifo/ready" {mapped}<>"$fifo/mapped"
    # The users are those of the machine. Only a process outside of the namespace can say so.
    # shellcheck disable=SC2016
    unshare --user --mount --propagation private bash -c '
        echo >"$0/ready" && read -r <"$0/mapped" && mount -t binfmt_misc none /proc/sys/fs/binfmt_misc &&
            cat "$1" >/proc/sys/fs/binfmt_misc/register && shift && exec "$@"' \
        "$fifo" "/usr/lib/binfmt.d/qemu-$1.conf" "${@:2}" <&0 &
    process=$!
    if read -r -t 60 -u "$ready"; then
        echo "0 0 65536" >"/proc/$process/uid_map"
        echo "0 0 65536" >"/proc/$process/gid_map"
        echo >&"$mapped"
    fi
    wait "$process" || status=$?
    exec {ready}<&- {mapped}<&-
    rm -r "$fifo"
    return "$status"
}

# Whether this machine can do that.
can_emulate() { [ "$(id -u)" = 0 ] && [ -e "/usr/lib/binfmt.d/qemu-$1.conf" ] && emulated "$1" true 2>/dev/null; }
