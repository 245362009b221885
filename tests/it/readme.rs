//! The documents, compared with the programs and with each other.

use std::collections::BTreeSet;
use std::fs;
use std::net::Shutdown;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::certificates::Authority;
use crate::support::gateway::{Gateway, inventory};
use crate::support::home::Home;
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{CLI, GATEWAY, tool};
use crate::support::tunnels::{asked_of, echo_tunnel};
use crate::support::watched::Watched;

const README: &str = include_str!("../../README.md");
const OF_THE_GATEWAY: &str = include_str!("../../contrib/gateway/README.md");
/// Most lines of README.md: a newcomer reads all of it.
const MOST_LINES: usize = 200;
/// Options in the documents that belong to other programs: cargo, systemd, the benchmarks.
const FOREIGN: [&str; 18] = [
    "--bench",
    "--bin",
    "--check",
    "--docker",
    "--fuzz-dir",
    "--helper",
    "--kill-who",
    "--locked",
    "--network",
    "--no-deps",
    "--now",
    "--open",
    "--path",
    "--quick",
    "--release",
    "--stop-timeout",
    "--test",
    "--url",
];

/// The cells of the table that begins with this line, one vector for each row.
fn table(document: &'static str, header: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) =
        document.split_once(&format!("\n{header}\n")).unwrap_or_else(|| panic!("there is no table {header}"));
    let rows = rest.lines().skip(1).take_while(|line| line.starts_with('|'));
    // `\|` is a bar inside a cell, which no test reads.
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    let rows: Vec<Vec<_>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "the table {header} is empty");
    rows
}

/// The block of code in this language whose text contains `word`.
fn block(document: &'static str, language: &str, word: &str) -> &'static str {
    let begin = format!("\n```{language}\n");
    let blocks = document.split(&begin).skip(1);
    let mut blocks = blocks.map(|rest| rest.split_once("\n```").unwrap().0);
    blocks.find(|block| block.contains(word)).unwrap_or_else(|| panic!("no {language} block contains {word:?}"))
}

/// The texts between backquotes.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A valid value of this setting that is not its default.
fn other_value(setting: &str) -> &'static str {
    match setting {
        "port" | "ssh_proxy_port" => "4242",
        "gateway_admin" => "http://gpu-head:4242",
        "log_file" => "/gpu-head.log",
        "known_hosts" => "/gpu-head.keys",
        "cluster" => "default",
        "ca_file" | "client_cert" | "client_key" => "/gpu-head.pem",
        "pinned_key" => "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "upstream_proxy" => "http://gpu-head:4242",
        "resume" => "off",
        _ => "gpu-head",
    }
}

#[test]
fn the_readme_lists_every_setting() {
    let home = Home::new();
    let show = |run: Run| run.args(["config", "show"]).output().succeeds().text();
    let plain = show(Run::new(CLI, &home));
    let shown: Vec<_> = plain.lines().skip(1).take_while(|line| !line.is_empty()).collect();
    let rows = table(README, "| setting | environment | config.json | default |");
    assert_eq!(rows.len(), shown.len(), "{plain}");
    for (row, line) in rows.into_iter().zip(shown) {
        let [_, environment, file, default] = row[..] else { panic!("a row of {} cells: {row:?}", row.len()) };
        let setting = line.split_whitespace().next().unwrap();
        assert!(code(file).next().is_none_or(|key| key == setting), "{row:?} stands where {line} does");
        let value = other_value(setting);
        let comes_from = |text: String, source: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{setting} "))).unwrap_or_default();
            // `config show` never prints the token.
            let printed = if setting == "token" { "set" } else { value };
            let words: Vec<_> = line.split_whitespace().skip(1).collect();
            assert_eq!(words, [printed, source], "{text}");
        };
        if let Some(name) = code(environment).next() {
            comes_from(show(Run::new(CLI, &home).env(name, value)), name);
        }
        if let Some(key) = code(file).next() {
            let value = value.parse::<u16>().map_or_else(|_| json!(value), |number| json!(number));
            let with_file = Home::new();
            with_file.write(".config/kohakuriver/config.json", json!({ key: value }).to_string());
            comes_from(show(Run::new(CLI, &with_file)), "config.json");
        }
        if ["host", "port", "ssh_proxy_port"].contains(&setting) {
            let words: Vec<_> = line.split_whitespace().collect();
            assert_eq!(words[1..], [default.trim_matches('`'), "default"], "{row:?}");
        }
    }
}

