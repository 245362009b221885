//! `contrib/test.sh quick`: the list of the tests that it leaves out.

use std::process::Command;

const SCRIPT: &str = include_str!("../../contrib/test.sh");

#[test]
fn each_name_on_the_list_is_that_of_a_test() {
    let (_, rest) = SCRIPT.split_once("\nslow=(\n").unwrap();
    let (list, _) = rest.split_once("\n)\n").unwrap();
    let tests = Command::new(std::env::current_exe().unwrap()).args(["--list", "--format", "terse"]).output().unwrap();
    let tests = String::from_utf8(tests.stdout).unwrap();
    assert!(list.lines().count() > 5, "{list}");
    for name in list.lines().map(str::trim) {
        assert!(tests.contains(name), "no test is called {name:?}");
    }
}
