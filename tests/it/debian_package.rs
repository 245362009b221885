//! `contrib/deb.sh`, as dpkg sees what it makes, and the programs as they come out of it.

use std::path::Path;

use crate::support::home::Home;
use crate::support::run::{Outcome, Run};
use crate::support::tools::{CLI, tool};

/// One file of each kind.
const HOLDS: [&str; 14] = [
    "./usr/bin/kohakuriver",
    "./usr/bin/kohakuriver-gateway",
    "./usr/bin/kohakuriver-proxy",
    "./usr/lib/systemd/system/kohakuriver-gateway.service",
    "./usr/lib/systemd/system/kohakuriver-gateway-admin.socket",
    "./usr/lib/systemd/system/kohakuriver-gateway.socket",
    "./usr/share/bash-completion/completions/kohakuriver",
    "./usr/share/doc/kohakuriver-proxy/contrib/gateway/README.md",
    "./usr/share/doc/kohakuriver-proxy/copyright",
    "./usr/share/fish/vendor_completions.d/kohakuriver.fish",
    "./usr/share/man/man1/kohakuriver-proxy.1.gz",
    "./usr/share/man/man1/kohakuriver-vps-create.1.gz",
    "./usr/share/man/man8/kohakuriver-gateway.8.gz",
    "./usr/share/zsh/vendor-completions/_kohakuriver",
];

/// Makes the package of the programs in `folder`.
fn package(home: &Home, folder: &Path) -> Outcome {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/deb.sh");
    // The cargo that runs the tests, for a home that has none.
    let cargo = Path::new(env!("CARGO")).parent().unwrap();
    let path = format!("{}:{}", cargo.display(), std::env::var("PATH").unwrap());
    let run = Run::new(script, home).arg(folder).env("PATH", path).env("CARGO_TARGET_DIR", home.join("target"));
    // Programs with debug information are large: the best compression takes a minute.
    let run = run.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    run.deadline(300).output()
}

#[test]
fn the_package_installs_all_there_is() {
    let home = Home::new();
    let made = package(&home, Path::new(CLI).parent().unwrap());
    made.succeeds();
    let path = made.text().trim_end().to_owned();
    let dpkg_deb = |word: &str| Run::new(tool("dpkg-deb"), &home).arg(word).arg(&path);

    let fields = dpkg_deb("--field").output().succeeds().text();
    let version = format!("Version: {}\n", env!("CARGO_PKG_VERSION"));
    for field in [&version, "Package: kohakuriver-proxy\n", "Depends: libc6 (>= 2.", "openssh-client"] {
        assert!(fields.contains(field), "no {field:?} in {fields}");
    }
    let list = dpkg_deb("--contents").output().succeeds().text();
    for name in HOLDS {
        let line = list.lines().find(|line| line.ends_with(&format!(" {name}")));
        let mode = if name.contains("/bin/") { "-rwxr-xr-x root/root" } else { "-rw-r--r-- root/root" };
        assert!(line.is_some_and(|line| line.starts_with(mode)), "no {name} that is {mode} in\n{list}");
    }

    let root = home.join("root");
    dpkg_deb("--extract").arg(&root).output().succeeds();
    for program in ["kohakuriver", "kohakuriver-gateway", "kohakuriver-proxy"] {
        let version = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
        Run::new(root.join("usr/bin").join(program), &home).arg("--version").output().succeeds().prints(&version);
    }
    let unit = std::fs::read_to_string(root.join(HOLDS[3].trim_start_matches("./"))).unwrap();
    assert!(unit.contains("\nExecStart=/usr/bin/kohakuriver-gateway "), "{unit}");
    let page = Run::new(tool("zcat"), &home).arg(root.join("usr/share/man/man8/kohakuriver-gateway.8.gz")).output();
    page.succeeds().check(page.text().contains(".SH OPTIONS"), "a manual page");
}

#[test]
fn programs_that_are_not_there_make_no_package() {
    let home = Home::new();
    let made = package(&home, home.path());
    made.exits(1).prints_nothing();
    assert!(!home.join("target").exists(), "a package of nothing");
}
