#!/usr/bin/env bash
# Records a terminal in which VPSes are listed, looked at and reached, and puts what it shows into README.md.
#
# All of it is real: an sshd in the part of the VPS, the gateway before it, and a terminal (tmux) of 100 columns. It
# uses free ports of the loopback interface, and leaves no process and no file behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=(sshd:openssh-server ssh:openssh-client ssh-keygen:openssh-client tmux:tmux python3:python3 cc:gcc)
. contrib/packages.sh
install_missing
need_cargo

cargo build --locked --bins
programs=$(target_folder)/debug
folder=$(mktemp -d)
terminal=(tmux -L "recording-$$" -f /dev/null)
started=()
finish() {
    "${terminal[@]}" kill-server 2>/dev/null || true
    [ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true
    wait
    rm -rf "$folder"
    remove_policy
}
trap finish EXIT

# A line of a file, once it is there.
line_of() {
    for _ in $(seq 100); do
        grep -m 1 "$2" "$1" 2>/dev/null && return
        sleep 0.1
    done
    die "nothing says \`$2\`: $(cat "$1")"
}

mkdir -m 700 "$folder/.ssh"
for key in "$folder/host_key" "$folder/.ssh/id-kohakuriver-7323718749301768192"; do
    ssh-keygen -q -t ed25519 -N '' -C vps -f "$key"
done
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$folder/sshd_config" <<END
ListenAddress 127.0.0.1:$port
HostKey $folder/host_key
AuthorizedKeysFile $folder/.ssh/id-kohakuriver-7323718749301768192.pub
PidFile none
StrictModes no
UsePAM $([ "$(id -u)" = 0 ] && echo yes || echo no)
PasswordAuthentication no
END
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
"$(command -v sshd || echo /usr/sbin/sshd)" -D -e -f "$folder/sshd_config" 2>"$folder/sshd.log" &
started+=($!)
line_of "$folder/sshd.log" 'Server listening' >/dev/null

cat >"$folder/inventory.json" <<END
{ "nodes": [ { "hostname": "node1", "url": "http://127.0.0.1:8001", "status": "online",
               "last_heartbeat": "2026-11-23T12:30:00" } ],
  "vps": [ { "task_id": "7323718749301768192", "name": "trainer", "status": "running", "assigned_node": "node1",
             "ssh_port": $port, "vps_backend": "docker", "submitted_at": "2026-11-23T10:05:53" },
           { "task_id": "7323718749301768377", "name": "notebook", "status": "paused", "assigned_node": "node1",
             "ssh_port": 32770, "vps_backend": "docker", "submitted_at": "2026-11-21T08:12:07" } ] }
END
"$programs/kohakuriver-gateway" --listen 127.0.0.1:0 --api-listen 127.0.0.1:0 --admin off --audit-log off \
    --inventory "$folder/inventory.json" 2>"$folder/gateway.log" &
started+=($!)
api=$(line_of "$folder/gateway.log" 'serving the Host API on ' | sed 's/.*://')
proxy=$(line_of "$folder/gateway.log" '^listening on ' | sed 's/.*://')

"${terminal[@]}" new-session -d -x 100 -y 60 env -i HOME="$folder" PATH="$programs:$PATH" USER="$(id -un)" \
    TERM=tmux-256color LC_ALL=C.UTF-8 PS1='$ ' \
    KOHAKURIVER_HOST=127.0.0.1 KOHAKURIVER_PORT="$api" KOHAKURIVER_SSH_PROXY_PORT="$proxy" \
    bash --norc --noprofile
# Types a command, once the prompt before it is there, and waits for the one behind it.
prompts=0
prompt() {
    prompts=$((prompts + 1))
    for _ in $(seq 300); do
        [ "$("${terminal[@]}" capture-pane -p | grep -c '^\$')" -lt "$prompts" ] || return 0
        sleep 0.1
    done
    die "the terminal hangs: $("${terminal[@]}" capture-pane -p)"
}
prompt
while read -r command; do
    "${terminal[@]}" send-keys -l -- "$command"
    "${terminal[@]}" send-keys Enter
    prompt
done <<END
kohakuriver vps list
kohakuriver vps connect trainer --user $(id -un) -- 'echo hello; exit 7'
echo \$?
kohakuriver vps connect notebook
kohakuriver vps status trainer
END
"${terminal[@]}" capture-pane -p | sed -e '/^\$ *$/d' -e '/^ *$/d' -e "s/ --user $(id -un)//" >"$folder/shown"

python3 - "$folder/shown" <<'END'
import re, sys
shown = open(sys.argv[1]).read()
readme = open("README.md").read()
block = "<!-- contrib/recording.sh writes this -->\n```\n" + shown + "```\n<!-- to here -->"
place = r"<!-- contrib/recording\.sh writes this -->.*?<!-- to here -->"
new, count = re.subn(place, lambda _: block, readme, flags=re.S)
assert count == 1, "README.md has no place for it"
open("README.md", "w").write(new)
END
say "README.md shows it now"
