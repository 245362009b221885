//! `kohakuriver vps sessions`: what people and scripts read of a gateway's tunnels.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::support::gateway::{NODE, name_of};
use crate::support::home::Home;
use crate::support::peers::{RefusingPort, http_server};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{CLI, tool};
use crate::support::watched::{Watched, YES, connect, tunnel};

#[test]
fn who_is_connected_for_people_and_for_scripts() {
    let scene = Watched::new(&[]);
    scene.cli(&[]).output().succeeds().prints_nothing().check_stderr("no open sessions\n");
    scene.cli(&["--json"]).output().succeeds().prints("[]\n").says_nothing();
    let mut client = tunnel(&scene.gateway, &connect(&format!("{ID}:22")), YES);
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    let table = scene.cli(&[]).output();
    table.succeeds().says_nothing();
    let table = table.text();
    let words: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["ID", "USER", "VPS", "NAME", "SINCE", "UP", "DOWN", "NODE", "CLIENT"]);
    let address = client.local_addr().unwrap().to_string();
    let name = name_of(ID);
    assert_eq!((words[1][..4].to_vec(), words[1].len()), (vec!["1", "-", ID, &name], 11), "{table}");
    assert_eq!(words[1][5..], ["5", "B", "5", "B", NODE, &address]);
    let listed: Value = serde_json::from_str(&scene.cli(&["--json"]).output().text()).unwrap();
    let mut direct = scene.sessions();
    direct[0]["seconds"] = listed[0]["seconds"].clone();
    assert_eq!(listed, direct);

    // On a narrow terminal columns are left out, and no line is broken.
    let narrow = format!("stty cols 44 && {CLI} vps sessions");
    let run = Run::new(tool("script"), &scene.home).args(["-qec", &narrow, "/dev/null"]);
    let narrow = run.env("KOHAKURIVER_GATEWAY_ADMIN", scene.gateway.admin.to_string()).output();
    let lines: Vec<_> = narrow.text().lines().map(|line| line.trim_end().to_owned()).collect();
    let fit = lines.len() == 2 && lines[0].ends_with('…') && lines.iter().all(|line| line.chars().count() <= 44);
    narrow.succeeds().check(fit, "two lines of 44 columns at most");

    // Of one VPS: by its id, with no Host to ask, and by its name.
    scene.cli(&["42"]).output().succeeds().prints_nothing().check_stderr("no open sessions of VPS 42\n");
    let api = scene.gateway.api();
    let by_name = scene.cli(&["--json", &name_of(ID), "-H", "127.0.0.1", "-P", &api.port().to_string()]).output();
    assert_eq!(serde_json::from_str::<Value>(&by_name.text()).unwrap()[0]["id"], 1, "{by_name}");

    // Watched into a reader that has had enough: it ends by itself.
    let watched = format!("{CLI} vps sessions --watch 1 | head -n 7");
    let run = Run::new("sh", &scene.home).args(["-c", &watched]);
    let watched = run.env("KOHAKURIVER_GATEWAY_ADMIN", scene.gateway.admin.to_string()).output();
    watched.succeeds().within(30).says_nothing();
    assert!(watched.text().contains("UP/S") && watched.text().contains("B/s"), "{watched}");
    assert!(!watched.text().contains('\x1b'), "{watched}");

    scene.cli(&["--end", "9"]).output().exits(1).fails_with("kohakuriver", "cannot end session 9", "vps sessions");
    scene.cli(&["--end", "1"]).output().succeeds().prints_nothing().check_stderr("ended session 1\n");
    scene.awaits("tunnels_closed_total{ending=\"ended-by-admin\"}", 1.0);
}

#[test]
fn a_gateway_that_tells_nothing_from_here() {
    let (home, refusing) = (Home::new(), RefusingPort::new());
    let admin = format!("127.0.0.1:{}", refusing.port);
    let sessions = |args: &[&str]| Run::new(CLI, &home).args(["vps", "sessions"]).args(args).output();
    let outcome = sessions(&["-H", "gpu-head", "--admin", &admin]);
    let hint = "`ssh -NL 8003:localhost:8003 gpu-head`, then add `--admin localhost:8003`";
    outcome.exits(1).prints_nothing().fails_with("kohakuriver", "cannot list the sessions", hint);
    outcome.says(&[&format!("the gateway's admin address http://{admin} did not answer: Connection refused")]);
    sessions(&["--admin", &admin]).exits(1).says(&["systemctl status kohakuriver-gateway"]);
    sessions(&["--admin", "ftp://x"]).exits(2).says(&["write it as HOST[:PORT], http://HOST[:PORT] or unix:/PATH"]);
    home.write(".config/kohakuriver/config.json", json!({ "gateway_admin": admin }).to_string());
    sessions(&[]).exits(1).says(&[&admin]);
    let shown = Run::new(CLI, &home).args(["config", "show"]).output().text();
    let row = shown.lines().find(|line| line.starts_with("gateway_admin ")).expect(&shown);
    assert!(row.contains(&format!(" http://{admin} ")) && row.ends_with(" config.json"), "{row}");
    for body in ["<html>", "{}", "[{}]", r#"[{"id":1}]"#] {
        let server = http_server(move |_| (200, "application/json", body.to_owned()));
        let outcome = sessions(&["--admin", &server.address.to_string()]);
        outcome.exits(1).says(&["gave an unusable answer: it is not a list of sessions", "--admin"]);
        server.finish();
    }
}
