#!/usr/bin/env bash
# Installs what the tests need and runs them all. Arguments go to `cargo test`.
#
#     contrib/test.sh                   all tests of the programs
#     contrib/test.sh quick             the quick set: all of them but those that take long (`slow`, below)
#     contrib/test.sh helper_           the tests whose names hold the word
#     contrib/test.sh quick helper_     those of them that are in the quick set
#     contrib/test.sh release           the tests of the release that contrib/release.sh has made. Without one, it makes
#                                       one of the programs that are tested
#     contrib/test.sh x86_64-unknown-linux-musl [WORD]    the tests of the helper, with the static one of
#                                                         contrib/build.sh
#     contrib/test.sh aarch64-unknown-linux-musl [WORD]   on another processor: the unit tests and those of all static
#                                                         programs, under qemu; takes root
#
# Most tests wait for something, so six of them run at once on each processor; RUST_TEST_THREADS changes that.
#
# On Debian and Ubuntu it installs missing packages with apt (through sudo unless run as root), and leaves no service
# of theirs running or enabled; elsewhere it says what is missing. The older Host that the tests run against comes from
# PyPI, into a virtual environment under cargo's target folder, and so does mitmproxy. Grafana's types of a dashboard come
# from npm, beside them. An older ssh comes from Debian, into a folder beside it, and for `release` so does a whole Debian.
# A second run finds all of it and starts at once.
set -euo pipefail
chosen=all static=
case ${1-} in
    quick | release) chosen=$1; shift ;;
    *-linux-musl) chosen=helper static=$1; shift ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# program:package, for everything that a test or the build runs.
tools=(
    sshd:openssh-server ssh:openssh-client sftp:openssh-client scp:openssh-client ssh-keygen:openssh-client
    nc:netcat-openbsd socat:socat curl:curl proxytunnel:proxytunnel corkscrew:corkscrew
    tinyproxy:tinyproxy-bin squid:squid rsync:rsync git:git script:bsdutils cc:gcc cc:libc6-dev
    openssl:openssl haproxy:haproxy nginx:nginx caddy:caddy microsocks:microsocks
    systemd-analyze:systemd systemd-socket-activate:systemd unshare:util-linux ip:iproute2 nsenter:util-linux
    plink:putty-tools puttygen:putty-tools dbclient:dropbear-bin dropbearconvert:dropbear-bin
    node:nodejs npm:npm zsh:zsh fish:fish tcsh:tcsh parallel-ssh:pssh groff:groff-base dpkg-deb:dpkg
    prometheus:prometheus promtool:prometheus
    tmux:tmux less:less busybox:busybox dash:dash wget:wget chromium:chromium chromedriver:chromium-driver
)
if [ "$chosen" = release ]; then
    tools+=(
        debootstrap:debootstrap lintian:lintian zip:zip xz:xz-utils umoci:umoci skopeo:skopeo rpm:rpm rpm2cpio:rpm2cpio
        cpio:cpio strip:binutils ruby:ruby qemu-aarch64-static:qemu-user-static
    )
fi
case $static in
    '' | "$(uname -m)"-*) ;;
    *) tools+=("qemu-${static%%-*}-static:qemu-user-static") ;;
esac
# The versions that the tests were written against.
python_clients=(paramiko==5.1.0 asyncssh==2.24.1 ansible-core==2.19.14)
node_clients=(ssh2@1.17.0 ssh-config@5.3.0 axe-core@4.14.1)
# The types that Grafana has for a dashboard, and the compiler that checks one against them.
grafana=(@grafana/schema@13.2.3 typescript@7.0.2)
# In an environment of its own: it wants older versions of what the clients need.
mitmproxy=(mitmproxy==11.0.2)

# The tests that are not in the quick set, which takes less than two minutes: they wait for a time limit of the programs,
# move hundreds of megabytes, start hundreds of processes, or do for another carrier what is tested for one. Each line is
# a part of a test's name.
slow=(
    abandoned_peers::
    bad_input::a_host_that_hangs
    bad_input::a_proxy_that_hangs
    clusters::
    clusters_auth::
    clusters_bad_input::
    clusters_change::
    clusters_completion::
    clusters_doctor::
    clusters_migration::
    clusters_moves::
    clusters_names::
    clusters_tls::
    clusters_tokens::
    dead_runners::
    doctor::machine::an_earlier
    doctor::network::
    doctor::own_ssh::
    doctor::private::
    doctor::tunnel::
    doctor::vps::one_that_nobody
    each_cause::
    gateway_access::while_the_host_is_down
    gateway_audit::an_audit_line_for_each_reason
    gateway_audit::an_audit_log_that_nobody_reads
    gateway_behind_fronts::
    gateway_limits::at_the_limit
    gateway_limits::silent_clients
    gateway_own_addresses::
    gateway_page
    gateway_pipes::bulk_goes
    gateway_prometheus::
    gateway_restarts::a_hundred
    gateway_restarts::it_hands_over
    gateway_restarts::tunnels_of
    gateway_turned_away::at_the_limit
    helper_answers::one_deadline
    helper_endurance::
    helper_farewell::
    helper_first_byte::
    helper_older_endurance::
    helper_pipes::a_larger_pipe
    helper_waits::
    hints::the_host_takes
    hundred_megabytes
    odd_homes::
    older_host::
    older_host_commands::
    other_proxies::
    over_tls::helper_answers::
    over_tls_by_bytes::
    refusals::a_port_that_never_answers
    resume_ends::a_tunnel
    resume_ends::an_outage
    resume_limits::
    resume_network::
    resume_programs::
    resume_screens::
    returning_network::sessions
    slow_host::
    soak::a_short_soak
    soak::users_do_not
    ssh_config::ten_
    ssh_config_files::configs_of_every_kind
    ssh_config_homes::
    ssh_config_hosts::
    ssh_config_resume::
    ssh_matrix::line_
    ssh_matrix::tls_
    surroundings::a_
    surroundings::closed_
    talking_shells::
    twenty_at_once
    upstream_bad_input::
    upstream_environment::
    upstream_proxies::
    upstream_settings::
)

