//! README.md, held against what the programs say of themselves.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use crate::support::gateway::{Gateway, inventory};
use crate::support::home::Home;
use crate::support::run::Run;
use crate::support::tools::{CLI, tool};

const README: &str = include_str!("../../README.md");
/// Options in it that are other programs': cargo's, and the benchmarks'.
const FOREIGN: [&str; 7] = ["--bin", "--locked", "--no-default-features", "--no-deps", "--open", "--path", "--quick"];

/// The cells of the table that begins with this line, a row each.
fn table(header: &str) -> Vec<Vec<&'static str>> {
    let (_, rest) = README.split_once(&format!("\n{header}\n")).unwrap_or_else(|| panic!("there is no table {header}"));
    let rows = rest.lines().skip(1).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "the table {header} is empty");
    rows
}

/// What stands between backquotes.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A value that this setting may have and hasn't by default.
fn other_value(setting: &str) -> &'static str {
    match setting {
        "port" | "ssh_proxy_port" => "4242",
        "gateway_admin" => "http://gpu-head:4242",
        "log_file" => "/gpu-head.log",
        _ => "gpu-head",
    }
}

#[test]
fn its_settings_are_those_there_are() {
    let home = Home::new();
    let show = |run: Run| run.args(["config", "show"]).output().succeeds().text();
    let plain = show(Run::new(CLI, &home));
    let shown: Vec<_> = plain.lines().skip(1).take_while(|line| !line.is_empty()).collect();
    let rows = table("| setting | environment | config.json | default |");
    assert_eq!(rows.len(), shown.len(), "{plain}");
    for (row, line) in rows.into_iter().zip(shown) {
        let [_, environment, file, default] = row[..] else { panic!("a row of {} cells: {row:?}", row.len()) };
        let setting = line.split_whitespace().next().unwrap();
        assert!(code(file).next().is_none_or(|key| key == setting), "{row:?} stands where {line} does");
        let value = other_value(setting);
        let comes_from = |text: String, source: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{setting} "))).unwrap_or_default();
            // Of the token there is only told that it is set.
            let told = if setting == "token" { "set" } else { value };
            let words: Vec<_> = line.split_whitespace().skip(1).collect();
            assert_eq!(words, [told, source], "{text}");
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
fn its_metrics_are_those_that_are_served() {
    let gateway = Gateway::with_inventory(&inventory(&[]));
    let url = format!("http://{}/metrics", gateway.admin);
    let page = Run::new(tool("curl"), &Home::new()).args(["-sS", "-m", "30", &url]).output().succeeds().text();
    let served = page.lines().filter_map(|line| line.strip_prefix("# TYPE kohakuriver_gateway_")?.split(' ').next());
    let rows = table("| name | what |");
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
    let (_, endings) = README.split_once("endings: ").unwrap();
    for ending in code(endings.lines().next().unwrap()) {
        assert!(page.contains(&format!("{{ending=\"{ending}\"}}")), "there is no ending {ending}");
    }
}

#[test]
fn its_options_are_options_of_these_programs() {
    let home = Home::new();
    Run::new(CLI, &home).args(["man", "--output", "man"]).output().succeeds();
    let mut known = BTreeSet::new();
    for section in ["man1", "man8"] {
        for page in fs::read_dir(home.join("man").join(section)).unwrap() {
            let page = fs::read_to_string(page.unwrap().path()).unwrap().replace("\\-", "-");
            // What is bold begins with the same letters as a word.
            let page = page.replace("\\fB", " ");
            known.extend(options(&page).map(str::to_owned));
        }
    }
    let named: BTreeSet<_> = options(README).collect();
    assert!(named.len() > 40, "{named:?}");
    let unknown: Vec<_> = named.iter().filter(|name| !known.contains(**name) && !FOREIGN.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are no options of ours");
    let gone: Vec<_> = FOREIGN.iter().filter(|name| !named.contains(*name)).collect();
    assert!(gone.is_empty(), "{gone:?} are not in it any more");
}

/// Each `--word` in a text.
fn options(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.map(|word| word.trim_end_matches('-')).filter(|word| {
        word.strip_prefix("--").is_some_and(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))
    })
}
