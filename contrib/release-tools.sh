# shellcheck shell=bash
# What contrib/release.sh makes packages with. To be sourced behind packages.sh.

# crate@version and what `cargo install` is told. Debian's `xz` compresses.
release_tools=("cargo-deb@3.8.0 --no-default-features" "cargo-generate-rpm@0.21.1" "cargo-cyclonedx@0.5.9")

# Installs them into the folder $1, unless they are there.
install_release_tools() {
    local tool words
    for tool in "${release_tools[@]}"; do
        read -r -a words <<<"$tool"
        # cargo's own list says which version is there.
        if ! grep -qs "^\"${words[0]/@/ } " "$1/.crates.toml"; then
            say "installing ${words[0]} into $1"
            cargo install --quiet --locked --root "$1" "${words[@]}" >&2
        fi
    done
}
