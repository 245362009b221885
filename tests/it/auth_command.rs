//! `kohakuriver auth`: what is asked of the Host before anything is stored, and that nothing shows a token.

use std::fs;

use serde_json::{Value, json};

use crate::support::home::{Home, mode, set_mode};
use crate::support::life_host::{LifeHost, MADE, OPERATOR, PASSWORD, USER};
use crate::support::run::{DEADLINE, Outcome, Run};
use crate::support::tools::{CLI, sh_quote, tool};

const FILE: &str = ".kohakuriver/auth.json";

fn host() -> LifeHost {
    let host = LifeHost::start(22022);
    host.change(|state| state.auth = true);
    host
}

/// Nothing that was printed is a secret.
fn keeps_secrets(outcome: &Outcome) -> &Outcome {
    for secret in [OPERATOR, USER, MADE, PASSWORD] {
        outcome.check(!outcome.text().contains(secret) && !outcome.stderr.contains(secret), "no secret");
    }
    outcome
}

#[test]
fn a_token_is_stored_once_the_host_knows_it() {
    let (home, host) = (Home::new(), host());
    let login = |token: &str| host.run(&home, &["auth", "login", "--token-stdin"]).stdin(format!("{token}\n")).output();
    let outcome = login("wrong-token");
    outcome.exits(1).prints_nothing().fails_with("kohakuriver", "the Host does not know this token", "auth login");
    outcome.check(!outcome.stderr.contains("wrong-token"), "no token");
    assert!(!home.join(FILE).exists());

    let outcome = login(USER);
    keeps_secrets(&outcome).succeeds().prints_nothing().says(&["logged in to ", " as user1 (user); the token is in "]);
    assert_eq!(
        (home.json(FILE), mode(&home.join(FILE))),
        (json!({ "token": USER, "username": "user1", "role": "user" }), 0o600)
    );
    // The stored token works, and a failure keeps it.
    let status = host.run(&home, &["auth", "status"]).output();
    keeps_secrets(&status).succeeds().says_nothing().prints(&format!(
        "Host API    {}\nUser        user1\nRole        user\nToken from  {}\n",
        host.base(),
        home.join(FILE).display()
    ));
    for wrong in ["wrong-token", "", "two words", "\u{e4}"] {
        login(wrong).check_fails();
        assert_eq!(home.json(FILE)["token"], USER);
    }
    set_mode(&home.join(FILE), 0o644);
    login(OPERATOR).succeeds();
    assert_eq!((home.json(FILE)["username"].clone(), mode(&home.join(FILE))), (json!("operator1"), 0o600));
    // A file of another user is not written.
    fs::remove_file(home.join(FILE)).unwrap();
    fs::create_dir(home.join(FILE)).unwrap();
    login(OPERATOR).exits(1).fails_with(
        "kohakuriver",
        &format!("cannot store the token in {}", home.join(FILE).display()),
        "KOHAKURIVER_TOKEN",
    );
}

#[test]
fn a_password_makes_a_token_and_logout_revokes_it() {
    let (home, host) = (Home::new(), host());
    let login = |user: &str, password: &str| {
        let run = host.run(&home, &["auth", "login", "--user", user, "--password-stdin"]);
        run.stdin(format!("{password}\n")).output()
    };
    let outcome = login("operator1", "wrong");
    outcome.exits(1).prints_nothing().fails_with("kohakuriver", "cannot log in as operator1", "kohakuriver auth login");
    outcome.says(&["says: wrong user name or password\n"]);
    login("disabled1", PASSWORD).exits(1).says(&["says: Account is disabled\n"]);
    login("operator1", "").exits(2);
    assert!(!home.join(FILE).exists());

    keeps_secrets(&login("operator1", PASSWORD)).succeeds().says(&[" as operator1 (operator); the token is in "]);
    let file = home.json(FILE);
    assert_eq!((&file["token"], &file["token_id"], &file["role"]), (&json!(MADE), &json!(7), &json!("operator")));
    assert!(file["token_name"].as_str().unwrap().starts_with("kohakuriver on "), "{file}");
    assert_eq!(mode(&home.join(FILE)), 0o600);

    let outcome = host.run(&home, &["auth", "logout"]).output();
    keeps_secrets(&outcome).succeeds().says(&["logged out of "]);
    assert!(!home.join(FILE).exists());
    assert_eq!(host.change(|state| state.revoked.clone()), [MADE]);
    host.run(&home, &["auth", "logout"]).output().succeeds().says(&["there is no stored token"]);
    let outcome = host.run(&home, &["auth", "status"]).output();
    outcome.exits(1).fails_with("kohakuriver", "you are not logged in", "kohakuriver auth login");
    outcome.check(outcome.text().contains("User        none: not logged in\n"), "nobody");
}

