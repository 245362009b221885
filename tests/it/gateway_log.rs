//! The gateway's log: each line has a time and a level, in either format, and what its admin must know stands in it once.

use std::io::Read;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::support::chaos::{Chaos, Cut};
use crate::support::gateway::{Gateway, inventory, running, successor};
use crate::support::home::Home;
use crate::support::host_api::{OWNER, host_api};
use crate::support::peers::patient_echo_server;
use crate::support::run::{DEADLINE, Process, Run, log_line};
use crate::support::scene::ID;
use crate::support::tools::{GATEWAY, HELPER};
use crate::support::watched::{Watched, ask, audit, send};

/// Longer than the gateway takes to notice that its Host has gone or is back.
const SOON: Duration = Duration::from_secs(30);

/// The level and the message of each line, in this format; a line that is none fails the test.
#[track_caller]
fn lines(stderr: &str, format: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        if format == "text" {
            let (level, message) = log_line(line).unwrap_or_else(|| panic!("no time and no level: {line:?}\n{stderr}"));
            return (level.to_owned(), message.to_owned());
        }
        let json: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line:?}\n{stderr}"));
        let time = json["timestamp"].as_str().expect(line);
        assert!(humantime::parse_rfc3339(time).is_ok() && json["message"].is_string(), "{line}");
        (json["level"].as_str().expect(line).to_owned(), line.to_owned())
    };
    let lines: Vec<_> = stderr.lines().map(line).collect();
    assert!(!lines.is_empty() && stderr.ends_with('\n'));
    lines
}

/// Waits until the log has `text` so many times.
fn says(process: &Process, text: &str, times: usize) {
    process.wait_for(text, SOON, |seen| {
        let text_so_far = String::from_utf8_lossy(&seen.stderr).into_owned();
        (text_so_far.matches(text).count() >= times).then_some(())
    });
}

