//! The README shows the output of doctor. `contrib/recording.sh` writes it there, without the checks in the middle.

use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::gateway::NODE;
use crate::support::home::{Home, set_mode};
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER, user};

/// The line that stands for the checks that are left out.
const LEFT_OUT: &str = "...\n";

/// The block that `contrib/recording.sh` writes under this name, with its lines unwrapped.
fn block(name: &str) -> String {
    let readme = include_str!("../../../README.md");
    let begin = format!("<!-- contrib/recording.sh writes {name} -->\n```\n");
    let (_, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("no {begin:?} in README.md"));
    let (block, _) = rest.split_once("```\n<!-- to here -->").unwrap();
    block.replace(&format!("\n{:19}", ""), " ")
}

/// The text without times, ports, paths and keys, which differ from run to run.
fn comparable(text: &str) -> String {
    let word = |word: &str| match word.trim_end_matches([',', ':', ';']) {
        path if path.starts_with('/') || path.starts_with("~/.cargo/") => word.replace(path, "PATH"),
        print if print.starts_with("SHA256:") => word.replace(print, "SHA256:…"),
        address if address.contains("127.0.0.1:") => {
            let (place, _) = address.split_once("127.0.0.1:").unwrap();
            let path = address.rsplit_once("/api").map_or("", |_| "/api/nodes");
            word.replace(address, &format!("{place}127.0.0.1:PORT{path}"))
        }
        number if number.len() > 3 && number.len() < 6 && number.bytes().all(|b| b.is_ascii_digit()) => {
            "PORT".to_owned()
        }
        _ => word.to_owned(),
    };
    let line = |line: &str| {
        let line = line.rsplit_once(" (").filter(|(_, end)| end.ends_with("s)")).map_or(line, |(line, _)| line);
        line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

#[test]
fn the_readme_shows_the_output_of_doctor() {
    let cluster = Cluster::with(Home::new(), |vps| {
        vps["name"] = json!("trainer");
        vps["vps_backend"] = json!("docker");
    });
    let cli = cluster.home.copy(CLI.as_ref(), ".cargo/bin/kohakuriver");
    cluster.home.copy(HELPER.as_ref(), ".cargo/bin/kohakuriver-proxy");
    cluster.connect().args(["--", "true"]).output().succeeds();
    set_mode(&cluster.home.join(&format!(".ssh/id-kohakuriver-{ID}")), 0o644);
    let path = format!("{}:{}", cluster.home.join(".cargo/bin").display(), cluster.home.join("bin").display());
    let run = cluster.run(cli).args(["doctor", "trainer", "--user", user()]).first_on_path(path.as_ref());
    let outcome = run.output();
    outcome.exits(1).says_nothing();
    let printed = outcome.text().replace(NODE, "node1");
    let printed = comparable(&format!("$ kohakuriver doctor trainer\n{printed}"));
    let shown = comparable(&block("doctor"));
    let (first, last) = shown.split_once(LEFT_OUT).expect("a line for the checks that are left out");
    assert!(first.lines().count() > 1 && last.lines().count() > 5, "{shown}");
    let same = printed.starts_with(first) && printed.ends_with(last);
    assert!(same, "run contrib/recording.sh: README.md shows\n{shown}doctor prints\n{printed}{outcome}");
}
