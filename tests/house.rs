//! The rules of the house: which file may use which, and how large files' parts may be.
//!
//! The rules are tables here. A new top-level module, and a new room of the gateway or of the command, needs a line in
//! its table. Code for tests is free.

#![allow(clippy::unwrap_used)]

#[path = "house/tokens.rs"]
mod tokens;
#[path = "house/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use tokens::{end_of_group, is};
use tree::{Tree, module};

/// The floors of the crate, the highest first. A module uses modules of lower floors only. Modules of one floor don't
/// know each other, except on the last floor: the leaves, which have no circle of files.
const FLOORS: [&[&str]; 10] = [
    &["bin"],
    &["helper", "cli", "gateway"],
    &["names"],
    &["api", "ssh"],
    &["route"],
    &["dial"],
    &["relay", "handshake"],
    &["resume"],
    &["carrier"],
    &[
        "cache", "cluster", "failure", "hex", "lock", "refusal", "seconds", "secret", "settings", "status", "sys",
        "target", "terminal", "text", "tls", "tokens", "usage",
    ],
];

/// The rooms of the gateway, the highest first. A room uses lower rooms only.
const GATEWAY: [&str; 13] = [
    "audit_report",
    "cert",
    "admin",
    "life",
    "front",
    "roster",
    "api_proxy",
    "host_api",
    "carry",
    "decide",
    "watch",
    "limits",
    "words",
];
/// The files of the gateway that start it: they may use every room, and no room uses them.
const GATEWAY_START: [&str; 4] = ["mod", "arguments", "run", "serve"];
/// The files of the gateway that every room may use.
const GATEWAY_SHARED: [&str; 1] = ["http"];

/// The rooms of the command: the groups of its verbs.
const CLI: [&str; 7] = ["cluster", "vps", "ssh", "auth", "node", "config", "doctor"];
/// The folders that all rooms of the command share.
const CLI_SHARED: [&str; 5] = ["host", "files", "programs", "terminal", "manual"];
/// The files of the command that know all rooms.
const CLI_START: [&str; 2] = ["mod", "command_line"];

/// Crates for one operating system, or for one family of them.
const SYSTEM_CRATES: [&str; 5] = ["libc", "nix", "rustix", "signal_hook", "socket2"];
/// Modules of other crates for one system, as parts of a path.
const SYSTEM_MODULES: [&str; 3] = ["os", "unix", "windows"];
/// Other names that one system alone has.
const SYSTEM_NAMES: [&str; 6] =
    ["UnixDatagram", "UnixListener", "UnixStream", "process_group", "target_family", "target_os"];
/// The files of the gateway that need UNIX by their nature, each with the names that it may use. The gateway serves on
/// UNIX systems only.
const UNIX_FILES: [(&str, &[&str]); 5] = [
    ("gateway/life/hand_over.rs", &["os", "unix", "UnixStream"]),
    ("gateway/life/moving.rs", &["os", "unix", "UnixStream"]),
    ("gateway/life/orders.rs", &["unix"]),
    ("gateway/life/predecessor.rs", &["os", "unix", "UnixStream"]),
    ("gateway/roster/previous.rs", &["os", "unix", "UnixStream"]),
];

const MOST_FILES: usize = 25;
const MOST_LINES: usize = 80;
/// A comment that starts like this, right above a function, gives the reason why it is longer.
const REASON: &str = "// Long: ";

#[test]
fn files_have_no_circle() {
    assert_none("circles of files", &circles(house()));
}

#[test]
fn a_module_uses_lower_floors_only() {
    assert_none("uses of a higher or of the same floor", &wrong_floors(house()));
}

#[test]
fn a_room_of_the_gateway_uses_lower_rooms_only() {
    assert_none("uses of a higher room", &wrong_gateway_rooms(house()));
}

#[test]
fn shared_files_of_the_command_know_no_room() {
    assert_none("uses of a room by shared files", &wrong_cli_rooms(house()));
}

