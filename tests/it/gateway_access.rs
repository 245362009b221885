//! Users that may reach a VPS through the gateway, and addresses that it may dial: with authentication at the Host, and
//! without.

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::curl::curl;
use crate::support::gateway::{As, Gateway, inventory, name_of, running};
use crate::support::home::Home;
use crate::support::host_api::{ASSIGNED, OPERATOR, OWNER, STRANGER, VIEWER, answer, host_api};
use crate::support::older_host::{OlderHost, task};
use crate::support::peers::{GREETING, PEER_TIMEOUT, Peer, greeter, http_server};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{GATEWAY, HELPER};
use crate::support::watched::send;

/// Longer than the gateway remembers anything while its Host is there.
const REMEMBERED: Duration = Duration::from_secs(8);

fn target() -> String {
    format!("{ID}.kohakuriver:22")
}

fn bearer(token: &str) -> Option<String> {
    (!token.is_empty()).then(|| format!("Bearer {token}"))
}

fn connect(gateway: &Gateway, token: &str) -> u16 {
    curl(gateway.address, &target(), bearer(token).as_deref()).status
}

/// The answer to a request in the line protocol; a tunnel is closed again after its first bytes.
fn line(gateway: SocketAddr, id: &str) -> String {
    let mut stream = send(gateway, format!("REQUEST_TUNNEL {id}\n"));
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error}: {}", text.escape_ascii()));
        text.extend(byte);
    }
    String::from_utf8(text).unwrap()
}

/// A Host with authentication on, and a VPS behind it.
fn cluster() -> (Peer, Peer) {
    let vps_of_host = greeter();
    let api = host_api(vec![running(ID, vps_of_host.address.port())]);
    (vps_of_host, api)
}

fn base(api: &Peer) -> String {
    format!("http://{}", api.address)
}

#[test]
fn each_role_with_a_stock_client_and_with_our_helper() {
    As::each().for_each(each_role);
}

fn each_role(who: As) {
    let (_vps, api) = cluster();
    let gateway = Gateway::with_host_api_as(who, &base(&api), &[]);
    for (token, status, says) in [
        (OWNER, 200, ""),
        (ASSIGNED, 200, ""),
        (OPERATOR, 200, ""),
        (STRANGER, 403, "the Host shows a VPS to its owner, its assignees and operators only"),
        (VIEWER, 403, "the role `viewer` may look at VPSes, but log in to none"),
        ("0123456789abcdef-unknown", 407, "the Host wants a token"),
        ("", 407, "the Host wants a token"),
    ] {
        // Twice: what the gateway remembers says the same.
        for _ in 0..2 {
            assert_eq!(connect(&gateway, token), status, "{token}");
            // The Host shows the list of all VPSes to every user.
            let by_name = curl(gateway.address, &format!("{}.kohakuriver:22", name_of(ID)), bearer(token).as_deref());
            assert_eq!(by_name.status, status, "{token}: {}", by_name.head);
        }
        let home = Home::new();
        let helper = Run::new(HELPER, &home).arg("--proxy").arg(gateway.address.to_string()).args([ID, "22"]);
        let helper = if token.is_empty() { helper } else { helper.env("KOHAKURIVER_TOKEN", token) };
        let outcome = helper.output();
        if status == 200 {
            outcome.succeeds().prints(GREETING).says_nothing();
        } else {
            outcome.exits(1).prints_nothing().says(&[&format!(" answered {status} "), says, "  hint: "]);
        }
    }
    // The password of a stock client is the token.
    for (credentials, status) in [(OWNER, 200), (STRANGER, 403), ("unknown", 407)] {
        let home = Home::new();
        let run = Run::new(crate::support::tools::tool("curl"), &home);
        let run = run.args(["-sS", "--http0.9", "-m", "30", "-o", "body", "-w", "%{http_connect}", "-p", "-x"]);
        let run = run.arg(format!("http://me:{credentials}@{}", gateway.address));
        let outcome = run.arg(format!("http://{}/", target())).output();
        outcome.check(outcome.text() == status.to_string(), &status.to_string());
    }
}

