//! Mistakes of people, files and servers: each brings a clear message, in time, and an exit status other than zero.

use serde_json::json;

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::Home;
use crate::support::peers::{Peer, RefusingPort, http_server};
use crate::support::run::{Outcome, Run};
use crate::support::scene::{ID, Scene};
use crate::support::tools::{CLI, GATEWAY, HELPER};

/// Command lines that would do something if nothing else were wrong, each with its exit status for wrong usage.
fn programs() -> [(&'static str, Vec<&'static str>, i32); 3] {
    [
        (HELPER, vec!["--connect-timeout", "5", ID], 2),
        (CLI, vec!["vps", "connect", ID], 255),
        (CLI, vec!["vps", "list"], 2),
    ]
}

fn usage(outcome: &Outcome, texts: &[&str]) {
    outcome.exits(2).prints_nothing().within(10).says(texts);
}

#[test]
fn ids_that_are_none() {
    let scene = Scene::connect();
    let proxy = scene.proxy().address.to_string();
    for id in ["", "99999999999999999999", "9223372036854775808", "a b", "-x", "a/b", "42\n43", "$(id)'\"", "42:22"] {
        let outcome = Run::new(HELPER, &scene.home).args(["--proxy", &proxy, "--", id, "22"]).output();
        usage(&outcome, &["kohakuriver-proxy: "]);
    }
    // A Host takes any text as a name, and so does the command.
    for id in ["", " ", "99999999999999999999", "9223372036854775808", "-x", "42\n43", "a\x1b[2J"] {
        let outcome = Run::new(CLI, &scene.home).args(["vps", "connect", "--dry-run", "--", id]).output();
        outcome.exits(255).prints_nothing();
    }
}

#[test]
fn a_target_with_a_line_feed_can_not_smuggle_a_request() {
    let proxy = Peer::serve(|_| anyhow::bail!("something was sent"));
    let address = proxy.address.to_string();
    for target in ["42\nX: y", "42\r\nX: y", "example.org\r\nX: y", "42.kohakuriver\n", "1.2.3.4\r\n\r\n"] {
        let home = Home::new();
        let outcome = Run::new(HELPER, &home).args(["--proxy", &address, target, "22"]).output();
        usage(&outcome, &["kohakuriver-proxy: "]);
    }
    assert_eq!(proxy.accepted(), 0);
    proxy.finish();
}

#[test]
fn ports_that_a_vps_does_not_offer() {
    let home = Home::new();
    for port in ["80", "23", "65535"] {
        let outcome = Run::new(HELPER, &home).args([ID, port]).output();
        usage(&outcome, &[&format!("offers port 22 only, not port {port}"), "  hint: "]);
    }
    for port in ["0", "-1", "65536", "ssh"] {
        usage(&Run::new(HELPER, &home).args(["--", ID, port]).output(), &["PORT"]);
    }
}

#[test]
fn command_lines_that_make_no_sense() {
    let home = Home::new();
    for args in [&["--no-such-flag", ID][..], &[], &["--protocol", "gopher", ID], &["--connect-timeout", "0", ID]] {
        usage(&Run::new(HELPER, &home).args(args).output(), &[]);
    }
    for args in [&["vps", "list", "-L"][..], &["vps", "lst"], &["-P", "x", "vps", "list"]] {
        usage(&Run::new(CLI, &home).args(args).output(), &[]);
    }
    for args in [&["--listen", "nonsense"][..], &["--host-api", "ftp://x"], &["--no-such-flag"]] {
        usage(&Run::new(GATEWAY, &home).args(args).deadline(20).output(), &[]);
    }
}

#[test]
fn environments_that_make_no_sense() {
    let home = Home::new();
    for (name, value) in [
        ("KOHAKURIVER_PORT", "x"),
        ("KOHAKURIVER_PORT", "0"),
        ("KOHAKURIVER_SSH_PROXY_PORT", "70000"),
        ("KOHAKURIVER_HOST", "gpu-head:8000"),
        ("KOHAKURIVER_HOST", "ftp://gpu-head"),
        ("KOHAKURIVER_HOST", "gpu head"),
    ] {
        for (program, args, status) in programs() {
            let outcome = Run::new(program, &home).args(&args).env(name, value).output();
            outcome.exits(status).prints_nothing().within(10).says(&[name, value, "  hint: "]);
        }
    }
}