#[test]
fn what_belongs_to_one_system_is_in_sys() {
    assert_none("names of one operating system outside of sys", &names_of_systems(house()));
}

#[test]
fn no_folder_is_too_full() {
    assert_none("folders with too many files", &full_folders(sources()));
}

#[test]
fn no_function_is_too_long_without_a_reason() {
    assert_none("long functions", &long_functions(sources(), house()));
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// The text of every file in `src`, by its path below that.
fn sources() -> &'static BTreeMap<String, String> {
    static SOURCES: LazyLock<BTreeMap<String, String>> = LazyLock::new(read_sources);
    &SOURCES
}

fn read_sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                sources.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(sources.len() > 100, "only {} files are found", sources.len());
    sources
}

fn house() -> &'static Tree {
    static HOUSE: LazyLock<Tree> = LazyLock::new(|| Tree::new(sources()));
    let edges: usize = HOUSE.edges().values().map(BTreeSet::len).sum();
    assert!(edges > 300, "only {edges} uses are found");
    &HOUSE
}

/// Each group of files that use each other, with the uses inside the group.
fn circles(tree: &Tree) -> Vec<String> {
    let edges = tree.edges();
    let reached: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|&file| (file, reachable(&edges, file))).collect();
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for &file in edges.keys().filter(|file| reached[*file].contains(*file)) {
        if seen.contains(file) {
            continue;
        }
        let group: BTreeSet<&str> =
            reached[file].iter().copied().filter(|other| reached[other].contains(file)).collect();
        let inside = |file: &&str| -> Vec<&str> { edges[file].intersection(&group).copied().collect() };
        let uses: Vec<_> = group.iter().map(|file| format!("  {file} -> {}", inside(file).join(", "))).collect();
        found.push(uses.join("\n"));
        seen.extend(group);
    }
    found
}

/// Every file that `from` uses, directly or through others.
fn reachable<'t>(edges: &BTreeMap<&'t str, BTreeSet<&'t str>>, from: &'t str) -> BTreeSet<&'t str> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        next.extend(edges[file].iter().copied().filter(|file| reached.insert(*file)));
    }
    reached
}

fn every_use(tree: &Tree, is_wrong: impl Fn(&[String], &[String]) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (file, uses) in tree.edges() {
        let wrong = uses.into_iter().filter(|used| is_wrong(&module(file), &module(used)));
        found.extend(wrong.map(|used| format!("  {file} -> {used}")));
    }
    found
}

fn wrong_floors(tree: &Tree) -> Vec<String> {
    let floor = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    let unknown = tree.files.keys().filter(|file| *file != "lib.rs" && floor(&module(file)[0]).is_none());
    let mut found: Vec<_> = unknown.map(|file| format!("  {file} is on no floor")).collect();
    found.extend(every_use(tree, |from, to| {
        let (Some(from), Some(to)) = (from.first(), to.first()) else { return true };
        let is_leaf = floor(to) == Some(FLOORS.len() - 1);
        from != to && floor(from) >= floor(to) && !is_leaf
    }));
    found
}

fn wrong_gateway_rooms(tree: &Tree) -> Vec<String> {
    let room = |path: &[String]| match path {
        [gateway] if gateway == "gateway" => Some("mod".to_owned()),
        [gateway, room, ..] if gateway == "gateway" => Some(room.clone()),
        _ => None,
    };
    let rank = |room: &str| GATEWAY.iter().position(|other| *other == room);
    let start = |room: &str| GATEWAY_START.contains(&room);
    let shared = |room: &str| GATEWAY_SHARED.contains(&room);
    let rooms = tree.files.keys().filter_map(|file| room(&module(file)));
    let rooms: BTreeSet<_> = rooms.filter(|name| !start(name) && !shared(name) && rank(name).is_none()).collect();
    let mut found: Vec<_> = rooms.iter().map(|room| format!("  {room} has no place")).collect();
    found.extend(every_use(tree, |from, to| match (room(from), room(to)) {
        (Some(from), Some(to)) if from == to || start(&from) => false,
        (Some(from), Some(to)) if shared(&to) => shared(&from),
        (Some(from), Some(to)) => start(&to) || shared(&from) || rank(&from) >= rank(&to),
        _ => false,
    }));
    found
}

