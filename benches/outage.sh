#!/usr/bin/env bash
# Measures how soon open ssh sessions come back after an outage of the network: benches/outage.sh [SECONDS [FOLDER]]
#
# Five machines, as network namespaces: a laptop, a router, the gateway's machine, a router, and a Runner with an sshd.
# A router that stops forwarding is the outage, of SECONDS (60): packets are lost in silence, as they are on a bad line.
# Six sessions are open meanwhile: through the helper with --fdpass, through it with pipes, and straight to the sshd;
# of each kind, one sends and one receives five lines a second. The table says how long after the return of the network
# the next line arrives. The programs are those in FOLDER, or else built here. It takes root, and leaves nothing behind.
set -euo pipefail
outage=${1:-60} folder=${2-}
. "$(dirname "${BASH_SOURCE[0]}")/support/network.sh"
own_networks debug "$folder" "$outage"

for name in laptop near host far runner; do
    ip netns add "$name"
    ip -n "$name" link set lo up
done
# link LEFT ADDRESS RIGHT ADDRESS
link() {
    ip link add "to-$3" netns "$1" type veth peer name "to-$1" netns "$3"
    ip -n "$1" address add "$2/24" dev "to-$3"
    ip -n "$3" address add "$4/24" dev "to-$1"
    ip -n "$1" link set "to-$3" up
    ip -n "$3" link set "to-$1" up
}
link laptop 10.1.0.2 near 10.1.0.1
link near 10.2.0.1 host 10.2.0.2
link host 10.3.0.2 far 10.3.0.1
link far 10.4.0.1 runner 10.4.0.2
ip -n laptop route add default via 10.1.0.1
ip -n near route add default via 10.2.0.2
ip -n host route add 10.1.0.0/24 via 10.2.0.1
ip -n host route add 10.4.0.0/24 via 10.3.0.1
ip -n far route add default via 10.3.0.2
ip -n runner route add default via 10.4.0.1
forward() { ip netns exec "$1" sysctl -qw net.ipv4.ip_forward="$2"; }
for name in near host far; do forward "$name" 1; done

write_files 10.4.0.2
start_sshd() {
    ip netns exec runner "$(sshd_program)" -D -f "$work/sshd_config" &
    sshd=$!
}
start_sshd
ip netns exec host "$folder/kohakuriver-gateway" --listen 10.2.0.2:8002 --api-listen 127.0.0.1:0 --admin off \
    --inventory "$work/inventory.json" >"$work/gateway.log" 2>&1 &
helper="$folder/kohakuriver-proxy --proxy 10.2.0.2:8002"
cat >>"$work/config" <<END
Host fdpass
  ProxyCommand $helper --fdpass $id
  ProxyUseFdpass yes
Host pipes
  ProxyCommand $helper $id
Host direct
  HostName 10.4.0.2
END
kinds=(fdpass pipes direct)
session() { exec ip netns exec laptop ssh -F "$work/config" "$@"; }
for kind in "${kinds[@]}"; do until_open session "$kind"; done

# The first line of file $1 that is from after $2, as seconds after that.
after() { awk -v at="$2" '$1 > at { printf "%.1f s", $1 - at; found = 1; exit } END { if (!found) printf "never" }' "$1"; }

measure() {
    local router=$1 what=$2 kind back jobs=() lines
    lines=$(mktemp -d "$work/lines-XXX")
    for kind in "${kinds[@]}"; do
        # Told apart by the times of arrival, by one clock.
        while sleep 0.2; do echo; done |
            session "$kind" "while read -r _; do date +%s.%N; done >$lines/up.$kind" &
        jobs+=($!)
        session "$kind" "while sleep 0.2; do echo; done" |
            while read -r _; do echo "$EPOCHREALTIME"; done >"$lines/down.$kind" &
        jobs+=($!)
    done
    for kind in "${kinds[@]}"; do
        until [ -s "$lines/up.$kind" ] && [ -s "$lines/down.$kind" ]; do sleep 0.1; done
    done
    forward "$router" 0
    sleep "$outage"
    back=$EPOCHREALTIME
    forward "$router" 1
    # By then each of TCP's pauses has passed.
    sleep $((outage + 10))
    for direction in up down; do
        printf '| %s, %s |' "$what" "$direction"
        for kind in "${kinds[@]}"; do printf ' %s |' "$(after "$lines/$direction.$kind" "$back")"; done
        echo
    done
    kill "${jobs[@]}" 2>/dev/null || true
}

echo "| outage of $outage s | --fdpass | pipes | ssh without a proxy |"
echo "|---|---|---|---|"
measure near "between client and gateway"
measure far "between gateway and Runner"
# The settings of the VPS's own network, for what it sends itself. Its sshd takes them when it starts.
kill "$sshd"
ip netns exec runner sysctl -qw net.ipv4.tcp_rto_max_ms=2000 net.ipv4.tcp_retries2=60
start_sshd
until_open session direct
measure far "the same, with the VPS's sysctls"
