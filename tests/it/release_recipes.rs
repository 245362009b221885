//! The recipes for other packagers, in a release of all targets: the formula for Homebrew, the manifest for Scoop, and
//! the PKGBUILD. Each recipe names files of the release, with their sums.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::home::Home;
use crate::support::release::{artifacts, unpacked};
use crate::support::run::Run;
use crate::support::tools::{not_tested, older_host_python, tool};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const PROGRAMS: [&str; 3] = ["kohakuriver", "kohakuriver-gateway", "kohakuriver-proxy"];

/// Stands in for Homebrew.
const HOMEBREW: &str = include_str!("fixtures/homebrew.rb");

/// A file of the release; `None` for a release without it, and that is said.
fn recipe(name: &str) -> Option<PathBuf> {
    let path = artifacts().join(name);
    if path.is_file() {
        return Some(path);
    }
    not_tested(&format!("{name}, which a release of all targets has: contrib/release.sh --url URL"));
    None
}

/// The sum of each file of the release.
fn sums() -> BTreeMap<String, String> {
    let text = fs::read_to_string(artifacts().join("SHA256SUMS")).unwrap();
    text.lines().map(|line| line.split_once("  ").unwrap()).map(|(sum, name)| (name.into(), sum.into())).collect()
}

/// Whether the file at this address is in the release and has this sum.
fn check(url: &str, sum: &str) {
    let name = url.rsplit('/').next().unwrap();
    assert!(url.starts_with("https://"), "{url}");
    assert_eq!(sums().get(name).map(String::as_str), Some(sum), "{url}");
}

#[test]
fn the_formula_names_archives_and_installs_what_is_in_them() {
    let Some(formula) = recipe("kohakuriver-proxy.rb") else { return };
    let home = Home::new();
    Run::new(tool("ruby"), &home).args(["-w", "-c"]).arg(&formula).output().succeeds().prints("Syntax OK\n");
    let script = home.write("homebrew.rb", HOMEBREW);
    for target in ["aarch64-apple-darwin", "x86_64-apple-darwin", "x86_64-unknown-linux-musl"] {
        let run = Run::new(tool("ruby"), &home).arg(&script).arg(&formula).arg(unpacked(target, &home)).output();
        let text = run.succeeds().text();
        let of = |word: &str| text.lines().filter_map(|line| line.strip_prefix(word)).collect::<Vec<_>>();
        let (urls, sums) = (of("url "), of("sha256 "));
        assert_eq!((urls.len(), sums.len()), (4, 4), "{text}");
        urls.iter().zip(sums).for_each(|(url, sum)| check(url, sum));
        // The oldest macOS that the programs are built for, by README.md: version 13.
        assert!(matches!(of("depends_on ")[..], [system] if system.contains("ventura")), "{text}");
        assert_eq!(of("bin "), PROGRAMS, "{text}");
        assert!(of("man1 ").len() > 10 && !of("man8 ").is_empty(), "{text}");
    }
}

#[test]
fn the_manifest_for_scoop_names_the_archive_and_the_programs_in_it() {
    let Some(manifest) = recipe("kohakuriver-proxy.json") else { return };
    let home = Home::new();
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    // The keys that Scoop's schema requires.
    for key in ["version", "homepage", "license"] {
        assert!(manifest[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {manifest}");
    }
    assert_eq!(manifest["version"], VERSION);
    let archive = &manifest["architecture"]["64bit"];
    let url = archive["url"].as_str().unwrap();
    check(url, archive["hash"].as_str().unwrap());
    let list = Run::new(older_host_python(), &home).args(["-m", "zipfile", "-l"]);
    let list = list.arg(artifacts().join(url.rsplit('/').next().unwrap())).output();
    let text = list.succeeds().text();
    for program in manifest["bin"].as_array().unwrap() {
        let folder = archive["extract_dir"].as_str().unwrap();
        let path = format!("{folder}/{}", program.as_str().unwrap().replace('\\', "/"));
        assert!(text.lines().any(|line| line.starts_with(&format!("{path} "))), "no {path}: {text}");
    }
}

#[test]
fn the_pkgbuild_packs_the_archive() {
    let Some(recipe) = recipe("PKGBUILD") else { return };
    let home = Home::new();
    let bash = |script: &str| Run::new(tool("bash"), &home).args(["-euc", script, "bash"]).arg(&recipe);
    for (machine, target) in [("x86_64", "x86_64-unknown-linux-gnu"), ("aarch64", "aarch64-unknown-linux-gnu")] {
        unpacked(target, &home);
        let script = "bash -n \"$1\"; . \"$1\"; declare -n sources=source_$CARCH sums=sha256sums_$CARCH
            echo \"$pkgver ${#sources[@]} $sources $sums ${arch[*]}\"; pkgdir=$PWD/$CARCH; mkdir \"$pkgdir\"; package";
        let said = bash(script).env("CARCH", machine).output();
        let text = said.succeeds().text();
        let words: Vec<_> = text.split_whitespace().collect();
        assert_eq!((words[0], words[1], &words[4..]), (VERSION, "1", &["x86_64", "aarch64"][..]), "{text}");
        check(words[2], words[3]);
        for program in PROGRAMS {
            assert!(home.join(machine).join("usr/bin").join(program).is_file(), "no {program}");
        }
        for file in ["etc/default/kohakuriver-gateway", "usr/share/licenses/kohakuriver-proxy-bin/LICENSE"] {
            assert!(home.join(machine).join(file).is_file(), "no {file}");
        }
        let unit = home.join(machine).join("usr/lib/systemd/system/kohakuriver-gateway.service");
        let unit = fs::read_to_string(unit).unwrap();
        assert!(unit.contains("\nExecStart=/usr/bin/kohakuriver-gateway "), "{unit}");
    }
}
