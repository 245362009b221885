# shellcheck shell=bash
# What the scripts here share: networks of their own, and a VPS for root alone. To be sourced.

# shellcheck disable=SC2034
id=7323718749301768192

# Starts this script again in namespaces of its own, with the programs' folder behind the other arguments. That is $2, or
# else they are built here with the profile whose folder is $1. Returns there, and sets `work`.
own_networks() {
    local profile=$1 folder=$2 script
    if [ -z "${OWN_NETWORKS-}" ]; then
        script=$(realpath "$0")
        cd "$(dirname "$script")/.." || exit
        [ "$(id -u)" = 0 ] || { echo "benches/$(basename "$script"): run it as root, for a network of its own" >&2; exit 1; }
        if [ -z "$folder" ]; then
            cargo build --quiet --locked --profile "${profile/debug/dev}" --bins
            folder=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$profile
        fi
        # All processes end with the first one.
        OWN_NETWORKS=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc \
            bash "$script" "${@:3}" "$(realpath "$folder")"
    fi
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # The first process of a PID namespace ignores what it doesn't catch.
    trap 'exit 130' INT TERM HUP
    mount -t tmpfs none /run
    mkdir -p /run/sshd
}

# Writes the files of an sshd at the address $1, of a gateway in front of it, and of ssh.
write_files() {
    local key
    for key in host_key user_key; do ssh-keygen -q -t ed25519 -N '' -f "$work/$key"; done
    printf '%s\n' "ListenAddress $1:22" "HostKey $work/host_key" "AuthorizedKeysFile $work/user_key.pub" \
        "PidFile none" "StrictModes no" "UsePAM yes" >"$work/sshd_config"
    cat >"$work/inventory.json" <<END
{ "nodes": [{ "hostname": "runner", "url": "http://$1:8001", "status": "online" }],
  "vps": [{ "task_id": "$id", "status": "running", "assigned_node": "runner", "ssh_port": 22 }] }
END
    cat >"$work/config" <<END
Host *
  User root
  IdentityFile $work/user_key
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
END
}

sshd_program() { PATH=$PATH:/usr/sbin command -v sshd; }

# Waits until the ssh that the arguments start gets through.
until_open() {
    for _ in {1..100}; do ("$@" true) 2>"$work/error" && return; sleep 0.1; done
    cat "$work/error" "$work/gateway.log" >&2
    exit 1
}
