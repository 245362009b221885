#!/usr/bin/env bash
# Logs in to VPSes that really boot: contrib/real-runner.sh [SECONDS...]
#
# The older Host and a Runner from PyPI, Debian's Docker, and an image made by debootstrap, whose start takes 12 s, or
# 75 s (SECONDS), to install its sshd. The Runner is at a loopback address first, where docker's proxy accepts each
# connection for an sshd that isn't there yet, and then at another one, which refuses it. Each time, VPSes are ordered,
# and logged in to at once: with `kohakuriver vps connect --wait`, with ssh and the helper's `--wait` through our
# gateway, and with that through the older Host's own SSH proxy. It prints how long each login took, and what was said.
#
# It takes root, some minutes and 3 GB of disk, so CI doesn't run it. It installs missing packages with apt, which stay;
# containers, daemons, mounts and files are gone at its end.
set -euo pipefail
inside=${REAL_RUNNER_FOLDER-}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

boots=("$@")
[ $# -gt 0 ] || boots=(12 75)
cgroup=kohakuriver-real-runner

# program:package
tools=(
    dockerd:docker.io docker:docker.io iptables:iptables debootstrap:debootstrap ssh:openssh-client
    ssh-keygen:openssh-client curl:curl unshare:util-linux ip:iproute2 cc:gcc cc:libc6-dev
)
. contrib/packages.sh
. contrib/older-host.sh

if [ -z "$inside" ]; then
    [ "$(id -u)" = 0 ] || die "run it as root: it starts a Docker daemon in a network of its own"
    install_missing
    need_cargo
    python=$(find_python) || die "install a Python of 3.11 or later with venv and ensurepip first"
    target=$(target_folder)
    install_older_host "$python" "$target"
    cargo build --locked --bins

    work=$(mktemp -d /tmp/kr-runner-XXXXXX)
    chmod 755 "$work"
    clean() {
        # Empty by now: the namespaces have ended with all that ran in them.
        find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" -exec rmdir {} + 2>/dev/null || true
        rm -rf --one-file-system "$work"
    }
    trap clean EXIT
    trap 'exit 130' INT TERM HUP
    # The next build may come before the end.
    cp "$target"/debug/kohakuriver{,-proxy,-gateway} "$work/"
    say "making an image with debootstrap"
    unshare --mount debootstrap --variant=minbase --include=openssh-server stable "$work/root" >"$work/debootstrap.log" ||
        { tail -n 20 "$work/debootstrap.log" >&2; die "debootstrap failed"; }
    REAL_RUNNER_FOLDER=$work REAL_RUNNER_PYTHON=$target/older-host/bin unshare --net --mount --pid --fork --kill-child --mount-proc \
        bash "$0" "${boots[@]}"
    exit
fi

work=$inside
python=$REAL_RUNNER_PYTHON
elsewhere=10.99.0.1
export HOME=$work/home HAKURIVER_CONFIG=$work/config.toml
stop() {
    docker ps -aq 2>/dev/null | xargs -r docker rm -f >/dev/null 2>&1 || true
    [ -z "${dockerd-}" ] || { kill "$dockerd" && wait "$dockerd"; } 2>/dev/null || true
}
trap stop EXIT
# The first process of a PID namespace ignores what it doesn't catch.
trap 'exit 130' INT TERM HUP

mount -t tmpfs none /run
ip link set lo up
ip address add "$elsewhere/32" dev lo

# until_ready WHAT LOG COMMAND...
until_ready() {
    local what=$1 log=$2
    shift 2
    for _ in {1..300}; do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
    tail -n 30 "$log" >&2
    die "$what does not start"
}

dockerd --data-root "$work/docker" --exec-root /run/docker --pidfile /run/docker.pid --cgroup-parent "$cgroup" \
    >"$work/dockerd.log" 2>&1 &
dockerd=$!
until_ready "the Docker daemon" "$work/dockerd.log" docker info

# What the Runner has a new VPS run is `apt-get update && apt-get install -y openssh-server && …`.
root=$work/root
mv "$root/usr/sbin/sshd" "$root/opt/sshd"
cat >"$root/usr/local/bin/apt-get" <<'END'
#!/bin/sh
case $1 in
    update) exec sleep "$BOOTS" ;;
    install) exec mv /opt/sshd /usr/sbin/sshd ;;
esac
END
chmod 755 "$root/usr/local/bin/apt-get"
for seconds in "${boots[@]}"; do
    tar -C "$root" -c . | docker import --change "ENV BOOTS=$seconds" - "hakuriver/boots-$seconds:base" >/dev/null
done