#[test]
fn the_line_protocol_with_authentication_on() {
    let (_vps, api) = cluster();
    let home = Home::new();
    let token = home.write("token", format!("{OWNER}\n"));
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let token = token.to_str().unwrap();
    let login = format!("ERROR Task {ID} needs a login: connect with kohakuriver-proxy.\n");
    let off = "ERROR This gateway takes no REQUEST_TUNNEL: connect with kohakuriver-proxy.\n";
    for (options, expected, unknown) in [
        (&[][..], &*login, "ERROR Task 5 needs a login: connect with kohakuriver-proxy.\n"),
        (&["--line-protocol", "off"], off, off),
        (&["--line-protocol", "anonymous"], &*login, "ERROR Task 5 not found.\n"),
        (&["--line-protocol", "token-file", token], "SUCCESS\n", "ERROR Task 5 not found.\n"),
    ] {
        let gateway = Gateway::with_host_api_and(&base(&api), options);
        assert_eq!(line(gateway.address, ID), expected, "{options:?}");
        assert_eq!(line(gateway.address, "5"), unknown, "{options:?}");
        // CONNECT is none of its business.
        assert_eq!((connect(&gateway, ""), connect(&gateway, OWNER)), (407, 200), "{options:?}");
    }
    // Our helper tells its user what helps.
    let gateway = Gateway::with_host_api_and(&base(&api), &["--line-protocol", "off"]);
    let helper = Run::new(HELPER, &home).args(["--protocol", "request-tunnel", "--proxy"]);
    let outcome = helper.arg(gateway.address.to_string()).args([ID, "22"]).output();
    let what = "the gateway does not take the older line protocol";
    outcome.exits(1).prints_nothing().fails_with("kohakuriver-proxy", what, "leave `--protocol` out");
}

#[test]
fn the_token_of_the_line_protocol_is_read_again_and_never_shown() {
    let (_vps, api) = cluster();
    let home = Home::new();
    let path = home.write("token", format!("{OWNER}\n"));
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    let options = ["--line-protocol", "token-file", path.to_str().unwrap()];
    mode(0o644);
    let run = Run::new(GATEWAY, &home)
        .args(["--admin", "off", "--listen", "127.0.0.1:0", "--host-api", &base(&api)])
        .args(options);
    let outcome = run.output();
    let what = format!("cannot use the token in {}", path.display());
    outcome.exits(2).prints_nothing().logs_failure(&what, "chmod 600 ");
    mode(0o600);
    let gateway = Gateway::with_host_api_and(&base(&api), &options);
    assert_eq!(line(gateway.address, ID), "SUCCESS\n");
    std::fs::write(&path, STRANGER).unwrap();
    gateway.process.signal(Signal::HUP);
    gateway.process.stderr_line("the new rules are in force");
    assert_eq!(line(gateway.address, ID), format!("ERROR Task {ID} needs a login: connect with kohakuriver-proxy.\n"));
    std::fs::write(&path, "0123456789abcdef-unknown").unwrap();
    gateway.process.signal(Signal::HUP);
    let said = |seen: &crate::support::run::Seen, text: &str| {
        let stderr = String::from_utf8_lossy(&seen.stderr).into_owned();
        stderr.contains(text).then_some(stderr)
    };
    gateway.process.wait_for("the second reload", PEER_TIMEOUT, |seen| {
        said(seen, "new rules").filter(|stderr| stderr.matches("the new rules are in force").count() == 2)
    });
    for _ in 0..3 {
        assert!(line(gateway.address, ID).contains("needs a login"));
    }
    let stderr = gateway.process.wait_for("a word to the admin", PEER_TIMEOUT, |seen| said(seen, "--line-protocol"));
    assert_eq!(stderr.matches("the Host does not know the token that --line-protocol names").count(), 1, "{stderr}");
    assert!(!stderr.contains("0123456789abcdef"), "a token was printed: {stderr}");
}

