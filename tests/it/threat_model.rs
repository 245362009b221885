//! The table in SECURITY.md: each of its rows is shown by tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The words in backticks of the last column of each row.
fn named_tests(document: &str) -> Vec<(String, Vec<String>)> {
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attacker"));
    rows.map(|row| {
        let shown_by = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap();
        let names = shown_by.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (row.to_owned(), names)
    })
    .collect()
}

/// The files that may hold `module`: of the integration tests, or of the sources.
fn files(module: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [
        format!("tests/it/{module}.rs"),
        format!("tests/it/{module}/mod.rs"),
        format!("src/{module}.rs"),
        format!("src/{module}/mod.rs"),
        format!("src/{module}/tests.rs"),
    ];
    places.into_iter().map(|place| root.join(place)).filter(|path| path.is_file()).collect()
}

fn tests_of(module: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files(module) {
        let source = fs::read_to_string(file).unwrap();
        let mut is_test = false;
        for line in source.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && let Some((_, rest)) = line.split_once("fn ") {
                names.insert(rest.split(['(', '<']).next().unwrap().to_owned());
                is_test = false;
            }
        }
    }
    names
}

#[test]
fn every_row_is_shown_by_tests_that_exist() {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md")).unwrap();
    let rows = named_tests(&document);
    assert!(rows.len() >= 15, "the table is gone");
    for (row, names) in rows {
        assert!(!names.is_empty(), "no test is named: {row}");
        for name in names {
            let (module, test) = name.rsplit_once("::").unwrap_or_else(|| panic!("`{name}` names no module"));
            assert!(tests_of(module).contains(test), "there is no test `{name}`: {row}");
        }
    }
}