#[test]
fn broken_settings_files() {
    for (text, expected) in [
        ("{", "is not valid JSON"),
        ("[]", "one JSON object"),
        (r#"{"port":"8000"}"#, "a TCP port"),
        ("\u{0}\u{0}", "is not valid JSON"),
    ] {
        let home = Home::new();
        let path = home.write(".config/kohakuriver/config.json", text);
        for (program, args, status) in programs() {
            let outcome = Run::new(program, &home).args(&args).output();
            let texts = [&path.display().to_string(), expected, "  hint: "];
            outcome.exits(status).prints_nothing().within(10).says(&texts);
        }
    }
}

#[test]
fn broken_login_files() {
    let refusing = RefusingPort::new();
    for text in ["{", "[]", "7", r#"{"token":7}"#, r#"{"token":"a\nb"}"#] {
        let home = Home::new();
        home.write(".kohakuriver/auth.json", text);
        for (program, args, status) in programs() {
            let outcome = Run::new(program, &home).args(&args).on_host(refusing.port).through(refusing.port).output();
            let texts = ["cannot use the stored token", "auth.json", "kohakuriver auth login"];
            outcome.exits(status).prints_nothing().within(10).says(&texts);
        }
    }
}

#[test]
fn broken_inventories() {
    let vps = running(ID, 22);
    let mut number = vps.clone();
    number["task_id"] = json!(42);
    let mut port = vps.clone();
    port["ssh_port"] = json!(70000);
    for text in [
        "".to_owned(),
        "{".to_owned(),
        "[]".to_owned(),
        inventory(&[number]).to_string(),
        inventory(&[port]).to_string(),
        inventory(&[vps.clone(), vps]).to_string(),
    ] {
        let home = Home::new();
        let path = home.write("inventory.json", &text);
        let run = Run::new(GATEWAY, &home).args(["--listen", "127.0.0.1:0"]);
        let run = run.args(["--api-listen", "127.0.0.1:0", "--inventory"]).arg(&path).deadline(20);
        let outcome = run.output();
        outcome.check_fails().within(10);
        outcome.says(&[" ERROR cannot use the inventory ", &path.display().to_string(), " cause="]);
        outcome.check(!outcome.stderr.contains("listening on"), "an end before it listens");
    }
    let home = Home::new();
    let run = Run::new(GATEWAY, &home).args(["--listen", "127.0.0.1:0", "--inventory", "missing.json"]).deadline(20);
    run.output().check_fails().says(&["missing.json", " cause="]);
}

#[test]
fn an_address_that_is_taken() {
    let scene = Scene::connect();
    let home = Home::new();
    let taken = scene.proxy().address.to_string();
    let inventory = home.write("inventory.json", inventory(&[]).to_string());
    let run = Run::new(GATEWAY, &home).args(["--api-listen", "127.0.0.1:0", "--inventory"]);
    let outcome = run.arg(inventory).args(["--listen", &taken]).deadline(20).output();
    outcome.check_fails().within(10).says(&[" ERROR cannot listen on ", &taken, " cause="]);
}

#[test]
fn a_host_whose_answers_are_no_json() {
    for (status, kind, body) in [
        (200, "text/html", "<html>It works!</html>"),
        (200, "application/json", "{"),
        (200, "application/json", "null"),
        (200, "application/json", "{\"task_id\":7}"),
        (500, "text/plain", "Internal Server Error"),
        (200, "application/json", "\x1b[2J\x07"),
    ] {
        let api = http_server(move |_| (status, kind, body.to_owned()));
        let home = Home::new();
        for (args, status) in [
            (&["vps", "connect", ID][..], 255),
            (&["vps", "list"], 1),
            (&["vps", "status", ID], 1),
            (&["node", "list"], 1),
        ] {
            let outcome = Run::new(CLI, &home).args(args).on_host(api.address.port()).output();
            outcome.exits(status).prints_nothing().within(20);
            outcome.says(&["kohakuriver: ", "  caused by: ", &api.address.to_string()]);
            outcome
                .check(!outcome.stderr.contains('\x1b') && !outcome.stderr.contains('\x07'), "no control characters");
        }
    }
}

/// A server that takes a connection and then says nothing until the other side goes away.
fn hanging() -> Peer {
    Peer::serve(|mut stream| std::io::copy(&mut stream, &mut std::io::sink()).map(drop).or_else(|_| Ok(())))
}

#[test]
fn a_proxy_that_hangs() {
    let proxy = hanging();
    let address = proxy.address.to_string();
    for protocol in ["auto", "connect", "request-tunnel"] {
        let home = Home::new();
        let run = Run::new(HELPER, &home).args(["--connect-timeout", "1", "--protocol", protocol, "--proxy", &address]);
        let outcome = run.arg(ID).output();
        outcome.exits(1).prints_nothing().within(8);
        outcome
            .says(&[&format!("kohakuriver-proxy: the SSH proxy at {address} gave no answer within 1 s"), "  hint: "]);
    }
    // Silence is no sign of an older Host: it is not asked twice.
    assert_eq!(proxy.accepted(), 3);
    proxy.finish();
}

#[test]
fn a_host_that_hangs() {
    let api = hanging();
    let home = Home::new();
    let outcome = Run::new(CLI, &home).args(["vps", "connect", ID]).on_host(api.address.port()).output();
    outcome.exits(255).prints_nothing().within(30).says(&["kohakuriver: ", "  caused by: ", "  hint: "]);
    drop(api);
}

#[test]
fn a_host_that_hangs_behind_a_gateway() {
    let api = hanging();
    let home = Home::new();
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    let run = Run::new(HELPER, &home).args(["--proxy", &gateway.address.to_string(), ID]);
    let outcome = run.output();
    outcome.exits(1).prints_nothing().within(25);
    outcome.fails_with("kohakuriver-proxy", "the Host API gave no answer in time", "");
    drop((gateway, api));
}