fn wrong_cli_rooms(tree: &Tree) -> Vec<String> {
    let is_room = |path: &[String]| matches!(path, [cli, room, ..] if cli == "cli" && CLI.contains(&room.as_str()));
    let is_start = |path: &[String]| match path {
        [_] => true,
        [_, name, ..] => CLI_START.contains(&name.as_str()),
        [] => false,
    };
    let folders = tree.files.keys().filter_map(|file| match file.split('/').collect::<Vec<_>>()[..] {
        ["cli", folder, _, ..] => Some(folder),
        _ => None,
    });
    let has_place = |folder: &str| CLI.contains(&folder) || CLI_SHARED.contains(&folder);
    let folders: BTreeSet<_> = folders.filter(|folder| !has_place(folder)).collect();
    let mut found: Vec<_> = folders.iter().map(|folder| format!("  {folder} has no place")).collect();
    found.extend(every_use(tree, |from, to| {
        from[0] == "cli" && to[0] == "cli" && !is_start(from) && (is_start(to) || (!is_room(from) && is_room(to)))
    }));
    found
}

fn names_of_systems(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (file, tokens) in tree.files.iter().filter(|(file, _)| !file.starts_with("sys/")) {
        let allowed = UNIX_FILES.iter().find(|(other, _)| other == file).map_or(&[][..], |(_, names)| *names);
        let mut end_of_condition = 0;
        for (index, token) in tokens.iter().enumerate() {
            let open = index + 1 + usize::from(is(tokens, index + 1, &["!"]));
            if ["cfg", "cfg_attr"].contains(&token.text.as_str()) && is(tokens, open, &["("]) {
                end_of_condition = end_of_group(tokens, open);
            }
            let name = token.text.as_str();
            let is_module = is(tokens, index + 1, &["::"]) || index < end_of_condition;
            let is_of_a_system = SYSTEM_CRATES.contains(&name)
                || SYSTEM_NAMES.contains(&name)
                || SYSTEM_MODULES.contains(&name) && is_module;
            if is_of_a_system && !allowed.contains(&name) {
                found.push(format!("  {file}:{} names {name}", token.line));
            }
        }
    }
    found
}

fn full_folders(sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for file in sources.keys() {
        *counts.entry(file.rsplit_once('/').map_or("", |(folder, _)| folder)).or_default() += 1;
    }
    let full = counts.into_iter().filter(|(_, count)| *count > MOST_FILES);
    full.map(|(folder, count)| format!("  src/{folder} has {count} files")).collect()
}

fn long_functions(sources: &BTreeMap<String, String>, tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (file, tokens) in &tree.files {
        let lines: Vec<&str> = sources[file].lines().collect();
        for index in (0..tokens.len()).filter(|&index| is(tokens, index, &["fn"])) {
            let body = (index..tokens.len()).find(|&at| matches!(tokens[at].text.as_str(), "{" | ";"));
            let Some(body) = body.filter(|&body| tokens[body].text == "{") else { continue };
            let (first, last) = (tokens[index].line, tokens[end_of_group(tokens, body) - 1].line);
            let above = lines[..first - 1].iter().rev().map(|line| line.trim());
            let mut above = above.take_while(|line| line.starts_with("//") || line.starts_with("#["));
            if last - first + 1 > MOST_LINES && !above.any(|line| line.starts_with(REASON)) {
                found.push(format!("  {file}:{first} has {} lines", last - first + 1));
            }
        }
    }
    found
}

