#!/usr/bin/env bash
# Records two terminal sessions and writes them into README.md. The first one lists VPSes and connects to one. In the
# second one, doctor finds out why a VPS can't be reached.
#
# All of it is real: an sshd as the VPS, the gateway in front of it, and a terminal (tmux) of 100 columns. The script uses
# free ports of the loopback interface, and leaves no process and no file behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=(sshd:openssh-server ssh:openssh-client ssh-keygen:openssh-client tmux:tmux python3:python3 cc:gcc)
. contrib/packages.sh
install_missing
need_cargo

cargo build --locked --bins
programs=$(target_folder)/debug
folder=$(mktemp -d)
terminal=()
started=()
finish() {
    [ ${#terminal[@]} -eq 0 ] || "${terminal[@]}" kill-server 2>/dev/null || true
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

# Where cargo would have installed them.
mkdir -p "$folder/.cargo/bin"
cp "$programs/kohakuriver" "$programs/kohakuriver-proxy" "$folder/.cargo/bin"
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
proxy=$(line_of "$folder/gateway.log" ' listening on ' | sed 's/.*://')

# Waits for the prompt behind the last command.
prompt() {
    prompts=$((prompts + 1))
    for _ in $(seq 300); do
        [ "$("${terminal[@]}" capture-pane -p | grep -c '^\$')" -lt "$prompts" ] || return 0
        sleep 0.1
    done
    die "the terminal hangs: $("${terminal[@]}" capture-pane -p)"
}

# Types the commands that it reads, and writes what the terminal shows into the place of this name in README.md. A sed
# script may leave lines out.
record() {
    # One for each: a server that is just going takes no session.
    terminal=(tmux -L "recording-$$-$1" -f /dev/null)
    "${terminal[@]}" new-session -d -x 100 -y 60 env -i HOME="$folder" PATH="$folder/.cargo/bin:$PATH" \
        TERM=tmux-256color LC_ALL=C.UTF-8 USER="$(id -un)" \
        KOHAKURIVER_HOST=127.0.0.1 KOHAKURIVER_PORT="$api" KOHAKURIVER_SSH_PROXY_PORT="$proxy" PS1='$ ' \
        bash --norc --noprofile
    prompts=0
    prompt
    local command
    while read -r command; do
        "${terminal[@]}" send-keys -l -- "$command"
        "${terminal[@]}" send-keys Enter
        prompt
    done
    "${terminal[@]}" capture-pane -p | sed -e '/^\$ *$/d' -e '/^ *$/d' -e "s/ --user $(id -un)//" |
        sed "${2-}" >"$folder/shown"
    "${terminal[@]}" kill-server
    python3 - "$1" "$folder/shown" <<'END'
import re, sys
name, shown = sys.argv[1], open(sys.argv[2]).read()
readme = open("README.md").read()
begin, end = f"<!-- contrib/recording.sh writes {name} -->", "<!-- to here -->"
block = f"{begin}\n```\n{shown}```\n{end}"
new, count = re.subn(re.escape(begin) + ".*?" + re.escape(end), lambda _: block, readme, flags=re.S)
assert count == 1, f"README.md has no place for {name}"
open("README.md", "w").write(new)
END
}

record commands <<END
kohakuriver vps list
kohakuriver vps connect trainer --user $(id -un) -- 'echo hello; exit 7'
echo \$?
kohakuriver vps connect notebook
END
chmod 644 "$folder/.ssh/id-kohakuriver-7323718749301768192"
# The checks from `ssh` up to `host-key` went well, and are left out.
record doctor '/^[a-z]* *ssh /i ...
/^[a-z]* *ssh /,/^[a-z]* *host-key /{/^[a-z]* *host-key /!d}' <<END
kohakuriver doctor trainer
END
say "README.md shows it now"