mkdir -p "$HOME/.ssh" "$work/shared/hakuriver-containers" "$work/modules" "$work/bin"
# With an image there, the Host doesn't ask Docker for one.
: >"$work/shared/hakuriver-containers/hakuriver-base-1700000000.tar"
# The Runner imports a constant from this module, and a small Python has no Tk.
echo 'TRUE = 1' >"$work/modules/tkinter.py"
# It repeats each failed docker command with this, and asks for package managers with commands that fail.
printf '#!/bin/sh\nexec "$@"\n' >"$work/bin/sudo"
chmod 755 "$work/bin/sudo"
configure() {
    mkdir -p "$work/local-$1"
    cat >"$HAKURIVER_CONFIG" <<END
[network]
host_bind_ip = "127.0.0.1"
host_port = 8000
host_ssh_proxy_port = 8002
host_reachable_address = "127.0.0.1"
runner_address = "$1"
runner_port = 8001
[paths]
shared_dir = "$work/shared"
local_temp_dir = "$work/local-$1"
numactl_path = ""
[database]
db_file = "$work/host.db"
[timing]
heartbeat_interval = 5
heartbeat_timeout_factor = 6
cleanup_check_interval = 10
[environment]
runner_user = ""
[docker]
container_dir = "hakuriver-containers"
default_container_name = "hakuriver-base"
initial_base_image = "none"
tasks_privileged = false
additional_mounts = []
END
}
configure 127.0.0.1
"$python/hakuriver.host" >"$work/host.log" 2>&1 &
until_ready "the Host" "$work/host.log" curl -sSf http://127.0.0.1:8000/nodes
"$work/kohakuriver-gateway" --listen 127.0.0.1:8012 --host-api http://127.0.0.1:8000 --admin off \
    >"$work/gateway.log" 2>&1 &
until_ready "the gateway" "$work/gateway.log" grep -q 'listening on' "$work/gateway.log"

ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/key"
cat >"$work/ssh_config" <<END
User root
IdentityFile $HOME/.ssh/key
IdentitiesOnly yes
BatchMode yes
StrictHostKeyChecking accept-new
UserKnownHostsFile $HOME/.ssh/known_hosts
END
# Through the proxy at port $1 to the VPS $2.
through() {
    command=(ssh -F "$work/ssh_config" -o "ProxyCommand=$work/kohakuriver-proxy --wait 200 --proxy 127.0.0.1:$1 %h"
        "$2" echo "in VPS $2")
}
export KOHAKURIVER_HOST=127.0.0.1 KOHAKURIVER_PORT=8000 KOHAKURIVER_SSH_PROXY_PORT=8012

# Orders a VPS from the image $1: its id.
order() {
    printf '{"task_type":"vps","command":"%s","container_name":"%s","required_cores":0}' \
        "$(cat "$HOME/.ssh/key.pub")" "$1" |
        curl -sSf -H 'content-type: application/json' -d @- http://127.0.0.1:8000/submit |
        sed 's/.*"task_ids":\["\([0-9]*\)".*/\1/'
}
# login WAY COMMAND...: one report.
login() {
    local way=$1 began=$EPOCHREALTIME said outcome
    shift
    if said=$("$@" 2>&1 </dev/null); then outcome="logged in"; else outcome="FAILED ($?)"; fi
    awk -v way="$way" -v outcome="$outcome" -v began="$began" -v ended="$EPOCHREALTIME" \
        'BEGIN { printf "%s: %s after %.1f s\n", way, outcome, ended - began }'
    sed 's/^/    /' <<<"$said"
}

failed=0
for address in 127.0.0.1 "$elsewhere"; do
    configure "$address"
    PATH=$PATH:$work/bin PYTHONPATH=$work/modules "$python/hakuriver.runner" >"$work/runner.log" 2>&1 &
    runner=$!
    # It registers before it listens.
    serves() {
        curl -sSf http://127.0.0.1:8000/nodes | grep -q "http://$address:8001.*online" &&
            curl -s -o "$work/answer" "http://$address:8001/"
    }
    until_ready "the Runner" "$work/runner.log" serves
    logins=()
    for seconds in "${boots[@]}"; do
        for way in connect gateway older; do
            id=$(order "boots-$seconds")
            case $way in
                connect)
                    command=("$work/kohakuriver" vps connect "$id" --wait 200 --key "$HOME/.ssh/key"
                        -- -o BatchMode=yes echo "in VPS $id") ;;
                gateway) through 8012 "$id" ;;
                older) through 8002 "$id" ;;
            esac
            what="sshd after $seconds s, Runner at $address, $way"
            login "$what" "${command[@]}" >"$work/report-$address-$seconds-$way" &
            logins+=($!)
        done
    done
    wait "${logins[@]}"
    for report in "$work"/report-"$address"-*; do
        cat "$report"
        ! grep -q FAILED "$report" || failed=1
    done
    docker ps -aq | xargs -r docker rm -f >/dev/null
    kill "$runner"
    wait "$runner" 2>/dev/null || true
done
exit "$failed"