#[test]
fn the_gateway_document_lists_every_metric() {
    // With what some of them need.
    let authority = Authority::new();
    let certificate = authority.home.secret("gateway.pem", &authority.server(1).pem);
    let options = ["--tls-listen", "127.0.0.1:0", "--tls-cert", certificate.to_str().unwrap(), "--metrics-by-user"];
    let gateway = Gateway::with_inventory_and(&inventory(&[]), &options);
    let url = format!("http://{}/metrics", gateway.admin);
    let page = Run::new(tool("curl"), &Home::new()).args(["-sS", "-m", "30", &url]).output().succeeds().text();
    let served = page.lines().filter_map(|line| line.strip_prefix("# TYPE kohakuriver_gateway_")?.split(' ').next());
    let rows = table(OF_THE_GATEWAY, "| name | meaning |");
    let named: Vec<_> = rows.iter().flat_map(|row| code(row[0])).collect();
    let names = named.iter().map(|name| name.split('{').next().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>(), served.collect::<BTreeSet<_>>());
    for (name, labels) in named.iter().filter_map(|name| name.trim_end_matches('}').split_once('{')) {
        let sample = page.lines().find_map(|line| line.strip_prefix(&format!("kohakuriver_gateway_{name}{{")));
        let sample = sample.unwrap_or_else(|| panic!("{name} has no sample with a label:\n{page}"));
        let found: Vec<_> =
            sample.split(['{', ',', '}']).filter_map(|label| Some(label.split_once("=\"")?.0)).collect();
        assert_eq!(found.join(","), labels, "{name}");
    }
    let (_, endings) = OF_THE_GATEWAY.split_once("endings: ").unwrap();
    let endings: BTreeSet<_> = code(endings.lines().next().unwrap()).collect();
    let served =
        page.lines().filter_map(|line| line.split_once("_tunnels_closed_total{ending=\"")?.1.split('"').next());
    assert_eq!(endings, served.collect());
}

/// The block of `--help` that describes each option, in one line.
fn described() -> Vec<(String, String)> {
    let help = Run::new(GATEWAY, &Home::new()).arg("--help").output().succeeds().text();
    let mut described: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let words = line.trim_start();
        // A wrapped line may begin with the name of another option, but further to the right.
        let starts = words.starts_with('-') && line.len() - words.len() <= 6;
        match options(words).next() {
            Some(name) if starts => described.push((name.to_owned(), words.to_owned())),
            _ => {
                if let Some((_, text)) = described.last_mut() {
                    text.push(' ');
                    text.push_str(words);
                }
            }
        }
    }
    assert!(described.len() > 20, "{help}");
    described
}

#[test]
fn the_gateway_document_names_every_option_with_its_default() {
    let described = described();
    let named: BTreeSet<_> = options(OF_THE_GATEWAY).collect();
    let missing: Vec<_> =
        described.iter().map(|(name, _)| name.as_str()).filter(|name| !named.contains(name)).collect();
    assert_eq!(missing, ["--version"]);
    for row in table(OF_THE_GATEWAY, "| option | default | limits |") {
        let name = code(row[0]).next().unwrap();
        let (_, text) = described.iter().find(|(option, _)| option == name).unwrap_or_else(|| panic!("no {name}"));
        let default = format!("[default: {}]", row[1].replace('`', ""));
        assert!(text.contains(&default), "{default} is not in: {text}");
    }
}

