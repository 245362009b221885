#!/usr/bin/env bash
# Installs what ours is measured beside, and measures: contrib/bench.sh [helper|gateway] [ARGUMENT...]
#
# Without a name it runs both benchmarks. Arguments go to the benchmark (`--quick` for a short run of either).
#
# On Debian and Ubuntu it installs missing packages with apt (through sudo unless run as root), and leaves no service of
# theirs running or enabled; elsewhere it says what is missing. The helper is then measured beside what there is; the
# gateway's benchmark needs all of it, and the older Host from PyPI besides.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

benches=(helper gateway)
case ${1-} in
    helper | gateway) benches=("$1"); shift ;;
esac

# program:package
tools=(cc:gcc)
for bench in "${benches[@]}"; do
    case $bench in
        helper) tools+=(
            sshd:openssh-server ssh:openssh-client ssh-keygen:openssh-client
            nc:netcat-openbsd socat:socat ncat:ncat proxytunnel:proxytunnel corkscrew:corkscrew
            connect-proxy:connect-proxy stunnel:stunnel4
        ) ;;
        gateway) tools+=(haproxy:haproxy squid:squid tinyproxy:tinyproxy-bin prlimit:util-linux unshare:util-linux) ;;
    esac
done
. contrib/packages.sh
. contrib/older-host.sh

mapfile -t packages < <(missing_packages | sort -u)
# The helper's benchmark does without.
needs_python=no
if [[ " ${benches[*]} " == *" gateway "* ]] && ! find_python >/dev/null; then
    needs_python=yes
fi
if [ ${#packages[@]} -gt 0 ] || [ "$needs_python" = yes ]; then
    if has apt-get; then
        apt_get update >&2
        if [ "$needs_python" = yes ]; then
            read -r -a more < <(python_packages)
            packages+=("${more[@]}")
        fi
        install_packages "${packages[@]}"
    else
        say "not installed (the names are Debian's): ${packages[*]}"
    fi
fi
need_cargo

# Two for each tunnel, and some.
files=21000
for bench in "${benches[@]}"; do
    if [ "$bench" = gateway ]; then
        python=$(find_python) || die "install a Python of 3.11 or later with venv and ensurepip first"
        install_older_host "$python" "$(target_folder)"
        if [ "$(ulimit -Hn)" != unlimited ] && [ "$(ulimit -Hn)" -lt "$files" ]; then
            as_root prlimit --pid $$ --nofile="$files:$files" 2>/dev/null ||
                say "no more than $(ulimit -Hn) open files are to be had: fewer than 10,000 tunnels will be held"
        fi
    fi
    cargo bench --bench "$bench" -- "$@"
done
