//! `kohakuriver config set` and `unset`, and files with settings that nobody knows.

use std::fs;

use serde_json::{Value, json};

use crate::support::home::{Home, mode};
use crate::support::run::{Outcome, Run};
use crate::support::tools::CLI;

const FILE: &str = ".config/kohakuriver/config.json";

fn config(home: &Home, args: &[&str]) -> Outcome {
    Run::new(CLI, home).arg("config").args(args).output()
}

#[test]
fn a_setting_is_changed_and_the_others_stay() {
    let home = Home::new();
    config(&home, &["set", "host", "gpu-head"]).succeeds().prints_nothing().says(&["set `host` in ", FILE]);
    assert_eq!(mode(&home.join(FILE)), 0o600);
    config(&home, &["set", "ssh_proxy_port", "9002"]).succeeds();
    assert_eq!(home.json(FILE), json!({ "host": "gpu-head", "ssh_proxy_port": 9002 }));
    let shown = config(&home, &["show", "--json"]);
    let shown: Value = serde_json::from_str(&shown.succeeds().text()).unwrap();
    assert_eq!(shown["host"], json!({ "value": "gpu-head", "source": "config.json" }));
    assert_eq!(shown["port"], json!({ "value": 8000, "source": "default" }));
    assert_eq!(shown["proxy"]["value"], Value::Null);

    // A link into a folder of dotfiles stays a link, and what this version doesn't know stays.
    home.write("dotfiles/config.json", r#"{ "host": "gpu-head", "colour": "red" }"#);
    fs::remove_file(home.join(FILE)).unwrap();
    std::os::unix::fs::symlink(home.join("dotfiles/config.json"), home.join(FILE)).unwrap();
    config(&home, &["set", "proxy", "door:8002"]).succeeds();
    assert!(home.join(FILE).is_symlink());
    assert_eq!(home.json(FILE), json!({ "host": "gpu-head", "colour": "red", "proxy": "door:8002" }));
    config(&home, &["unset", "colour"]).succeeds().says(&["removed `colour` from "]);
    config(&home, &["unset", "colour"]).succeeds().says(&["`colour` is not set in "]);
    for (typed, file) in [("~/k.log", home.join("k.log")), ("logs/k.log", home.join("logs/k.log"))] {
        config(&home, &["set", "log_file", typed]).succeeds();
        assert_eq!(home.json(FILE)["log_file"], file.display().to_string());
    }
    config(&home, &["unset", "log_file"]).succeeds();
    config(&home, &["unset", "host"]).succeeds();
    for value in ["auto", "on", "off"] {
        config(&home, &["set", "resume", value]).succeeds();
        let shown: Value = serde_json::from_str(&config(&home, &["show", "--json"]).succeeds().text()).unwrap();
        assert_eq!(shown["resume"], json!({ "value": value, "source": "config.json" }));
    }
    config(&home, &["unset", "resume"]).succeeds();
    assert_eq!(home.json(FILE), json!({ "proxy": "door:8002" }));
}

#[test]
fn no_value_that_programs_could_not_use_is_stored() {
    let home = Home::new();
    let before = r#"{"port":8001}"#;
    home.write(FILE, before);
    for (args, text) in [
        (&["set", "port", "70000"][..], "`port` must be a TCP port"),
        (&["set", "port", "x"], "`port` must be a TCP port"),
        (&["set", "resume", "maybe"], "`resume` must be `auto`, `on` or `off`"),
        (&["set", "host", ""], "`host` must be a string"),
        (&["set", "host", "gpu-head:8000"], "gpu-head:8000"),
        (&["set", "host", "ftp://gpu-head:8000"], "ftp://gpu-head:8000"),
        (&["set", "pinned_key", "sha1//x"], "sha1//x"),
        (&["set", "proxy", "door:0"], "door:0"),
        (&["set", "hots", "gpu-head"], "possible values: host, port"),
        (&["set", "token", "sekrit"], "possible values: host, port"),
    ] {
        let outcome = config(&home, args);
        outcome.exits(2).prints_nothing().says(&[text, "  hint: "]);
        outcome.check(!outcome.stderr.contains("sekrit"), "no token");
        assert_eq!(fs::read_to_string(home.join(FILE)).unwrap(), before, "{args:?}");
    }
    // A value of the right form corrects a wrong one.
    home.write(FILE, r#"{"port":"8001"}"#);
    config(&home, &["set", "port", "8001"]).succeeds();
    assert_eq!(home.json(FILE), json!({ "port": 8001 }));
    home.write(FILE, "{ broken");
    let outcome = config(&home, &["set", "port", "8001"]);
    outcome.exits(1).says(&["kohakuriver: cannot change ", "not one JSON object", "hint: correct it in an editor"]);
    assert_eq!(fs::read_to_string(home.join(FILE)).unwrap(), "{ broken");
}

#[test]
fn a_variable_that_overrides_the_file_is_said() {
    let home = Home::new();
    let run = Run::new(CLI, &home).env("KOHAKURIVER_HOST", "other").args(["config", "set", "host", "gpu-head"]);
    run.output().succeeds().says(&["warning: KOHAKURIVER_HOST is set and overrides it; `unset KOHAKURIVER_HOST`"]);
}

#[test]
fn a_port_that_overrides_that_of_the_url_is_said() {
    let home = Home::new();
    home.write(FILE, r#"{"port":8001}"#);
    let says = "warning: `port` is 8001, which overrides the port of the URL; `kohakuriver config unset port`";
    config(&home, &["set", "host", "https://gpu.example"]).succeeds().says(&[says]);
    for host in ["https://gpu.example:8001", "gpu-head"] {
        let outcome = config(&home, &["set", "host", host]);
        outcome.succeeds().check(!outcome.stderr.contains("warning"), "nothing is overridden");
    }
}

#[test]
fn a_setting_that_nobody_knows_warns_and_stops_nothing() {
    let home = Home::new();
    home.write(FILE, r#"{"hots":"gpu-head","port":8001}"#);
    let outcome = config(&home, &["show"]);
    outcome.succeeds().says(&["warning: config.json: unknown setting `hots`; did you mean `host`?\n"]);
    outcome.check(outcome.text().contains("8001"), "the other setting counts");
}

/// ssh runs this command at each login, with the Host in its flags.
#[test]
fn a_login_whose_ssh_config_names_the_host_does_not_need_the_file() {
    let home = Home::new();
    home.write(FILE, "{ broken");
    let host_key = ["ssh", "host-key", "--file", "known", "42.kohakuriver", "NONE", "NONE"];
    Run::new(CLI, &home)
        .args(["--host", "gpu-head", "--port", "8000"])
        .args(host_key)
        .output()
        .succeeds()
        .says_nothing();
    Run::new(CLI, &home).args(host_key).output().exits(2).says(&["cannot use the configuration file"]);
}
