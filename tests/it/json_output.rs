//! The output of `--json` goes to terminals, too, and holds words of others.

use serde_json::{Value, json};

use crate::support::gateway::running;
use crate::support::home::Home;
use crate::support::host_api::{OWNER, answer};
use crate::support::peers::http_server;
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::CLI;

/// Control characters of C0 and C1, DEL, and marks without a shape.
const ODD: &str = "a\u{1b}[2J\u{9b}2J\u{202e}b\u{7f}\u{200b}\u{e0041}c";

#[test]
fn no_json_has_a_character_that_moves_a_terminal() {
    let mut vps = running(ID, 22);
    for field in ["error_message", "owner_username", "docker_image_name"] {
        vps[field] = json!(ODD);
    }
    let server = http_server(move |asked| {
        let (mut status, mut body) = answer(std::slice::from_ref(&vps), asked);
        match asked.path.as_str() {
            "/api/auth/me" => body["username"] = json!(ODD),
            "/sessions?gateways" => {
                let session = json!({ "id": 1, "user": ODD, "client": ODD, "protocol": "connect", "task_id": ID,
                    "node": ODD, "opened": ODD, "seconds": 1, "bytes_up": 1, "bytes_down": 1, ODD: ODD });
                (status, body) = (200, json!([session]));
            }
            _ => {}
        }
        (status, "application/json", body.to_string())
    });
    let home = Home::new();
    for (command, shown) in [
        ("vps list --json", "[2J"),
        ("vps list --all --json", "[2J"),
        (&*format!("vps status {ID} --json"), "[2J"),
        ("vps list --json --watch 1 | head -n 1", "[2J"),
        ("auth status --json", "[2J"),
        ("node list --json", "node-up"),
        (&*format!("doctor {ID} --json"), "[2J"),
        // As the gateway sent it, with escapes.
        ("vps sessions --json", r"a\u001b[2J\u009b2J\u202eb\u007f\u200b\udb40\udc41c"),
        (&*format!("vps sessions {ID} --json --watch 1 | head -n 1"), r"\udb40\udc41c"),
    ] {
        let run = Run::new("sh", &home).arg("-c").arg(format!("exec {CLI} {command}"));
        let run = run.env("KOHAKURIVER_HOST", "127.0.0.1").env("KOHAKURIVER_TOKEN", OWNER);
        let run = run.env("KOHAKURIVER_GATEWAY_ADMIN", server.address.to_string());
        let outcome = run.env("KOHAKURIVER_PORT", server.address.port().to_string()).output();
        let text = outcome.text();
        outcome.check(text.contains(shown), shown);
        let moves = |c: char| c != '\n' && !c.is_ascii_graphic() && ODD.contains(c);
        outcome.check(!text.contains(moves), command);
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{command}: {error}: {outcome}"));
    }
}