#[test]
fn the_gateway_document_shows_the_fields_of_sessions_and_audit_lines() {
    let scene = Watched::new(&[]);
    let tunnel = echo_tunnel(scene.gateway.address, ID).unwrap();
    let rows = table(OF_THE_GATEWAY, "| request | answer |");
    let row = rows.iter().find(|row| row[0] == "`GET /sessions`").unwrap();
    let named: BTreeSet<_> = code(row[1]).collect();
    let sessions = scene.sessions();
    assert_eq!(named, keys(&sessions[0]).collect());
    tunnel.shutdown(Shutdown::Both).unwrap();
    asked_of(scene.gateway.address, "CONNECT 42:22 HTTP/1.1\r\n\r\n");
    let lines: Vec<Value> =
        block(OF_THE_GATEWAY, "json", "\"event\"").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for shown in lines {
        let event = shown["event"].as_str().unwrap();
        let written = scene.audit(event, 1).remove(0);
        assert_eq!(keys(&shown).collect::<Vec<_>>(), keys(&written).collect::<Vec<_>>(), "{event}");
    }
}

#[test]
fn the_gateway_document_names_the_fields_of_the_status() {
    let scene = Watched::new(&[]);
    let rows = table(OF_THE_GATEWAY, "| field | value |");
    let named: BTreeSet<_> = rows.iter().flat_map(|row| code(row[0])).collect();
    let status: Value = serde_json::from_str(&scene.curl("/status", &[]).text()).unwrap();
    assert_eq!(named, keys(&status).collect());
    for (field, object) in
        [("tunnels", &status["tunnels"]), ("limits", &status["limits"][0]), ("hour", &status["hour"])]
    {
        let row = rows.iter().find(|row| code(row[0]).eq([field])).unwrap();
        let named: BTreeSet<_> = code(row[1]).collect();
        let missing: Vec<_> = keys(object).filter(|key| !named.contains(key)).collect();
        assert!(missing.is_empty(), "{field}: {missing:?}");
    }
}

fn keys(object: &Value) -> impl Iterator<Item = &str> {
    object.as_object().unwrap().keys().map(String::as_str)
}

#[test]
fn the_inventory_in_the_gateway_document_is_served() {
    let shown = serde_json::from_str(block(OF_THE_GATEWAY, "json", "\"nodes\"")).unwrap();
    let gateway = Gateway::with_inventory(&shown);
    let home = Home::new();
    let port = gateway.api().port().to_string();
    let json = |args: &[&str]| -> Value {
        let run = Run::new(CLI, &home).args(["--host", "127.0.0.1", "--port", &port]).args(args).arg("--json");
        serde_json::from_str(&run.output().succeeds().text()).unwrap()
    };
    let vps = json(&["vps", "status", "trainer"]);
    // The VPS is on a node of the inventory.
    assert_eq!(vps["assigned_node"], json(&["node", "list"])[0]["hostname"], "{vps}");
}

#[test]
fn haproxy_accepts_the_configuration_in_the_gateway_document() {
    let home = Home::new();
    let check = |config: &str| {
        let path = home.write("haproxy.cfg", format!("{config}\n"));
        Run::new(tool("haproxy"), &home).args(["-c", "-f"]).arg(path).output()
    };
    let config = block(OF_THE_GATEWAY, "haproxy", "send-proxy-v2");
    check(config).succeeds();
    let outcome = check(&config.replace("redispatch", "re-dispatch"));
    outcome.check(!outcome.status.success(), "a refusal of an unknown option");
}

