//! No hint names a command that the Host refuses: for each role, each state of a VPS and each state of its Runner, the
//! command that a hint names is run by the user who reads it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, NODE, NODE_DOWN};
use crate::support::home::Home;
use crate::support::life_host::{ASSIGNED, LifeHost, OPERATOR, USER, VIEWER, vps};
use crate::support::run::Outcome;
use crate::support::scene::ID;
use crate::support::tunnels::users_request;
use crate::support::watched::ask;

/// Every state that a Host has, and one that it doesn't have yet.
const STATES: [&str; 13] = [
    "pending_approval",
    "rejected",
    "pending",
    "assigning",
    "running",
    "paused",
    "completed",
    "failed",
    "killed",
    "killed_oom",
    "lost",
    "stopped",
    "hibernating",
];

/// A reader of hints, with a Host and a gateway before it.
struct Reader {
    token: &'static str,
    host: LifeHost,
    gateway: Gateway,
}

impl Reader {
    fn new(token: &'static str) -> Self {
        let host = LifeHost::start(1);
        host.change(|state| {
            state.auth = true;
            state.course = ["assigning"].into();
        });
        let gateway = Gateway::with_host_api(&host.base());
        Self { token, host, gateway }
    }

    fn run(&self, line: &str) -> Outcome {
        let home = Home::new();
        let run = self.host.run(&home, &line.split(' ').collect::<Vec<_>>()).through(self.gateway.address.port());
        run.env("KOHAKURIVER_TOKEN", self.token).output()
    }

    /// Makes the VPS the only one of the Host. A restart of a virtual machine is done at once.
    fn set(&self, status: &str, node: &Value) {
        let mut vps = vps(status, "qemu", 1);
        vps["assigned_node"] = node.clone();
        vps["owner_username"] = "user1".into();
        vps["assignees"] = json!([{ "id": 3, "username": "user2", "display_name": null }]);
        self.host.change(|state| state.vpses = vec![vps]);
    }

    /// The title and the hint of `vps connect`. The gateway and `vps status` must say the same.
    fn told(&self) -> (String, String) {
        let outcome = self.run(&format!("vps connect {ID}"));
        outcome.exits(255).prints_nothing();
        let line = |prefix: &str| outcome.stderr.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned);
        let title = line("kohakuriver: ").unwrap();
        let hint = line("  hint: ").unwrap_or_else(|| panic!("no hint\n{outcome}"));
        let status = self.run(&format!("vps status {ID}"));
        status.succeeds();
        status.check(status.text().contains(&format!("\nConnect    not possible: {title}\n")), &title);
        status.check(status.text().contains(&format!("\nHint       {hint}\n")), &hint);
        if self.token != VIEWER {
            let answer = answer(self.gateway.address, self.token);
            assert_eq!((answer["title"].as_str(), answer["hint"].as_str()), (Some(&*title), Some(&*hint)), "{answer}");
        }
        (title, hint)
    }

    /// The Host must take the command in `hint`.
    fn follows(&self, hint: &str, case: &str) {
        let Some(command) = hint.split('`').nth(1).and_then(|command| command.strip_prefix("kohakuriver ")) else {
            return;
        };
        let more = match command.split(' ').nth(1) {
            Some("restart") => " --yes",
            // The gateway lets no viewer in.
            Some("connect") => {
                assert!(self.token != VIEWER, "{case}: {hint}");
                " --dry-run"
            }
            _ => "",
        };
        let outcome = self.run(&format!("{command}{more}"));
        outcome.check(outcome.status.success(), &format!("{case}: a Host that takes what the hint names"));
    }
}

