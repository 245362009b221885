#!/usr/bin/env bash
# Moves much through ssh while connections are killed under it: benches/cuts.sh [GIB [PAUSE [FOLDER]]]
#
# GIB (10) of pseudo-random bytes go each way through a resumable tunnel. Meanwhile all connections to the gateway are
# killed again and again, with a PAUSE of 0.055 s in between (`ss -K`). The SHA-256 at both ends must be equal. The programs
# are those in FOLDER, or else built here with optimisation. It takes root, and leaves nothing behind.
set -euo pipefail
gib=${1:-10} pause=${2:-0.055} folder=${3-}

if [ -z "${CUTS_INSIDE-}" ]; then
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    [ "$(id -u)" = 0 ] || { echo "benches/cuts.sh: run it as root, for a network of its own" >&2; exit 1; }
    if [ -z "$folder" ]; then
        cargo build --quiet --locked --release --bins
        folder=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
    fi
    # All processes end with the first one.
    CUTS_INSIDE=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc \
        bash "$0" "$gib" "$pause" "$(realpath "$folder")"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The first process of a PID namespace ignores what it doesn't catch.
trap 'exit 130' INT TERM HUP
mount -t tmpfs none /run
mkdir -p /run/sshd
ip link set lo up

for key in host_key user_key; do ssh-keygen -q -t ed25519 -N '' -f "$work/$key"; done
printf '%s\n' "ListenAddress 127.0.0.1:22" "HostKey $work/host_key" "AuthorizedKeysFile $work/user_key.pub" \
    "PidFile none" "StrictModes no" "UsePAM yes" >"$work/sshd_config"
"$(PATH=$PATH:/usr/sbin command -v sshd)" -D -f "$work/sshd_config" &
id=7323718749301768192
cat >"$work/inventory.json" <<END
{ "nodes": [{ "hostname": "runner", "url": "http://127.0.0.1:8001", "status": "online" }],
  "vps": [{ "task_id": "$id", "status": "running", "assigned_node": "runner", "ssh_port": 22 }] }
END
"$folder/kohakuriver-gateway" --listen 127.0.0.1:8002 --api-listen 127.0.0.1:0 --admin 127.0.0.1:8003 \
    --audit-log "$work/audit.log" --inventory "$work/inventory.json" >"$work/gateway.log" 2>&1 &
cat >"$work/config" <<END
Host vps
  ProxyCommand $folder/kohakuriver-proxy --resume --proxy 127.0.0.1:8002 $id
  User root
  IdentityFile $work/user_key
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
END
through() { ssh -F "$work/config" vps "$@"; }
tries=0
until through true 2>"$work/error"; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat "$work/error" "$work/gateway.log" >&2; exit 1; }
    sleep 0.1
done

# A stream that both ends can make: zeros, encrypted with a known key.
key=00112233445566778899aabbccddeeff
stream="openssl enc -aes-128-ctr -nosalt -K $key -iv $key -in /dev/zero 2>/dev/null | head -c ${gib}G"
cut_again_and_again() { while sleep "$pause"; do ss -K dst 127.0.0.1 dport = :8002 >/dev/null 2>&1; done; }
cuts() { grep -c '"event":"resumed"' "$work/audit.log" || true; }
expected=$(bash -c "$stream" | sha256sum)
for direction in up down; do
    before=$(cuts)
    cut_again_and_again &
    cutter=$!
    case $direction in
        up) received=$(bash -c "$stream" | through sha256sum) ;;
        down) received=$(through "$stream" | sha256sum) ;;
    esac
    kill "$cutter"
    [ "$received" = "$expected" ] || { echo "$direction: another SHA-256" >&2; exit 1; }
    echo "$direction: $gib GiB, $(($(cuts) - before)) cuts, equal SHA-256"
done
