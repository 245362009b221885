#!/usr/bin/env bash
# Makes a package for Debian and Ubuntu: the three programs, their manual pages, what shells complete, and the gateway's
# units, which it neither enables nor starts (contrib/systemd/README.md).
#
#   contrib/deb.sh [FOLDER]
#
# It builds the programs, or takes them from the folder. The package lies in cargo's target folder then, and its path is
# all that stands on stdout: sudo apt install "$(contrib/deb.sh)"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=(dpkg-deb:dpkg cc:gcc cc:libc6-dev)
. contrib/packages.sh
install_missing
need_cargo

target=$(target_folder)
programs=${1-$target/release}
helper=${1-$target/small}
if [ $# -eq 0 ]; then
    cargo build --locked --release --bin kohakuriver --bin kohakuriver-gateway
    cargo build --locked --profile small --no-default-features --bin kohakuriver-proxy
fi

# What is installed is everybody's to read.
umask 022
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
share=$root/usr/share
units=$root/usr/lib/systemd/system
documents=$share/doc/kohakuriver-proxy
mkdir -p "$root/DEBIAN" "$units" "$documents" "$share"/{bash-completion/completions,zsh/vendor-completions} \
    "$share/fish/vendor_completions.d"

install -D -m 755 -t "$root/usr/bin" "$programs"/kohakuriver{,-gateway} "$helper/kohakuriver-proxy"
kohakuriver=$root/usr/bin/kohakuriver
said=$("$kohakuriver" man --output "$share/man" 2>&1) || die "$said"
find "$share/man" -type f -exec gzip -9n {} +
"$kohakuriver" completions bash >"$share/bash-completion/completions/kohakuriver"
"$kohakuriver" completions zsh >"$share/zsh/vendor-completions/_kohakuriver"
"$kohakuriver" completions fish >"$share/fish/vendor_completions.d/kohakuriver.fish"
for unit in kohakuriver-gateway{.service,.socket,-admin.socket}; do
    sed 's|/usr/local/bin/|/usr/bin/|' "contrib/systemd/$unit" >"$units/$unit"
done
for document in README.md CHANGELOG.md examples/ssh_config contrib/{gateway,ide,office,systemd}/README.md \
    contrib/gateway/front/*.* benches/README.md; do
    install -D -m 644 "$document" "$documents/$document"
done
install -m 644 LICENSE "$documents/copyright"

version=$(cargo pkgid)
version=${version##*[#@]}
architecture=$(dpkg --print-architecture)
# The newest C library that any of the programs asks for.
library=$(grep -aoh 'GLIBC_2\.[0-9]*' "$root"/usr/bin/* | sort -uV | tail -n 1)
cat >"$root/DEBIAN/control" <<END
Package: kohakuriver-proxy
Version: $version
Architecture: $architecture
Maintainer: ${DEBFULLNAME:-$(id -un)} <${DEBEMAIL:-$(id -un)@$(uname -n)}>
Depends: libc6 (>= ${library#GLIBC_}), openssh-client
Section: net
Priority: optional
Installed-Size: $(du -sk "$root/usr" | cut -f 1)
Description: SSH into a KohakuRiver VPS through the Host's SSH proxy
 A ProxyCommand helper, a command that finds VPSes and logs in to them, and the
 gateway that answers on the Host.
END
package=$target/kohakuriver-proxy_${version}_$architecture.deb
mkdir -p "$target"
dpkg-deb --root-owner-group --build "$root" "$package" >&2
printf '%s\n' "$package"
