//! `vps connect` without a VPS: a list to choose from, on a terminal.

use serde_json::json;

use crate::support::home::Home;
use crate::support::life_host::{LifeHost, USER, vps};
use crate::support::run::Run;
use crate::support::terminal::Terminal;
use crate::support::tools::{CLI, sh_quote, tool};

/// The keys of a terminal.
const DOWN: &str = "\x1b[B";
const ENTER: &str = "\r";
const ESCAPE: &str = "\x1b";
const CTRL_C: &str = "\x03";

fn host() -> LifeHost {
    let host = LifeHost::with(vps("running", "docker", 22022));
    host.change(|state| {
        state.auth = true;
        for (id, name, status, owner) in [
            ("43", "notebook", "paused", "user1"),
            ("44", "over", "stopped", "user1"),
            ("45", "a\u{1b}[2Jb", "paused", "user1"),
        ] {
            let mut vps = vps(status, "docker", 22023);
            (vps["task_id"], vps["name"], vps["owner_username"]) = (json!(id), json!(name), json!(owner));
            state.vpses.push(vps);
        }
    });
    host
}

/// `vps connect` on a terminal that shows its list.
fn list(home: &Home, host: &LifeHost) -> Terminal {
    let command = format!("stty cols 70 rows 24; exec {} vps connect", sh_quote(CLI));
    let run = Run::new(tool("script"), home)
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8")
        .env("KOHAKURIVER_TOKEN", USER)
        .on_host(host.peer.address.port())
        .args(["-q", "-e", "-E", "never", "-c", &command, "/dev/null"]);
    let mut terminal = Terminal::start(run);
    terminal.sees("Esc leaves");
    terminal.sees("\x1b[?25h");
    terminal
}

#[test]
fn arrow_keys_and_typing_choose() {
    let (home, host) = (Home::new(), host());
    // One's own VPSes come first, and those that have ended are not there.
    let mut terminal = list(&home, &host);
    terminal.types(&format!("{DOWN}{ENTER}"));
    let outcome = terminal.finish();
    outcome.exits(255).check(outcome.text().contains("kohakuriver: VPS 45 is paused"), "the second of one's own");
    outcome.check(!outcome.text().contains("over ") && !outcome.text().contains("\x1b[2J"), "no escapes");
    let mut terminal = list(&home, &host);
    terminal.types("NOTE");
    terminal.sees("NOTE");
    terminal.types(ENTER);
    let outcome = terminal.finish();
    outcome.exits(255).check(outcome.text().contains("kohakuriver: VPS 43 is paused"), "the one that was typed");
    // It is in every line, and in this one at the beginning.
    let mut terminal = list(&home, &host);
    terminal.types("A");
    terminal.sees("A");
    terminal.types(ENTER);
    let outcome = terminal.finish();
    outcome.exits(255).check(outcome.text().contains("kohakuriver: VPS 45 is paused"), "the name that begins so");
    let text = outcome.text();
    let (_, answer) = text.rsplit_once("Connect to which VPS? ").unwrap();
    let answer = answer.lines().next().unwrap_or_default();
    outcome.check(answer.contains('…'), "an answer that fits its line");
}

#[test]
fn leaving_connects_to_nothing() {
    let (home, host) = (Home::new(), host());
    for key in [ESCAPE, CTRL_C] {
        let mut terminal = list(&home, &host);
        terminal.types(key);
        let outcome = terminal.finish();
        outcome.exits(130).check(outcome.text().contains("kohakuriver: nothing was chosen"), "that nothing was chosen");
        // A cursor that was hidden is shown again.
        let last = |sequence| outcome.text().rfind(sequence);
        outcome.check(last("\x1b[?25l") <= last("\x1b[?25h"), "a cursor");
    }
}

#[test]
fn without_a_terminal_a_vps_has_to_be_named() {
    let (home, host) = (Home::new(), host());
    let outcome = host.run(&home, &["vps", "connect"]).output();
    outcome.exits(255).prints_nothing().says(&["kohakuriver: no VPS was named", "`kohakuriver vps list`"]);
}