#[test]
fn logout_without_a_host_and_with_a_broken_file() {
    let home = Home::new();
    home.write(FILE, json!({ "token": MADE, "token_id": 7 }).to_string());
    let logout = || Run::new(CLI, &home).args(["auth", "logout"]).env("KOHAKURIVER_PORT", "1").output();
    let outcome = logout();
    outcome.succeeds().says(&["warning: the token may still be valid on the Host\n", "logged out of "]);
    home.write(FILE, "{ broken");
    logout().succeeds().says(&["logged out of "]);
    assert!(!home.join(FILE).exists());
}

#[test]
fn a_token_that_has_to_be_revoked_stays_if_it_cannot_be() {
    let (home, host) = (Home::new(), host());
    let login = ["auth", "login", "--username", "operator1", "--password-stdin", "--token-name", "laptop"];
    host.run(&home, &login).stdin(format!("{PASSWORD}\n")).output().succeeds();
    assert_eq!(home.json(FILE)["token_name"], "laptop");
    // Another Host's token stays.
    Run::new(CLI, &home).args(["-P", "1", "auth", "logout", "--revoke"]).output().succeeds().says(&["not logged in"]);
    assert!(home.join(FILE).exists());
    let unreachable = Home::new();
    unreachable.write(FILE, home.json(FILE).to_string());
    let logout = Run::new(CLI, &unreachable).args(["auth", "logout", "--revoke"]).env("KOHAKURIVER_PORT", "1");
    let outcome = logout.output();
    assert!(unreachable.join(FILE).exists());
    outcome.exits(1).says(&["the token may still be valid on the Host\n", "the token is still stored"]);
    assert!(home.join(FILE).exists());
    host.run(&home, &["auth", "logout", "--revoke"]).output().succeeds().says(&["logged out of "]);
    assert_eq!(host.change(|state| state.revoked.clone()), [MADE]);
    assert!(!home.join(FILE).exists());
    // Without its number, the Host can't be asked to revoke it.
    home.write(FILE, json!({ "token": MADE }).to_string());
    let outcome = host.run(&home, &["auth", "logout", "-r"]).output();
    outcome.exits(1).fails_with("kohakuriver", "cannot revoke the token", "kohakuriver auth logout");
    assert!(home.join(FILE).exists());
    // Nor without the token itself.
    home.write(FILE, "{ broken");
    let outcome = host.run(&home, &["auth", "logout", "-r"]).output();
    outcome.exits(1).fails_with("kohakuriver", "cannot revoke the token", "kohakuriver auth logout");
    assert!(home.join(FILE).exists());
}

#[test]
fn no_secret_is_taken_from_the_command_line() {
    let (home, host) = (Home::new(), host());
    for (args, secret, hint) in [
        (&["--token", MADE][..], "token", "--token-stdin < FILE"),
        (&["-t", MADE], "token", "--token-stdin < FILE"),
        (&["--username", "operator1", "--password", PASSWORD], "password", "auth login --user USER"),
        (&["-u", "operator1", "-p", PASSWORD], "password", "auth login --user USER"),
    ] {
        let outcome = host.run(&home, &["auth", "login"]).args(args).output();
        let what = format!("a {secret} on the command line is not accepted");
        keeps_secrets(&outcome).exits(2).prints_nothing().fails_with("kohakuriver", &what, hint);
    }
    assert!(!home.join(FILE).exists());
}

#[test]
fn the_token_of_the_environment_wins_and_that_is_said() {
    let (home, host) = (Home::new(), host());
    let run = |args: &[&str]| host.run(&home, args).env("KOHAKURIVER_TOKEN", USER);
    let outcome = run(&["auth", "login", "--token-stdin"]).stdin(OPERATOR).output();
    outcome.succeeds().says(&[" as operator1 ", "warning: KOHAKURIVER_TOKEN is set and overrides the stored token"]);
    let value: Value = serde_json::from_slice(&run(&["auth", "status", "--json"]).output().succeeds().stdout).unwrap();
    assert_eq!(
        value,
        json!({ "host_api": host.base(), "users": true, "logged_in": true, "username": "user1", "role": "user",
                "token_source": "KOHAKURIVER_TOKEN" })
    );
    let wrong = host.run(&home, &["auth", "status"]).env("KOHAKURIVER_TOKEN", "unknown").output();
    wrong.exits(1).says(&["the Host does not accept the token from KOHAKURIVER_TOKEN\n"]);
    // Beside a Host, the token is for that one.
    let home = Home::new();
    let port = host.peer.address.port().to_string();
    let other = Run::new(CLI, &home).args(["-H", "127.0.0.1", "-P", &port, "auth", "status"]);
    let other = other.env("KOHAKURIVER_TOKEN", USER).env("KOHAKURIVER_HOST", "elsewhere");
    let hint =
        "KOHAKURIVER_TOKEN is for the Host that the environment names, not for this one; log in with `kohakuriver";
    other.output().exits(1).fails_with("kohakuriver", "you are not logged in", hint);
}