/// A gateway without its Host at the start, whose Host comes, goes while nobody asks, and comes again. Then a limit, a
/// reload of a bad file, a hand-over, and the end of a tunnel at the stop.
#[test]
fn every_line_has_a_time_and_a_level_and_a_host_goes_and_comes_once_each() {
    for format in ["text", "json"] {
        let (home, vps) = (Home::new(), patient_echo_server());
        let api = host_api(vec![running(ID, vps.address.port())]);
        let chaos = Chaos::before(api.address);
        let allowed = home.write("allowed", "127.0.0.0/8\n");
        let base = format!("http://{}", chaos.address);
        chaos.refuses(true);
        let options = ["--log-format", format, "--max-tunnels", "1", "--drain-timeout", "0", "--stale", "0"];
        let options = [&options[..], &["--allow-file", allowed.to_str().unwrap()]].concat();
        let gateway = Gateway::with_host_api_and(&base, &options);
        let (gone, back) =
            (format!("the Host API at {base} can't be used: "), format!("the Host API at {base} is back "));
        let request = format!("CONNECT {ID}:22 HTTP/1.1\r\nProxy-Authorization: Bearer {OWNER}\r\n\r\n");

        says(&gateway.process, &gone, 1);
        for _ in 0..20 {
            assert!(ask(&gateway, &request).starts_with("HTTP/1.1 502 "));
        }
        chaos.refuses(false);
        says(&gateway.process, &back, 1);
        chaos.refuses(true);
        chaos.cut(Cut::Reset);
        says(&gateway.process, &gone, 2);
        ask(&gateway, &request);
        chaos.refuses(false);
        says(&gateway.process, &back, 2);

        std::fs::write(&allowed, "lab\n").unwrap();
        gateway.process.signal(Signal::HUP);
        says(&gateway.process, "`lab` is not a network", 1);
        std::fs::write(&allowed, "127.0.0.0/8\n").unwrap();
        gateway.process.signal(Signal::USR2);
        let new = successor(&gateway.process, 1);
        let mut tunnel = send(&gateway, &request);
        tunnel.read_exact(&mut [0; 12]).unwrap();
        assert!(ask(&gateway, &request).starts_with("HTTP/1.1 503 "));
        kill_process(new, Signal::TERM).unwrap();
        let mut rest = Vec::new();
        // An end that the gateway makes is a reset, so that nobody takes it for one that the VPS makes.
        assert_eq!(tunnel.read_to_end(&mut rest).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        let outcome = gateway.process.finish();
        outcome.succeeds();

        let lines = lines(&outcome.stderr, format);
        let count = |level: &str, text: &str| {
            lines.iter().filter(|(at, message)| at == level && message.contains(text)).count()
        };
        for (level, text, times) in [
            ("WARN", gone.as_str(), 2),
            ("WARN", back.as_str(), 2),
            // Of both processes.
            ("INFO", "listening on 127.0.0.1:", 2),
            ("INFO", "admin on 127.0.0.1:", 2),
            ("WARN", "all tunnels are taken: new ones are refused", 1),
            ("WARN", "raise --max-tunnels above 1", 1),
            ("WARN", "the user owner1 has 1 of them", 1),
            ("ERROR", "`lab` is not a network", 1),
            ("INFO", "handed over to process ", 1),
            ("INFO", "stopping; waiting up to 0 s for 1 tunnel", 1),
            ("INFO", "stopped, with 1 tunnel still open", 1),
        ] {
            assert_eq!(count(level, text), times, "{level} {text}: {}", outcome.stderr);
        }
        assert_eq!(count("WARN", ""), 5, "{}", outcome.stderr);
        audit_says(&outcome.text(), "gateway-stopped");
    }
}

/// The last tunnel that was closed has this reason.
#[track_caller]
fn audit_says(stdout: &str, reason: &str) {
    let closed = stdout.lines().rev().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let reasons: Vec<_> = closed.filter(|line| line["event"] == "closed").map(|line| line["reason"].clone()).collect();
    assert_eq!(reasons.first(), Some(&json!(reason)), "{stdout}");
}

#[test]
fn a_start_that_fails_is_in_the_log() {
    let watched = Watched::new(&[]);
    let taken = watched.gateway.address.to_string();
    let home = Home::new();
    let inventory_file = home.write("inventory.json", inventory(&[]).to_string());
    let serve = ["--api-listen", "127.0.0.1:0", "--inventory", inventory_file.to_str().unwrap(), "--admin", "off"];
    let listens = |address: &str| [&serve[..], &["--listen", address]].concat().join(" ");
    let free = listens("127.0.0.1:0");
    for (arguments, status, what, formats) in [
        (listens(&taken), 1, format!("cannot listen on {taken}"), &["text", "json"][..]),
        (listens("192.0.2.1:0"), 1, "cannot listen on 192.0.2.1:0".to_owned(), &["text", "json"]),
        (format!("{free} --audit-log /no/folder/x"), 1, "cannot write the audit log".to_owned(), &["text", "json"]),
        (format!("{free} --allow-file missing"), 2, "missing".to_owned(), &["text", "json"]),
        ("--inventory missing.json".to_owned(), 2, "missing.json".to_owned(), &["text", "json"]),
        // A log as text begins once the command line is read.
        (format!("{free} --frobnicate"), 2, "unexpected argument '--frobnicate' found".to_owned(), &["json"]),
        ("--listen here".to_owned(), 2, "invalid value 'here' for '--listen <ADDR>'".to_owned(), &["json"]),
    ] {
        for format in formats {
            let run = Run::new(GATEWAY, &home).args(arguments.split(' ')).args(["--log-format", format]).deadline(20);
            let outcome = run.output();
            outcome.exits(status).prints_nothing();
            let lines = lines(&outcome.stderr, format);
            let (level, message) = lines.last().unwrap();
            assert!(level == "ERROR" && message.contains(&what), "{outcome}");
            let (cause, hint) = if *format == "text" { (" cause=\"", " hint=\"") } else { ("\"cause\":", "\"hint\":") };
            assert!(message.contains(hint) && (message.contains(cause) || what.starts_with("unexp")), "{outcome}");
        }
    }
}

/// The helper knows why where the tunnel can tell it; of a plain one it says what is known.
#[test]
fn a_drain_that_ends_tunnels_is_told_to_their_clients() {
    for (option, what, why) in [
        ("--resume", "the session with VPS ", "the gateway stops"),
        ("--no-resume", "the connection to VPS ", "a gateway resets a tunnel when it stops, "),
    ] {
        let vps = patient_echo_server();
        let gateway = Gateway::before_and(vps.address.port(), &["--drain-timeout", "1"]);
        let home = Home::new();
        let run = Run::new(HELPER, &home).args(["--proxy", &gateway.address.to_string(), option, ID]);
        let mut helper = run.stdin_open().start();
        helper.types("hello");
        helper.wait_for_all_of("hello");
        audit(&gateway, "opened", 1);
        gateway.process.signal(Signal::TERM);
        helper.wait_for("its end", DEADLINE, |seen| seen.has_ended().then_some(()));
        let outcome = helper.finish();
        outcome.exits(1).prints("hello").says(&[what, why, "hint: connect again"]);
        let gateway = gateway.process.finish();
        gateway.succeeds();
        audit_says(&gateway.text(), "gateway-stopped");
    }
}

/// The admin hears which limit it is, who fills it, and what helps; the user hears what helps a user.
#[test]
fn a_limit_of_one_user_names_its_option_and_the_user() {
    let vps = patient_echo_server();
    let api = host_api(vec![running(ID, vps.address.port())]);
    let base = format!("http://{}", api.address);
    let gateway = Gateway::with_host_api_and(&base, &["--max-tunnels-per-user", "1"]);
    let request = format!("CONNECT {ID}:22 HTTP/1.1\r\nProxy-Authorization: Bearer {OWNER}\r\n\r\n");
    let mut tunnel = send(&gateway, &request);
    tunnel.read_exact(&mut [0; 12]).unwrap();
    let home = Home::new();
    for _ in 0..3 {
        let run = Run::new(HELPER, &home).args(["--proxy", &gateway.address.to_string(), ID]);
        let refused = run.env("KOHAKURIVER_TOKEN", OWNER).output();
        refused.exits(1).fails_with("kohakuriver-proxy", "the gateway is at its limit", "`kohakuriver vps sessions`");
        refused.says(&["it carries no more than 1 tunnel for you at once"]);
    }
    gateway.process.signal(Signal::TERM);
    drop(tunnel);
    let outcome = gateway.process.finish();
    let warned =
        outcome.stderr.matches("the user owner1 has all tunnels that it may have: new ones are refused").count();
    outcome.succeeds().check(warned == 1, "one warning");
    let list = format!("`kohakuriver vps sessions --admin {}` lists them", gateway.admin);
    outcome.says(&["cause=\"--max-tunnels-per-user allows 1\"", "raise --max-tunnels-per-user above 1\"", &list]);
}