#[test]
fn every_option_in_the_documents_exists() {
    let home = Home::new();
    Run::new(CLI, &home).args(["man", "--output", "man"]).output().succeeds();
    let mut known = BTreeSet::new();
    for section in ["man1", "man8"] {
        for page in fs::read_dir(home.join("man").join(section)).unwrap() {
            let page = fs::read_to_string(page.unwrap().path()).unwrap().replace("\\-", "-");
            // The mark of bold text begins with a letter.
            let page = page.replace("\\fB", " ");
            known.extend(options(&page).map(str::to_owned));
        }
    }
    let documents = documents();
    let named: BTreeSet<_> = documents.iter().flat_map(|(_, text)| options(text)).collect();
    assert!(named.len() > 60, "{named:?}");
    let unknown: Vec<_> = named.iter().filter(|name| !known.contains(**name) && !FOREIGN.contains(name)).collect();
    assert!(unknown.is_empty(), "unknown options {unknown:?}");
    let gone: Vec<_> = FOREIGN.iter().filter(|name| !named.contains(*name)).collect();
    assert!(gone.is_empty(), "no document names {gone:?}");
}

/// Each `--word` in a text.
fn options(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.map(|word| word.trim_end_matches('-')).filter(|word| {
        word.strip_prefix("--").is_some_and(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))
    })
}

#[test]
fn the_readme_is_short() {
    let lines = README.lines().count();
    assert!(lines <= MOST_LINES, "README.md has {lines} lines");
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path of each document from there, and its text.
fn documents() -> Vec<(String, String)> {
    let folders = [root().to_owned(), root().join("benches")].into_iter().chain(entries(root().join("contrib")));
    let files = folders.filter(|folder| folder.is_dir()).flat_map(entries);
    let documents = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let documents: Vec<_> = documents.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect();
    assert!(documents.len() > 7, "{documents:?}");
    documents
}

fn entries(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

/// The anchors that a Markdown renderer makes of a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings =
        text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == ' ';
    let anchor = |heading: &str| heading.to_lowercase().chars().filter(|&c| kept(c)).collect::<String>();
    headings.map(|heading| anchor(heading).replace(' ', "-")).collect()
}

/// Why a link in the document `from` leads nowhere.
fn broken(from: &str, link: &str) -> Option<String> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = match path {
        "" => root().join(from),
        _ => root().join(from).parent().unwrap().join(path),
    };
    if !target.exists() {
        return Some(format!("{from}: no file {path}"));
    }
    let anchor = anchor?;
    let text = fs::read_to_string(target).unwrap();
    (!anchors(&text).contains(anchor)).then(|| format!("{from}: no heading {link}"))
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut found = 0;
    let mut wrong = Vec::new();
    for (from, text) in &documents() {
        let links = text.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0);
        for link in links.filter(|link| !link.starts_with("https://")) {
            found += 1;
            wrong.extend(broken(from, link));
        }
    }
    assert!(found > 20, "{found} links");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(broken("README.md", "contrib/gateway/README.md#no-such-heading").is_some());
    assert!(broken("contrib/gateway/README.md", "README.md#run-it").is_none());
    assert!(broken("contrib/gateway/README.md", "../no-such-file").is_some());
}

#[test]
fn paths_in_the_documents_exist() {
    // cargo-fuzz makes these folders.
    const MADE: [&str; 2] = ["contrib/fuzz/corpus/", "contrib/fuzz/artifacts"];
    let mut found = 0;
    let mut wrong = Vec::new();
    for (from, text) in &documents() {
        let words = text.split(|c: char| c.is_whitespace() || "`()[],;:|\"".contains(c));
        let folders = [".ci/", "benches/", "contrib/", "examples/", "src/", "tests/"];
        for path in words.filter(|word| folders.iter().any(|folder| word.starts_with(folder)) && !word.contains('{')) {
            found += 1;
            // A path may also be relative to its document.
            let path = path.trim_end_matches('.').split('#').next().unwrap();
            let made = MADE.iter().any(|folder| path.starts_with(folder));
            if !made && !root().join(path).exists() && !root().join(from).parent().unwrap().join(path).exists() {
                wrong.push(format!("{from}: {path}"));
            }
        }
    }
    assert!(found > 40, "{found} paths");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