#[test]
fn a_host_without_users_wants_no_login() {
    let home = Home::new();
    let host = LifeHost::start(22022);
    let outcome = host.run(&home, &["auth", "login", "--token-stdin"]).stdin(USER).output();
    outcome.succeeds().says(&["has no users, so no login is needed\n"]);
    assert!(!home.join(FILE).exists());
    let outcome = host.run(&home, &["auth", "status"]).output();
    outcome.succeeds().check(outcome.text().contains("User        none: the Host has no users\n"), "everybody");
    let outcome = Run::new(CLI, &home).args(["-P", "1", "auth", "login"]).output();
    outcome.exits(1).fails_with("kohakuriver", "cannot log in", "kohakuriver config show");
}

#[test]
fn a_script_without_a_terminal_is_told_what_to_give() {
    let (home, host) = (Home::new(), host());
    host.run(&home, &["auth", "login"]).output().exits(2).says(&["no terminal to ask on", "--token-stdin"]);
    host.run(&home, &["auth", "login", "--password-stdin"]).output().exits(2).prints_nothing();
}

/// A token that can't be stored could not be used, or ever revoked.
#[test]
fn a_token_that_can_not_be_stored_is_revoked() {
    let (home, host) = (Home::new(), host());
    fs::create_dir_all(home.join(FILE)).unwrap();
    let login = host.run(&home, &["auth", "login", "--user", "operator1", "--password-stdin"]);
    let outcome = login.stdin(format!("{PASSWORD}\n")).output();
    let what = format!("cannot store the token in {}", home.join(FILE).display());
    keeps_secrets(&outcome).exits(1).fails_with("kohakuriver", &what, "kohakuriver auth login");
    outcome.says(&["` was revoked\n"]);
    assert_eq!(host.change(|state| state.revoked.clone()), [MADE]);
}

/// On a terminal, with everything that appears there.
#[test]
fn a_terminal_shows_the_name_and_not_what_is_secret() {
    let (home, host) = (Home::new(), host());
    let on_a_terminal = |typed: &str| {
        let command = format!("stty echo; {} auth login; echo status=$?; stty -a", sh_quote(CLI));
        let run = Run::new(tool("script"), &home).on_host(host.peer.address.port()).args([
            "-q",
            "-E",
            "never",
            "-c",
            &command,
            "/dev/null",
        ]);
        let mut process = run.stdin_open().start();
        for (number, line) in typed.split_inclusive('\n').enumerate() {
            // The terminal itself would show text that is typed before the question.
            let questions: &[&str] =
                if number == 0 { &["User name (empty to enter a token): "] } else { &["Password: ", "Token: "] };
            process.wait_for("a question", DEADLINE, |seen| {
                let text = String::from_utf8_lossy(&seen.stdout);
                questions.iter().any(|question| text.contains(question)).then_some(())
            });
            process.types(line);
        }
        let outcome = process.finish();
        let text = outcome.text();
        // The terminal is again as it was.
        outcome.check(text.contains("isig icanon iexten echo echoe"), "a sane terminal");
        keeps_secrets(&outcome);
        text
    };
    let text = on_a_terminal(&format!("operator1\n{PASSWORD}\n"));
    assert!(text.contains("logged in to ") && text.contains("status=0"), "{text}");
    assert_eq!(home.json(FILE)["token"], MADE);
    let text = on_a_terminal(&format!("\n{USER}\n"));
    assert!(text.contains(" as user1 (user)") && text.contains("status=0"), "{text}");
    // Ctrl-C in the middle.
    let text = on_a_terminal("operator1\nhalf\u{3}\n");
    assert!(text.contains("nothing was done") && text.contains("status=130"), "{text}");
    assert_eq!(home.json(FILE)["token"], USER);
}
