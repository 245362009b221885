#!/usr/bin/env bash
# Moves much through ssh while connections are killed under it: benches/cuts.sh [GIB [PAUSE [FOLDER]]]
#
# GIB (10) of pseudo-random bytes go each way through a resumable tunnel. Meanwhile all connections to the gateway are
# killed again and again, with a PAUSE of 0.055 s in between (`ss -K`). The SHA-256 at both ends must be equal. The programs
# are those in FOLDER, or else built here with optimisation. It takes root, and leaves nothing behind.
set -euo pipefail
gib=${1:-10} pause=${2:-0.055} folder=${3-}
. "$(dirname "${BASH_SOURCE[0]}")/support/network.sh"
own_networks release "$folder" "$gib" "$pause"

ip link set lo up
write_files 127.0.0.1
"$(sshd_program)" -D -f "$work/sshd_config" &
"$folder/kohakuriver-gateway" --listen 127.0.0.1:8002 --api-listen 127.0.0.1:0 --admin 127.0.0.1:8003 \
    --audit-log "$work/audit.log" --inventory "$work/inventory.json" >"$work/gateway.log" 2>&1 &
cat >>"$work/config" <<END
Host vps
  ProxyCommand $folder/kohakuriver-proxy --resume --proxy 127.0.0.1:8002 $id
END
through() { ssh -F "$work/config" vps "$@"; }
until_open through

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
