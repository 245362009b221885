#!/usr/bin/env bash
# Takes the pictures of the gateway's page for contrib/gateway/README.md, in light and in dark, and with --more also those of
# a narrow window and without JavaScript, into target/screenshots.
#
# The gateway and the tunnels are real. The users, the VPSes behind the tunnels and the Host are made up by this script. The
# charts show what happens while it runs, so it takes six minutes; --seconds N changes that. It uses free ports of the
# loopback interface, and leaves no process behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=(chromium:chromium chromedriver:chromium-driver python3:python3 pngquant:pngquant cc:gcc)
. contrib/packages.sh
install_missing
need_cargo

cargo build --locked --bins
programs=$(target_folder)/debug
shots=$(target_folder)/screenshots
folder=$(mktemp -d)
trap 'rm -rf "$folder"; remove_policy' EXIT
mkdir -p "$shots" contrib/gateway/images
python3 contrib/screenshots.py "$programs" "$folder" "$shots" "$@"
for name in page-light page-dark; do
    pngquant --force --speed 1 --nofs --output "contrib/gateway/images/$name.png" 48 "$shots/$name.png"
done
say "contrib/gateway/images has them now"
