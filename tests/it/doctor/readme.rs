//! What the README shows of doctor is what doctor says. `contrib/recording.sh` writes it.

use serde_json::json;

use crate::support::cluster::Cluster;
use crate::support::gateway::NODE;
use crate::support::home::{Home, set_mode};
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER, user};

/// Checks that tell of other people's versions.
const OF_OTHERS: [&str; 2] = ["ok    ssh ", "ok    ssh-server "];

/// The block that `contrib/recording.sh` writes under this name, with lines as they are where nothing wraps them.
fn block(name: &str) -> String {
    let readme = include_str!("../../../README.md");
    let begin = format!("<!-- contrib/recording.sh writes {name} -->\n```\n");
    let (_, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("no {begin:?} in README.md"));
    let (block, _) = rest.split_once("```\n<!-- to here -->").unwrap();
    block.replace(&format!("\n{:19}", ""), " ")
}

/// Times, ports, paths, keys and other people's versions differ from run to run and from machine to machine.
fn settled(text: &str) -> String {
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
        let line = OF_OTHERS.into_iter().find(|check| line.starts_with(check)).unwrap_or(line);
        line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

#[test]
fn the_readme_shows_what_doctor_says() {
    let cluster = Cluster::with(Home::new(), |vps| {
        vps["name"] = json!("trainer");
        vps["vps_backend"] = json!("docker");
    });
    let cli = cluster.home.copy(CLI.as_ref(), ".cargo/bin/kohakuriver");
    cluster.home.copy(HELPER.as_ref(), ".cargo/bin/kohakuriver-proxy");
    cluster.connect().args(["--", "true"]).output().succeeds();
    set_mode(&cluster.home.join(&format!(".ssh/id-kohakuriver-{ID}")), 0o644);
    let folder = cluster.home.join(".cargo/bin").display().to_string();
    let path = format!("{folder}:{}:{}", cluster.home.join("bin").display(), std::env::var("PATH").unwrap());
    let outcome = cluster.run(cli).args(["doctor", "trainer", "--user", &user()]).env("PATH", path).output();
    outcome.exits(1).says_nothing();
    let shown = settled(&block("doctor"));
    assert!(shown.lines().count() > 20, "{shown}");
    let said = settled(&outcome.text().replace(NODE, "node1"));
    assert_eq!(shown, format!("$ kohakuriver doctor trainer\n{said}"), "run contrib/recording.sh\n{outcome}");
}