#[test]
fn without_authentication_access_goes_by_network() {
    let greeter = greeter();
    let inventory = inventory(&[running(ID, greeter.address.port())]);
    let home = Home::new();
    let file = home.write("allow", "# nobody yet\n");
    let path = file.to_str().unwrap();
    for (options, served) in [
        (&[][..], true),
        (&["--allow", "127.0.0.0/8"], true),
        (&["--allow", "::ffff:127.0.0.0/104"], true),
        (&["--allow", "10.0.0.0/8", "--allow", "127.0.0.1"], true),
        (&["--allow", "10.0.0.0/8"], false),
        (&["--allow-file", path], false),
        (&["--allow", "127.0.0.1", "--allow-file", path], true),
    ] {
        let gateway = Gateway::with_inventory_and(&inventory, options);
        if served {
            assert_eq!((connect(&gateway, ""), &*line(gateway.address, ID)), (200, "SUCCESS\n"), "{options:?}");
        } else {
            let answer = curl(gateway.address, &target(), None);
            assert_eq!(answer.status, 403, "{options:?}");
            assert_eq!(answer.field("proxy-status"), Some("kohakuriver-gateway; error=http_request_denied"));
            assert_eq!(line(gateway.address, ID), "ERROR This gateway does not serve 127.0.0.1.\n", "{options:?}");
            // Not even what there is.
            assert_eq!(curl(gateway.address, "5.kohakuriver:22", None).status, 403);
        }
    }
    let gateway = Gateway::with_inventory_and(&inventory, &["--allow-file", path]);
    let mut reloads = 0;
    let mut reload = |text: &str, said: &str| {
        std::fs::write(&file, text).unwrap();
        gateway.process.signal(Signal::HUP);
        reloads += 1;
        gateway.process.wait_for(said, PEER_TIMEOUT, |seen| {
            let stderr = String::from_utf8_lossy(&seen.stderr).into_owned();
            // Each of them says that the inventory was reloaded.
            let reloaded = stderr.matches("; the inventory has 1 VPSes").count() == reloads;
            (reloaded && stderr.trim_end().rsplit('\n').any(|line| line.contains(said))).then_some(())
        });
    };
    assert_eq!(connect(&gateway, ""), 403);
    reload("127.0.0.1\n", "the new rules are in force");
    assert_eq!(connect(&gateway, ""), 200);
    reload("10.0.0.0/8\nlab\n", "line 2: `lab` is not a network");
    assert_eq!(connect(&gateway, ""), 200, "a broken file changes nothing");
}