/// The gateway's answer to a CONNECT.
fn answer(gateway: SocketAddr, token: &str) -> Value {
    let answer = ask(gateway, users_request(ID, token));
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn the_host_takes_each_command_that_a_hint_names() {
    std::thread::scope(|scope| {
        for token in [VIEWER, ASSIGNED, USER, OPERATOR] {
            scope.spawn(move || {
                let reader = Reader::new(token);
                for status in STATES {
                    for node in [json!(NODE), json!(NODE_DOWN), json!("nowhere"), Value::Null] {
                        // This one can be logged in to.
                        if status == "running" && node == NODE {
                            continue;
                        }
                        let case = format!("{token}, {status}, {node}");
                        reader.set(status, &node);
                        let (title, hint) = reader.told();
                        reader.follows(&hint, &case);
                        let has_gone =
                            node == NODE_DOWN && ["pending", "assigning", "running", "paused"].contains(&status);
                        assert_eq!(title.contains("is offline"), has_gone, "{case}: {title}");
                    }
                }
            });
        }
    });
}

/// Of a VPS that runs, `vps status` names the command of a login, unless the gateway would refuse it.
#[test]
fn a_viewer_is_not_sent_to_a_login() {
    for token in [VIEWER, ASSIGNED, USER, OPERATOR] {
        let reader = Reader::new(token);
        reader.set("running", &json!(NODE));
        let status = reader.run(&format!("vps status {ID}"));
        status.succeeds();
        let connect = format!("\nConnect    kohakuriver vps connect {ID}\n");
        status.check(status.text().contains(&connect) == (token != VIEWER), "the command for who may run it");
        let (title, hint) =
            ("not possible: VPS ID is not yours to reach", "Hint       ask an admin to make you a user");
        for text in [title.replace("ID", ID), hint.to_owned()] {
            status.check(status.text().contains(&text) == (token == VIEWER), &text);
        }
    }
}

#[test]
fn a_change_that_the_host_refuses_has_a_hint_that_helps() {
    for (token, line, status, node, hint) in [
        (OPERATOR, "restart ID --yes", "failed", Value::Null, "kohakuriver vps create --gen-ssh-key"),
        (OPERATOR, "restart ID --yes", "failed", json!(NODE_DOWN), "kohakuriver node list"),
        (OPERATOR, "restart ID --yes", "stopped", json!(NODE), "kohakuriver vps create --gen-ssh-key"),
        (USER, "restart ID --yes", "failed", json!(NODE), "ask an operator to restart VPS ID"),
        (USER, "stop ID --yes", "running", json!(NODE), "ask an operator to stop VPS ID"),
        (USER, "create", "running", json!(NODE), "ask an operator to create the VPS"),
        (VIEWER, "pause ID", "running", json!(NODE), "ask its owner or an operator to pause VPS ID"),
        (ASSIGNED, "pause ID", "running", json!(NODE), "ask its owner or an operator to pause VPS ID"),
        (ASSIGNED, "resume ID", "paused", json!(NODE), "ask its owner or an operator to resume VPS ID"),
        (USER, "pause ID", "paused", json!(NODE), "it is paused already"),
        (USER, "resume ID", "running", json!(NODE), "it runs already"),
        (USER, "pause ID", "failed", json!(NODE), "kohakuriver vps status ID"),
        (USER, "pause ID", "stopped", json!(NODE), "it has ended"),
        (USER, "pause ID", "assigning", json!(NODE), "kohakuriver vps connect ID --wait"),
    ] {
        let reader = Reader::new(token);
        reader.set(status, &node);
        let outcome = reader.run(&format!("vps {}", line.replace("ID", ID)));
        let (what, hint) = (format!("cannot {}", line.split(' ').next().unwrap()), hint.replace("ID", ID));
        outcome.exits(1).prints_nothing().says(&[&what, "says: ", &hint]);
        let said = outcome.stderr.lines().find_map(|line| line.strip_prefix("  hint: ")).unwrap();
        // The hint may name `auth status`, which everybody may call.
        reader.follows(said, line);
    }
}

/// Without a login, a Host tells which ids there are, and lists nothing.
#[test]
fn nobody_is_sent_to_a_list_that_needs_a_login() {
    let reader = Reader::new("");
    for (line, status) in [("vps connect 42", 255), ("vps status 42", 1), ("vps stop 42 --yes", 1)] {
        let outcome = reader.run(line);
        outcome.exits(status).fails_with("kohakuriver", "there is no VPS 42", "log in with `kohakuriver auth login`");
    }
    // A token in the environment wins over the one that a login stores.
    let reader = Reader::new("0123456789abcdef-revoked");
    reader.set("running", &json!(NODE));
    for (line, status) in [(&*format!("vps connect {ID}"), 255), ("vps list", 1), ("auth status", 1)] {
        reader
            .run(line)
            .exits(status)
            .says(&["  hint: correct KOHAKURIVER_TOKEN, or remove it with `unset KOHAKURIVER_TOKEN`"]);
    }
}
