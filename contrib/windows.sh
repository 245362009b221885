#!/usr/bin/env bash
# Builds the programs for Windows (x86-64) and runs their tests under wine, with PuTTY's plink as their client.
#
#     contrib/windows.sh            all of these tests
#     contrib/windows.sh NAME       the tests with this word in their names
#     contrib/windows.sh --release  all of them, with the programs in the archive that contrib/release.sh has made
#
# On Debian and Ubuntu it installs missing packages with apt; elsewhere it says what is missing. What other tests need
# comes by contrib/test.sh. PuTTY is built from Debian's source, into a folder under cargo's target folder: there is also
# a drive C with the programs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=(
    sha256sum:coreutils cmake:cmake make:make x86_64-w64-mingw32-gcc:gcc-mingw-w64-x86-64 wine:wine wineserver:wine
)
. contrib/packages.sh
need_cargo
archive=
if [ "${1-}" = --release ]; then
    shift
    archive=$(target_folder)/release-artifacts/kohakuriver-proxy-$(contrib/version.sh)-x86_64-pc-windows-gnu.zip
    [ -e "$archive" ] || die "there is no $archive: make it with contrib/release.sh x86_64-pc-windows-gnu"
    tools+=(unzip:unzip)
fi
install_missing

putty=putty_0.78.orig.tar.gz
putty_sum=274e01bcac6bd155dfd647b2f18f791b4b17ff313753aa919fcae2e32d34614f
target=$(target_folder)
folder=$target/windows
drive=$folder/wine/drive_c
programs="$drive/Program Files/KohakuRiver"

fetch_putty() (
    mkdir -p "$folder"/apt/{lists/partial,cache/archives/partial,parts} && cd "$folder/apt" || exit 1
    # The machine's own mirror of Debian's main archive.
    apt-get indextargets --format '$(SITE) $(CODENAME) $(COMPONENT)' 2>/dev/null |
        awk '$3 == "main" && $2 !~ /-/ { print "deb-src", $0; exit }' >sources.list
    options=(
        -qq -o "Dir::Etc::SourceList=$PWD/sources.list" -o "Dir::Etc::SourceParts=$PWD/parts"
        -o "Dir::State::Lists=$PWD/lists" -o "Dir::Cache=$PWD/cache" -o APT::Sandbox::User=
    )
    # The signature beside the archive is not on every mirror, and the sum is known.
    apt-get "${options[@]}" update && { apt-get "${options[@]}" source --download-only putty || true; }
    echo "$putty_sum  $putty" | sha256sum --check --status || exit 1
    tar -xf "$putty" -C .. && cd .. && rm -rf apt putty && mv putty-0.78 putty
)

if [ ! -e "$folder/plink.exe" ]; then
    say "building PuTTY's plink for Windows in $folder"
    fetch_putty >&2 || die "there is no source of PuTTY 0.78 here"
    cmake -S "$folder/putty" -B "$folder/putty-build" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_TOOLCHAIN_FILE="$PWD/contrib/windows/mingw.cmake" >&2
    make -C "$folder/putty-build" plink >&2
    cp "$folder/putty-build/plink.exe" "$folder/plink.exe"
fi

if [ -n "$archive" ]; then
    rm -rf "$folder/archive"
    unzip -q "$archive" -d "$folder/archive"
    built=$folder/archive/$(basename "$archive" .zip)/bin
else
    built=$(contrib/build.sh x86_64-pc-windows-gnu)
fi

export WINEPREFIX=$folder/wine WINEDEBUG=-all
mkdir -p "$folder/home" "$WINEPREFIX"
# The system's own programs start before the tests: they keep the stderr of whoever starts them.
trap 'wineserver -k >/dev/null 2>&1 || true' EXIT
HOME=$folder/home wineserver -p
HOME=$folder/home wine wineboot --init </dev/null >/dev/null 2>&1
mkdir -p "$programs"
cp "$folder/plink.exe" "$built"/kohakuriver{,-proxy}.exe "$programs"
mkdir -p "$drive/windows/system32/OpenSSH"
x86_64-w64-mingw32-gcc -o "$drive/windows/system32/OpenSSH/ssh.exe" contrib/windows/ssh.c
x86_64-w64-mingw32-gcc -o "$drive/windows/system32/icacls.exe" contrib/windows/icacls.c
x86_64-w64-mingw32-gcc -o "$programs/words.exe" contrib/windows/words.c
x86_64-w64-mingw32-gcc -shared -o "$programs/bcryptprimitives.dll" contrib/windows/bcryptprimitives.c -ladvapi32
KOHAKURIVER_TEST_WINE=$WINEPREFIX contrib/test.sh --test it "windows::${1-}"