/// On a socket for both families an IPv4 client has an address of IPv6, and is the same client as on one for IPv4.
#[test]
fn a_client_of_both_families_goes_by_its_own_address() {
    let (greeter, home) = (greeter(), Home::new());
    let inventory = home.write("inventory.json", inventory(&[running(ID, greeter.address.port())]).to_string());
    for (network, status) in [("127.0.0.0/8", 200), ("::ffff:127.0.0.1", 200), ("::/0", 403)] {
        let run =
            Run::new(GATEWAY, &home).args(["--listen", "[::]:0", "--api-listen", "127.0.0.1:0", "--admin", "off"]);
        let process = run.args(["--allow", network]).arg("--inventory").arg(&inventory).start();
        let address: SocketAddr = process.stderr_line("listening on ").parse().unwrap();
        let answer = curl((std::net::Ipv4Addr::LOCALHOST, address.port()).into(), &target(), None);
        assert_eq!(answer.status, status, "{network}: {}", answer.head);
        process.wait_for_stdout(r#","client":"127.0.0.1:"#);
    }
}

#[test]
fn runners_are_dialled_in_the_networks_that_are_named() {
    let greeter = greeter();
    let inventory = inventory(&[running(ID, greeter.address.port())]);
    for (network, status) in [("127.0.0.0/8", 200), ("10.0.0.0/8", 502)] {
        let gateway = Gateway::with_inventory_and(&inventory, &["--allow-runner", network]);
        let answer = curl(gateway.address, &target(), None);
        assert_eq!(answer.status, status, "{network}: {}", answer.head);
        if status == 502 {
            assert_eq!(answer.field("proxy-status"), Some("kohakuriver-gateway; error=destination_ip_unroutable"));
        }
    }
    assert_eq!(greeter.accepted(), 1);
}

/// Anyone who reaches a Host's API can register a Runner there, at the gateway's own address for one.
#[test]
fn the_gateway_does_not_dial_itself() {
    let home = Home::new();
    let gateway = Gateway::with_inventory(&inventory(&[]));
    for door in [gateway.address, gateway.api()] {
        gateway.write_inventory(&inventory(&[running(ID, door.port())]).to_string());
        assert_eq!(connect(&gateway, ""), 502, "{door}");
        let helper = Run::new(HELPER, &home).arg("--proxy").arg(gateway.address.to_string()).args([ID, "22"]);
        helper.output().exits(1).says(&["127.0.0.1 is the gateway itself, which the gateway does not dial"]);
    }
}

#[test]
fn unrestricted_access_is_reported_at_the_start() {
    const WARNING: &str = "anyone who can connect to this gateway reaches every VPS";
    let inventory = inventory(&[running(ID, 1)]);
    let (_vps, with_users) = cluster();
    let without = OlderHost::start(&[task(ID, "running", None, None)]);
    let without = format!("http://{}", without.api);
    let home = Home::new();
    let inventory = home.write("inventory.json", inventory.to_string());
    let from_inventory = ["--inventory", inventory.to_str().unwrap(), "--api-listen", "127.0.0.1:0"];
    let with_users = base(&with_users);
    for (options, warns) in [
        (&[&from_inventory[..], &["--listen", "0.0.0.0:0"]].concat(), true),
        (&[&from_inventory[..], &["--listen", "127.0.0.1:0", "--listen", "[::]:0"]].concat(), true),
        (&[&from_inventory[..], &["--listen", "0.0.0.0:0", "--allow", "10.0.0.0/8"]].concat(), false),
        (&[&from_inventory[..], &["--listen", "127.0.0.1:0"]].concat(), false),
        (&vec!["--host-api", &without, "--listen", "0.0.0.0:0"], true),
        (&vec!["--host-api", &with_users, "--listen", "0.0.0.0:0"], false),
    ] {
        let process = Run::new(GATEWAY, &home).args(["--admin", "off"]).args(options).start();
        let address: SocketAddr = process.stderr_line("listening on ").parse().unwrap();
        if warns {
            process.wait_for(WARNING, PEER_TIMEOUT, |seen| {
                let stderr = String::from_utf8_lossy(&seen.stderr).into_owned();
                (stderr.contains(WARNING) && stderr.contains("--allow")).then_some(())
            });
        } else {
            // By the time of an answer that came from the Host, the gateway knows; and then it has some time to say so.
            line((std::net::Ipv4Addr::LOCALHOST, address.port()).into(), ID);
            let said = process.try_wait_for(Duration::from_secs(1), |seen| {
                String::from_utf8_lossy(&seen.stderr).contains(WARNING).then_some(())
            });
            assert!(said.is_err(), "{options:?}");
        }
    }
}

#[test]
fn a_vps_that_was_restarted_is_found_at_its_new_port() {
    let (before, after) = (greeter(), greeter());
    let port = Arc::new(AtomicU16::new(before.address.port()));
    let now = Arc::clone(&port);
    let api = http_server(move |asked| {
        let (status, body) = answer(&[running(ID, now.load(Ordering::SeqCst))], asked);
        (status, "application/json", body.to_string())
    });
    let gateway = Gateway::with_host_api(&base(&api));
    assert_eq!(connect(&gateway, OWNER), 200);
    port.store(after.address.port(), Ordering::SeqCst);
    // The old port refuses from here on, and the gateway still remembers it.
    before.finish();
    assert_eq!(connect(&gateway, OWNER), 200);
    assert_eq!(after.accepted(), 1);
}

#[test]
fn while_the_host_is_down_known_users_get_in_for_a_while() {
    let (_vps, api) = cluster();
    let (long, short) = (Gateway::with_host_api(&base(&api)), &["--stale", "1"]);
    let short = Gateway::with_host_api_and(&base(&api), short);
    assert_eq!((connect(&long, OWNER), connect(&short, OWNER)), (200, 200));
    let down = Instant::now();
    api.finish();
    // A user about whom the gateway has not asked the Host stays outside.
    assert_eq!((connect(&long, ASSIGNED), connect(&long, "")), (502, 502));
    assert_eq!(curl(long.address, "5.kohakuriver:22", bearer(OWNER).as_deref()).status, 502);
    let mut refused = None;
    while down.elapsed() < REMEMBERED || refused.is_none() {
        assert_eq!(connect(&long, OWNER), 200, "after {:?}", down.elapsed());
        let answer = curl(short.address, &target(), bearer(OWNER).as_deref());
        match answer.status {
            200 => assert!(refused.is_none() && down.elapsed() < 4 * REMEMBERED, "after {:?}", down.elapsed()),
            502 => refused = Some(answer),
            _ => panic!("{}", answer.head),
        }
    }
    let proxy_status = refused.unwrap().field("proxy-status").map(str::to_owned);
    assert_eq!(proxy_status.as_deref(), Some("kohakuriver-gateway; error=proxy_internal_response"));
    let home = Home::new();
    let helper = Run::new(HELPER, &home).env("KOHAKURIVER_TOKEN", OWNER).arg("--proxy");
    let outcome = helper.arg(short.address.to_string()).args([ID, "22"]).output();
    outcome.exits(1).says(&["the Host API can't be reached\n", "caused by: Connection refused"]);
}

/// The Host's older generation has no users: everyone may, in both protocols.
#[test]
fn an_older_hosts_vpses_are_everyones() {
    let greeter = greeter();
    let host = OlderHost::start(&[task(ID, "running", Some("node-up"), Some(greeter.address.port()))]);
    let gateway = Gateway::with_host_api(&format!("http://{}", host.api));
    for token in ["", OWNER] {
        assert_eq!(connect(&gateway, token), 200);
    }
    assert_eq!(line(gateway.address, ID), "SUCCESS\n");
    let gateway = Gateway::with_host_api_and(&format!("http://{}", host.api), &["--allow", "10.0.0.0/8"]);
    assert_eq!(connect(&gateway, ""), 403);
}
