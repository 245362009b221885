# shellcheck shell=bash
# An older ssh, which the tests of ssh_config run beside the system's: the one of an earlier Debian, unpacked into a
# folder and not installed. To be sourced behind packages.sh.

older_suite=bullseye
older_packages=(openssh-client libssl1.1 libcbor0)

# The SHA-256 of the program that the tests were written against, by architecture.
older_sum() {
    case $1 in
    amd64) echo 19269e22521f8e5aacbb47ec9b868abe8214fe4cfad7c36de3a7cadf2d1f7cc4 ;;
    esac
}

# The machine's own mirror of Debian's main archive; nothing elsewhere.
debian_mirror() {
    apt-get indextargets --format '$(SITE) $(COMPONENT) $(CODENAME)' 2>/dev/null |
        awk '$2 == "main" && $3 !~ /-/ { print $1; exit }'
}

# Unpacks it into the folder $1; fails if that is not possible here.
fetch_older_ssh() (
    folder=$1
    mirror=$(debian_mirror) || exit 1
    [ -n "$mirror" ] || exit 1
    mkdir -p "$folder"/apt/{lists/partial,cache/archives/partial,parts} "$folder/root" && cd "$folder/apt" || exit 1
    echo "deb $mirror $older_suite main" >sources.list
    options=(
        -qq -o "Dir::Etc::SourceList=$PWD/sources.list" -o "Dir::Etc::SourceParts=$PWD/parts"
        -o "Dir::State::Lists=$PWD/lists" -o "Dir::Cache=$PWD/cache" -o APT::Sandbox::User=
    )
    apt-get "${options[@]}" update && apt-get "${options[@]}" download "${older_packages[@]/%//$older_suite}" || exit 1
    for package in ./*.deb; do
        dpkg -x "$package" ../root || exit 1
    done
    cd .. && rm -rf apt
)

# Whether the folder $1 has it.
has_older_ssh() {
    local sum
    sum=$(older_sum "$(dpkg --print-architecture 2>/dev/null)")
    [ -n "$sum" ] && echo "$sum  $1/root/usr/bin/ssh" | sha256sum --check --status 2>/dev/null
}

# Brings it into the target folder $1, unless it is there. Without it, its tests say so and the others run.
install_older_ssh() {
    local folder=$1/older-ssh
    if has_older_ssh "$folder"; then
        return
    fi
    say "unpacking an older ssh into $folder"
    rm -rf "$folder"
    if ! fetch_older_ssh "$folder" </dev/null >&2 || ! has_older_ssh "$folder"; then
        rm -rf "$folder"
        say "WARNING: there is no older ssh for this machine: ssh_config is NOT TESTED with one"
    fi
}