# The tests of `release`, which no other set has.
release_tests=(debian_package:: release:: release_recipes::)

. contrib/packages.sh
. contrib/older-host.sh
. contrib/older-ssh.sh
. contrib/emulation.sh
. contrib/debian-root.sh
. contrib/release-tools.sh

# A library has no program to look for, and neither has a module.
has_libssh() {
    printf '#include <libssh/libssh.h>
int main(void) { return ssh_init(); }
' |
        cc -x c -o /dev/null - -lssh >/dev/null 2>&1
}

has_nginx_stream() { [ -e /usr/lib/nginx/modules/ngx_stream_module.so ]; }
has_nss_wrapper() { compgen -G '/usr/lib/*/libnss_wrapper.so' >/dev/null; }
missing() {
    missing_packages
    has_libssh || echo libssh-dev
    has_nginx_stream || echo libnginx-mod-stream
    has_nss_wrapper || echo libnss-wrapper
}

mapfile -t packages < <(missing | sort -u)
python=$(find_python || true)
if [ ${#packages[@]} -gt 0 ] || [ -z "$python" ]; then
    if ! has apt-get; then
        [ -n "$python" ] || packages+=("python3 (3.11 or later, with venv and ensurepip)")
        die "install these first (the names are Debian's): ${packages[*]}"
    fi
    apt_get update >&2
    if [ -z "$python" ]; then
        read -r -a more < <(python_packages)
        packages+=("${more[@]}")
    fi
    install_packages "${packages[@]}"
    mapfile -t packages < <(missing | sort -u)
    python=$(find_python) || die "there is still no Python of 3.11 or later with venv and ensurepip"
    [ ${#packages[@]} -eq 0 ] || die "these are still missing: ${packages[*]}"
fi
need_cargo

target=$(target_folder)
install_older_host "$python" "$target"
install_older_ssh "$target"
emulated_tests=()
if [ "$chosen" = release ]; then
    install_debian_root "$target"
    # The package for the other processor, where there is one.
    if [ $# -eq 0 ] && compgen -G "$target/release-artifacts/*_arm64.deb" >/dev/null && can_emulate aarch64; then
        install_debian_root "$target" arm64 aarch64
        emulated_tests=(--test it -- for_arm64)
    fi
    install_release_tools "$target/tools"
fi

folder=$target/ssh-clients
wanted=$(printf '%s\n' "${python_clients[@]}" "${node_clients[@]}" "${mitmproxy[@]}")
if [ "$(cat "$folder/complete" 2>/dev/null)" != "$wanted" ]; then
    say "installing other people's SSH clients and mitmproxy into $folder"
    rm -rf "$folder"
    mkdir -p "$folder/node"
    install_from_pypi "$python" "$folder/python" "${python_clients[@]}"
    install_from_pypi "$python" "$folder/mitmproxy" "${mitmproxy[@]}"
    # Their optional native parts only make them faster, and need a compiler for C++.
    npm install --prefix "$folder/node" --omit=optional --ignore-scripts --loglevel=error --no-audit --no-fund \
        "${node_clients[@]}" </dev/null >&2
    printf '%s\n' "$wanted" >"$folder/complete"
fi

folder=$target/grafana
if [ "$(cat "$folder/complete" 2>/dev/null)" != "${grafana[*]}" ]; then
    say "installing Grafana's types into $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    npm install --prefix "$folder" --ignore-scripts --loglevel=error --no-audit --no-fund "${grafana[@]}" </dev/null >&2
    printf '%s\n' "${grafana[*]}" >"$folder/complete"
fi

skipped=("${release_tests[@]}")
case $chosen in
    quick) skipped+=("${slow[@]}") ;;
    release)
        skipped=()
        [ $# -gt 0 ] || set -- --test it -- "${release_tests[@]}"
        if [ -d "$target/release-artifacts" ]; then export RELEASE_ARTIFACTS=$target/release-artifacts; fi
        ;;
esac
run=()
if [ -n "$static" ]; then
    words=(helper_ ssh_matrix stock_clients over_tls resume)
    if [[ $static == "$(uname -m)"-* ]]; then
        programs=$(contrib/build.sh --helper "$static")
    else
        can_emulate "${static%%-*}" || die "qemu can't be registered here: it takes root, and Linux 6.7 or later"
        run=(emulated "${static%%-*}")
        programs=$(contrib/build.sh "$static")
        export CLI_UNDER_TEST=$programs/kohakuriver GATEWAY_UNDER_TEST=$programs/kohakuriver-gateway
        # What looks at the process itself would see qemu.
        words=(ssh_matrix connect_command gateway_ends gateway_restarts resume_programs stock_clients)
        [ $# -gt 0 ] || "${run[@]}" contrib/build.sh --test "$static"
    fi
    export HELPER_UNDER_TEST=$programs/kohakuriver-proxy
    [ $# -gt 0 ] || set -- -- "${words[@]}"
    set -- --test it "$@"
fi
[[ " $* " == *" -- "* ]] || set -- "$@" --
for name in "${skipped[@]}"; do
    set -- "$@" --skip "$name"
done
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((6 * $(getconf _NPROCESSORS_ONLN)))}
status=0
"${run[@]}" cargo test --no-fail-fast "$@" || status=$?
if [ ${#emulated_tests[@]} -gt 0 ]; then
    EMULATED=aarch64 emulated aarch64 cargo test "${emulated_tests[@]}" || status=$?
fi
exit "$status"
