//! Faults of the proxy on the way: in its URL, and in its answers. Each fault has a clear message, with the helper,
//! `kohakuriver vps list` and doctor.

use std::io::{Read, Write};

use serde_json::json;

use crate::support::certificates::NAME;
use crate::support::office::Office;
use crate::support::peers::{Peer, read_head};
use crate::support::run::{Outcome, Run};
use crate::support::scene::{ID, Mode};
use crate::support::tools::HELPER;

/// The end of each text has a password.
const URLS: [(&str, &str); 9] = [
    ("http://pro xy:3128/sekrit", "a blank or a control character"),
    ("http://alice:sekrit@proxy\u{1b}[2J:3128", "a blank or a control character"),
    ("http://alice:sek@rit@proxy:3128", "must be written as %XX: `%40` for @"),
    ("http://alice:sek/rit@proxy:3128", "`%2F` for /"),
    ("http://alice:sek#rit@proxy:3128", "`%23` for #"),
    ("http://alice:sekrit%0d%0aX:%20y@proxy:3128", "its user or password holds a control character"),
    ("http://alice:sekrit@proxy:99999", "it does not have the form "),
    ("http://alice:sekrit@$(id):3128", "it does not have the form "),
    ("socks4://alice:sekrit@proxy", "socks4:// proxies are not supported: name an http://, https://, socks5://"),
];

/// The helper, `vps list` and doctor, each with the exit status of wrong usage.
fn programs() -> [(&'static str, Vec<&'static str>, i32); 3] {
    [
        (HELPER, vec!["--no-disconnect", ID], 2),
        (crate::support::tools::CLI, vec!["vps", "list"], 2),
        (crate::support::tools::CLI, vec!["doctor", ID], 1),
    ]
}

fn says(outcome: &Outcome, status: i32, texts: &[&str]) {
    outcome.exits(status).within(20);
    // doctor reports on stdout, in lines of its own width.
    let said = format!("{}{}", outcome.stderr, outcome.text());
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in texts {
        outcome.check(said.contains(text), &format!("{text:?}"));
    }
    outcome.check(!said.contains("sek") && !said.contains('\u{1b}'), "neither a password nor a control character");
}

#[test]
fn urls_with_odd_characters() {
    let office = Office::new();
    for (url, why) in URLS {
        let of_file = office.home(NAME, &json!({ "upstream_proxy": url }));
        let empty = office.home(NAME, &json!({}));
        for (program, args, status) in programs() {
            let run = |home| Run::new(program, home).args(&args);
            says(&run(&of_file).output(), status, &["cannot use `upstream_proxy` in config.json", why]);
            says(&run(&empty).env("ALL_PROXY", url).output(), status, &["cannot use ALL_PROXY", why]);
            // A command line may hold no password, so its messages needn't be as careful.
            let outcome = Run::new(program, &empty).args(["--upstream-proxy", url]).args(&args).output();
            says(&outcome, 2, &["--upstream-proxy can't be used", why]);
        }
    }
}

/// The programs through a proxy that serves each connection like this.
fn answered(answer: impl Fn(std::net::TcpStream) -> std::io::Result<()> + Send + Sync + 'static, texts: &[&str]) {
    let office = Office::new();
    let proxy = Peer::serve(move |stream| Ok(answer(stream)?));
    let upstream = format!("http://alice:sekrit@{}", proxy.address);
    let home = office.home(NAME, &json!({ "upstream_proxy": upstream }));
    for (program, args, _) in programs() {
        says(&Run::new(program, &home).args(&args).output(), 1, texts);
    }
    for mode in Mode::BOTH {
        let outcome = office.ssh(&home, mode, &[]).output();
        outcome.exits(255).says(texts).check(!outcome.stderr.contains("sekrit"), "no password");
    }
    proxy.finish();
}

const PAGE: &str = "<html><title>Welcome to the hotel</title>";

#[test]
fn a_page_behind_a_yes() {
    let page = format!("it does not speak TLS; it answered `{PAGE}`");
    answered(
        |mut stream| {
            read_head(&mut stream)?;
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{PAGE}\n").as_bytes())?;
            // Until the client has gone.
            let _ = stream.read_to_end(&mut Vec::new());
            Ok(())
        },
        &[&page, "may have answered in its place", "the proxy may want a login on a web page"],
    );
}

#[test]
fn a_page_behind_a_yes_once_something_was_asked() {
    answered(
        |mut stream| {
            read_head(&mut stream)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            let mut hello = [0; 5];
            stream.read_exact(&mut hello)?;
            stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{PAGE}\n").as_bytes())?;
            let _ = stream.read_to_end(&mut Vec::new());
            Ok(())
        },
        &["it does not speak TLS; it answered `HTTP/1.1 200 OK`", "may have answered in its place", "web page"],
    );
}

#[test]
fn a_tls_alert_in_place_of_http() {
    answered(
        |mut stream| {
            stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40])?;
            let _ = stream.read_to_end(&mut Vec::new());
            Ok(())
        },
        &["is not an HTTP proxy", "it speaks TLS", "name it as https://"],
    );
}

#[test]
fn a_refusal_in_html_of_a_web_server() {
    answered(
        |mut stream| {
            read_head(&mut stream)?;
            let head = format!("HTTP/1.1 405 Not Allowed\r\nContent-Length: {}\r\n\r\n", PAGE.len());
            stream.write_all((head + PAGE).as_bytes())?;
            let _ = stream.read_to_end(&mut Vec::new());
            Ok(())
        },
        &["it answered 405 Not Allowed", "it says: Welcome to the hotel", "it may be a web server"],
    );
}
