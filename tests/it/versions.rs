//! `contrib/version.sh`: a version is one number in Cargo.toml, CHANGELOG.md and the tag.

use std::fs;
use std::path::Path;

use crate::support::home::Home;
use crate::support::run::{Outcome, Run};
use crate::support::tools::tool;

const SCRIPT: &str = "contrib/version.sh";

/// A repository with the script and what it reads.
struct Repository {
    home: Home,
}

impl Repository {
    fn new(sections: &str) -> Self {
        let repository = Self { home: Home::new() };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT);
        repository.home.copy(&script, SCRIPT);
        repository.home.write("Cargo.toml", crate_of("0.1.0") + "[dependencies]\nclap = { version = \"4.6\" }\n");
        let other = "\n[[package]]\nname = \"z\"\nversion = \"0.1.0\"\n";
        repository.home.write("Cargo.lock", crate_of("0.1.0").replace("[package]", "[[package]]") + other);
        repository.home.write("CHANGELOG.md", format!("# Changelog\n{sections}\n## 0.1.0\n\n- Begun.\n"));
        repository.git(&["init", "-q"]);
        repository.commit();
        repository
    }

    fn git(&self, words: &[&str]) -> String {
        let run = Run::new(tool("git"), &self.home).args(["-c", "user.name=me", "-c", "user.email=me@example.org"]);
        run.args(words).output().succeeds().text()
    }

    fn commit(&self) {
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "-m", "A change"]);
    }

    fn version(&self, words: &[&str]) -> Outcome {
        let run = Run::new(self.home.join(SCRIPT), &self.home).args(words);
        let names = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
        names.into_iter().fold(run, |run, name| run.env(name, "me")).output()
    }

    #[track_caller]
    fn refuses(&self, words: &[&str], says: &str) {
        let before = self.git(&["status", "--porcelain"]);
        self.version(words).exits(1).prints_nothing().check_stderr(&format!("contrib/version.sh: {says}\n"));
        assert_eq!(self.git(&["status", "--porcelain"]), before);
    }
}

fn crate_of(version: &str) -> String {
    format!("[package]\nname = \"kohakuriver-proxy\"\nversion = \"{version}\"\n")
}

#[test]
fn one_step_makes_a_version() {
    let repository = Repository::new("\n## Unreleased\n\n- More.\n");
    repository.version(&[]).succeeds().prints("0.1.0\n");
    repository.version(&["0.2.0"]).succeeds().prints("0.2.0\n").says_nothing();
    assert_eq!(repository.git(&["log", "-1", "--format=%s %D"]), "Version 0.2.0 HEAD -> master, tag: v0.2.0\n");
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
    let read = |name: &str| fs::read_to_string(repository.home.join(name)).unwrap();
    assert!(read("Cargo.toml").starts_with(&crate_of("0.2.0")) && read("Cargo.toml").contains("\"4.6\""));
    assert!(read("Cargo.lock").ends_with("version = \"0.1.0\"\n"), "{}", read("Cargo.lock"));
    assert!(read("CHANGELOG.md").contains("\n## 0.2.0\n\n- More.\n\n## 0.1.0\n"));
    repository.version(&[]).succeeds().prints("0.2.0\n");
    repository.refuses(&["0.2.0"], "there is a tag v0.2.0");
    repository.refuses(&["0.3"], "0.3 is not a version: write it as 1.2.3");
    repository.refuses(&["0.3.0"], "the newest section of CHANGELOG.md is not 0.3.0");
}

#[test]
fn places_that_disagree_are_told() {
    let repository = Repository::new("");
    repository.git(&["tag", "v0.3.0"]);
    repository.refuses(&[], "this commit has the tag v0.3.0, and is version 0.1.0");
    repository.git(&["tag", "-d", "v0.3.0"]);
    repository.home.write("CHANGELOG.md", "# Changelog\n\n## 0.0.9\n");
    repository.refuses(&[], "the newest section of CHANGELOG.md is not 0.1.0");
    repository.refuses(&["0.2.0"], "commit your changes first");
    repository.home.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 0.1.0\n");
    repository.version(&[]).succeeds();
    repository.commit();
    repository.git(&["tag", "v0.1.0"]);
    repository.refuses(&[], "CHANGELOG.md has something Unreleased above 0.1.0");
    repository.home.write("Cargo.lock", crate_of("0.0.9"));
    repository.refuses(&[], "Cargo.lock is not of version 0.1.0: run cargo");
}

#[test]
fn this_repository_agrees() {
    let home = Home::new();
    let run = Run::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT), &home);
    run.output().succeeds().prints(concat!(env!("CARGO_PKG_VERSION"), "\n"));
}