/// Each rule must be able to fail. These are houses that break one rule each.
mod broken_houses {
    use super::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(file, source)| ((*file).to_owned(), (*source).to_owned())).collect()
    }

    fn tree(sources: &[(&str, &str)]) -> Tree {
        Tree::new(&files(sources))
    }

    #[test]
    fn every_way_to_use_a_file_can_close_a_circle() {
        for (a, b) in [
            ("use crate::text::B;", "use crate::target::A;"),
            ("use crate::{text::{B, C as D}, failure};", "fn f() -> crate::target::A {}"),
            ("use super::text; fn f() { text::f() }", "pub(crate) use crate::target::{self}; fn g() { target::f() }"),
            (
                "const A: &str = \"*/\"; /* /* */ \" */ const C: char = '\"'; use crate::text::*;",
                "use super::target::*;",
            ),
            ("fn f<'a>(x: &'a str) { super::text::f::<u8>(x) }", "impl crate::target::A for B {}"),
        ] {
            let house = tree(&[("lib.rs", "mod target; mod text;"), ("target.rs", a), ("text.rs", b)]);
            assert_eq!(circles(&house), ["  target.rs -> text.rs\n  text.rs -> target.rs"], "{a} {b}");
        }
    }

    #[test]
    fn a_circle_through_re_exports_is_found_and_a_re_export_alone_is_none() {
        let lib = ("lib.rs", "pub mod sys;");
        let room = ("sys/mod.rs", "mod a; mod b; pub(crate) use a::A; pub use b::B;");
        let uses = [lib, room, ("sys/a.rs", "use super::B;"), ("sys/b.rs", "use crate::sys::A;")];
        assert_eq!(circles(&tree(&uses)), ["  sys/a.rs -> sys/b.rs\n  sys/b.rs -> sys/a.rs"]);
        let uses = [lib, room, ("sys/a.rs", "use super::B;"), ("sys/b.rs", "")];
        assert!(circles(&tree(&uses)).is_empty());
        // A parent that uses its child, which uses what the parent defines.
        let room = ("sys/mod.rs", "mod a; use a::A; struct C(A);");
        let uses = [lib, room, ("sys/a.rs", "struct A(super::C);")];
        let circle = ["  sys/a.rs -> sys/mod.rs\n  sys/mod.rs -> sys/a.rs"];
        assert_eq!(circles(&tree(&uses)), circle);
        // The same, where the parent also re-exports what it uses.
        let room = ("sys/mod.rs", "mod a; pub(crate) use a::A; struct C(A);");
        assert_eq!(circles(&tree(&[lib, room, ("sys/a.rs", "struct A(super::C);")])), circle);
        // A name with two meanings.
        let room = ("sys/mod.rs", "mod a; fn f() { use a::A; } fn g() { use std::A; } struct C;");
        assert_eq!(circles(&tree(&[lib, room, ("sys/a.rs", "struct A(super::C);")])), circle);
    }

    #[test]
    fn a_circle_through_re_exports_of_all_names_is_found() {
        for (a, b) in [("use super::B;", "use crate::sys::A;"), ("fn f() { super::B::f() }", "use super::super::A;")] {
            let uses = [
                ("lib.rs", "mod sys;"),
                ("sys/mod.rs", "mod unix; mod windows; pub use unix::*; pub use windows::*;"),
                ("sys/unix/mod.rs", "mod a; mod b; pub use a::*; pub use b::*;"),
                ("sys/windows/mod.rs", "pub struct A; pub struct B;"),
                ("sys/unix/a.rs", &format!("use crate::sys::B; pub struct A; {a}")),
                ("sys/unix/b.rs", &format!("pub enum B {{}} {b}")),
            ];
            let circle = "  sys/unix/a.rs -> sys/unix/b.rs\n  sys/unix/b.rs -> sys/unix/a.rs";
            assert_eq!(circles(&tree(&uses)), [circle], "{a} {b}");
        }
    }

    #[test]
    fn code_for_tests_is_free() {
        let house = tree(&[
            ("lib.rs", "mod target; mod text; #[cfg(test)] mod fake;"),
            ("target.rs", "use crate::text::B;"),
            (
                "text.rs",
                "#[cfg(test)] use crate::target::{A, B}; enum E { #[cfg(test)] A(crate::target::A), B }
                 fn f() { #[cfg(test)] assert!(crate::target::x()); } #[cfg(all(test, unix))] mod tests { use crate::target::A; }",
            ),
            ("fake.rs", "mod more;"),
            ("fake/more.rs", "use crate::target::A;"),
        ]);
        assert!(circles(&house).is_empty() && !house.files.contains_key("fake/more.rs"));
        assert_eq!(house.edges()["text.rs"], BTreeSet::new());
        assert_eq!(house.edges()["target.rs"], BTreeSet::from(["text.rs"]));
    }

    #[test]
    fn wrong_floors_are_found() {
        for (file, source, expected) in [
            ("helper.rs", "use crate::cli::A;", vec!["  helper.rs -> cli.rs"]),
            ("dial.rs", "use crate::cli::A;", vec!["  dial.rs -> cli.rs"]),
            ("text.rs", "use crate::dial::A;", vec!["  text.rs -> dial.rs"]),
            ("text.rs", "use crate::target::A;", vec![]),
            ("cli.rs", "use crate::dial::A;", vec![]),
            ("new.rs", "", vec!["  new.rs is on no floor"]),
        ] {
            let mut all = files(&[
                ("lib.rs", "mod helper; mod cli; mod dial; mod text; mod target; mod new;"),
                ("cli.rs", ""),
                ("dial.rs", ""),
                ("target.rs", ""),
            ]);
            all.insert(file.to_owned(), source.to_owned());
            assert_eq!(wrong_floors(&Tree::new(&all)), expected, "{file}: {source}");
        }
        let program = [("lib.rs", "mod cli;"), ("cli.rs", ""), ("bin/a.rs", "use kohakuriver_proxy::cli::A;")];
        assert!(wrong_floors(&tree(&program)).is_empty() && tree(&program).edges()["bin/a.rs"].contains("cli.rs"));
    }

    #[test]
    fn wrong_rooms_of_the_gateway_are_found() {
        for (file, source, expected) in [
            (
                "gateway/watch/a.rs",
                "use crate::gateway::front::b::B;",
                vec!["  gateway/watch/a.rs -> gateway/front/b.rs"],
            ),
            (
                "gateway/front/a.rs",
                "use crate::gateway::run;fn f() { run::f() }",
                vec!["  gateway/front/a.rs -> gateway/run.rs"],
            ),
            ("gateway/front/a.rs", "use crate::gateway::X;", vec!["  gateway/front/a.rs -> gateway/mod.rs"]),
            ("gateway/http.rs", "use crate::gateway::front::b::B;", vec!["  gateway/http.rs -> gateway/front/b.rs"]),
            ("gateway/new.rs", "", vec!["  new has no place"]),
            ("gateway/front/a.rs", "use super::b::B; use crate::gateway::http::f;", vec![]),
            ("gateway/run.rs", "use crate::gateway::front::b::B;", vec![]),
        ] {
            let mut all = files(&[
                ("lib.rs", "mod gateway;"),
                ("gateway/mod.rs", "mod front; mod watch; mod run; mod http; mod new;"),
                ("gateway/front/mod.rs", "mod a; mod b;"),
                ("gateway/front/b.rs", ""),
                ("gateway/watch/mod.rs", "mod a;"),
                ("gateway/run.rs", ""),
                ("gateway/http.rs", ""),
            ]);
            all.insert(file.to_owned(), source.to_owned());
            assert_eq!(wrong_gateway_rooms(&Tree::new(&all)), expected, "{file}: {source}");
        }
    }

    #[test]
    fn wrong_rooms_of_the_command_are_found() {
        for (file, source, expected) in [
            ("cli/table.rs", "use crate::cli::vps::A;", vec!["  cli/table.rs -> cli/vps/mod.rs"]),
            ("cli/table.rs", "use crate::cli::A;", vec!["  cli/table.rs -> cli/mod.rs"]),
            ("cli/vps/mod.rs", "use crate::cli::table::A;", vec![]),
            ("cli/new/mod.rs", "", vec!["  new has no place"]),
        ] {
            let mut all = files(&[
                ("lib.rs", "mod cli;"),
                ("cli/mod.rs", "mod table; mod vps; mod new; use vps::A;"),
                ("cli/vps/mod.rs", "pub struct A;"),
                ("cli/table.rs", ""),
            ]);
            all.insert(file.to_owned(), source.to_owned());
            assert_eq!(wrong_cli_rooms(&Tree::new(&all)), expected, "{file}: {source}");
        }
    }

    #[test]
    fn names_of_systems_are_found() {
        for (file, source, expected) in [
            ("text.rs", "use std::os::fd::AsFd;", vec!["os"]),
            ("text.rs", "use std::{io, os::unix::ffi::OsStrExt};", vec!["os", "unix"]),
            ("text.rs", "use rustix as system; fn f() { nix::f(); libc::f(); signal_hook::f() }", {
                vec!["rustix", "nix", "libc", "signal_hook"]
            }),
            ("text.rs", "use tokio::signal::unix::signal;", vec!["unix"]),
            (
                "text.rs",
                "use tokio::net::UnixStream; fn f() { c.process_group(0); }",
                vec!["UnixStream", "process_group"],
            ),
            ("text.rs", "#[cfg(unix)] fn f() {} #[cfg(not(any(windows, x)))] fn g() {}", vec!["unix", "windows"]),
            ("text.rs", "const A: bool = cfg!(target_os = \"linux\");", vec!["target_os"]),
            (
                "text.rs",
                "fn f() { bytes.windows(2); let os = 1; } #[cfg(all(test, unix))] mod tests { use std::os::fd; }",
                { vec![] },
            ),
            ("sys/unix.rs", "use std::os::fd::AsFd; use rustix::x;", vec![]),
            ("gateway/life/orders.rs", "use tokio::signal::unix; use rustix::x;", vec!["rustix"]),
        ] {
            let mut all = files(&[
                ("lib.rs", "mod text; mod sys; mod gateway;"),
                ("sys/mod.rs", "mod unix;"),
                ("gateway/mod.rs", "mod life;"),
                ("gateway/life/mod.rs", "mod orders;"),
            ]);
            all.insert(file.to_owned(), source.to_owned());
            let expected: Vec<_> = expected.iter().map(|name| format!("  {file}:1 names {name}")).collect();
            assert_eq!(names_of_systems(&Tree::new(&all)), expected, "{source}");
        }
    }

    #[test]
    fn full_folders_and_long_functions_are_found() {
        let names: Vec<_> = (0..=MOST_FILES).map(|n| format!("sys/f{n}.rs")).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        assert_eq!(full_folders(&files(&all)), ["  src/sys has 26 files"]);
        assert!(full_folders(&files(&all[1..])).is_empty());

        let function = |above: &str, lines: usize| format!("{above}fn f() {{\n{}}}\n", "f();\n".repeat(lines - 2));
        let long = |source: &str| {
            let all = files(&[("lib.rs", source)]);
            long_functions(&all, &Tree::new(&all))
        };
        assert!(long(&function("", MOST_LINES)).is_empty());
        assert_eq!(long(&function("", MOST_LINES + 1)), ["  lib.rs:1 has 81 lines"]);
        assert_eq!(long(&function("/// Doc.\n", MOST_LINES + 1)), ["  lib.rs:2 has 81 lines"]);
        assert!(long(&function("// Long: a table.\n/// Doc.\n#[inline]\n", MOST_LINES + 1)).is_empty());
        assert!(long(&function("#[cfg(test)]\n", MOST_LINES + 1)).is_empty());
    }
}
