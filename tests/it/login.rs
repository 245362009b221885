//! Users that may reach a VPS of a Host with authentication, and where a user's token is sent.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::gateway::{Gateway, running};
use crate::support::home::Home;
use crate::support::host_api::{ASSIGNED, OWNER, STRANGER, host_api};
use crate::support::peers::{Peer, read_head};
use crate::support::run::{Outcome, Run};
use crate::support::scene::{ID, Mode, destination};
use crate::support::sshd::Sshd;
use crate::support::tools::{CLI, HELPER, sh_quote, user};

/// The helper as a ProxyCommand, without `--proxy`: the settings name the Host.
fn bare_helper(mode: Mode) -> String {
    format!("{}{} %h %p", sh_quote(HELPER).replace('%', "%%"), if mode == Mode::Fdpass { " --fdpass" } else { "" })
}

struct Cluster {
    sshd: Sshd,
    api: Peer,
    gateway: Gateway,
    home: Home,
}

impl Cluster {
    fn new() -> Self {
        let sshd = Sshd::start();
        let api = host_api(vec![running(ID, sshd.port)]);
        let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
        Self { sshd, api, gateway, home: Home::new() }
    }

    fn ssh(&self, token: Option<&str>, mode: Mode) -> Outcome {
        let run = self.sshd.ssh(&self.home, &bare_helper(mode), mode).arg(destination()).arg("echo in; exit 4");
        self.with_settings(run, token).output()
    }

    fn with_settings(&self, run: Run, token: Option<&str>) -> Run {
        let run = run.on_host(self.api.address.port()).through(self.gateway.address.port());
        token.into_iter().fold(run, |run, token| run.env("KOHAKURIVER_TOKEN", token))
    }

    fn connect(&self, token: Option<&str>) -> Outcome {
        self.sshd.copy_key_to(&self.home.join(&format!(".ssh/id-kohakuriver-{ID}")));
        let run = Run::new(CLI, &self.home).args(["vps", "connect", ID, "--user", user(), "--"]);
        self.with_settings(run.args(["-F", "none", "-o", "BatchMode=yes", "echo in; exit 4"]), token).output()
    }
}

fn tells_no_token(outcome: &Outcome) {
    let whole = outcome.to_string();
    // The program's environment is part of what a failure of a test prints, so only its output counts.
    let output = whole.split_once("\nstdout: ").unwrap().1;
    assert!(!output.contains("0123456789abcdef"), "a token was printed\n{whole}");
}

#[test]
fn the_owner_gets_in_and_so_does_an_assigned_user() {
    let cluster = Cluster::new();
    for token in [OWNER, ASSIGNED] {
        for mode in Mode::BOTH {
            cluster.ssh(Some(token), mode).exits(4).prints("in\n").says_nothing();
        }
        cluster.connect(Some(token)).exits(4).prints("in\n");
    }
}

#[test]
fn a_token_of_the_login_file_does_as_well() {
    let cluster = Cluster::new();
    cluster
        .home
        .write(".kohakuriver/auth.json", json!({ "token": OWNER, "username": "u", "role": "user" }).to_string());
    cluster.ssh(None, Mode::Stdio).exits(4).prints("in\n").says_nothing();
    cluster.connect(None).exits(4).prints("in\n");
}

#[test]
fn nobody_gets_in_without_a_login() {
    let cluster = Cluster::new();
    let what = format!("VPS {ID} needs a login");
    for token in [None, Some("0123456789abcdef-unknown")] {
        for mode in Mode::BOTH {
            let outcome = cluster.ssh(token, mode);
            outcome.ssh_fails_with(&what, "kohakuriver auth login");
            outcome.says(&["407 Proxy Authentication Required"]);
            tells_no_token(&outcome);
        }
        let outcome = cluster.connect(token);
        outcome.exits(255).prints_nothing().fails_with("kohakuriver", &what, "kohakuriver auth login");
        tells_no_token(&outcome);
    }
}

#[test]
fn a_stranger_does_not_get_in() {
    let cluster = Cluster::new();
    let what = format!("VPS {ID} is not yours to reach");
    let outcome = cluster.ssh(Some(STRANGER), Mode::Fdpass);
    outcome.ssh_fails_with(&what, "kohakuriver auth status");
    outcome.says(&["403 Forbidden"]);
    tells_no_token(&outcome);
    let outcome = cluster.connect(Some(STRANGER));
    outcome.exits(255).prints_nothing().fails_with("kohakuriver", &what, "kohakuriver auth status");
    tells_no_token(&outcome);
}

/// A proxy that refuses everything, and remembers what it was sent.
fn curious_proxy() -> (Peer, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    let proxy = Peer::serve(move |mut stream| {
        kept.lock().unwrap().push(read_head(&mut stream)?);
        stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")?;
        Ok(())
    });
    (proxy, heads)
}

#[test]
fn the_token_goes_out_for_a_vps_and_for_nothing_else() {
    let (proxy, heads) = curious_proxy();
    let port = proxy.address.port().to_string();
    let here = format!("127.0.0.1:{port}");
    let bearer = format!("Proxy-Authorization: Bearer {OWNER}\r\n");
    for (host, arguments, expected) in [
        ("127.0.0.1", vec![ID, "22"], true),
        ("127.0.0.1", vec!["--proxy", &here, ID, "22"], true),
        // The user named this gateway, and for a VPS.
        ("gpu-head.example", vec!["--proxy", &here, ID, "22"], true),
        // A target that is no VPS does not concern the Host.
        ("127.0.0.1", vec!["--proxy", &here, "example.org", "22"], false),
        ("127.0.0.1", vec!["example.org", "22"], false),
        ("127.0.0.1", vec!["10.0.0.1", "2222"], false),
    ] {
        let home = Home::new();
        let run = Run::new(HELPER, &home).env("KOHAKURIVER_HOST", host).env("KOHAKURIVER_SSH_PROXY_PORT", &port);
        let outcome = run.env("KOHAKURIVER_TOKEN", OWNER).args(&arguments).output();
        outcome.exits(1).prints_nothing().says(&["403 No"]);
        tells_no_token(&outcome);
        let head = heads.lock().unwrap().pop().unwrap();
        assert_eq!(head.contains(&bearer), expected, "{host} {arguments:?} sent\n{head}");
        assert!(expected || !head.contains(OWNER), "{host} {arguments:?} sent\n{head}");
    }
    proxy.finish();
}

/// `ps` shows every user of a machine the arguments of every program.
#[test]
fn no_program_that_connect_starts_has_the_token_in_its_arguments() {
    let cluster = Cluster::new();
    let run = Run::new(CLI, &cluster.home).args(["vps", "connect", ID, "--dry-run"]);
    let outcome = cluster.with_settings(run, Some(OWNER)).output();
    outcome.succeeds().check(!outcome.text().contains(OWNER), "no token in the command");
}
