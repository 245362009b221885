//! The gateway's own machine, and the doors of the cluster: anyone who registers a Runner at a Host chooses its address,
//! and must not reach through the gateway what only local programs may reach.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::Signal;

use crate::support::curl::{Connected, curl};
use crate::support::gateway::{Gateway, running};
use crate::support::home::Home;
use crate::support::host_api::{OWNER, answer};
use crate::support::older_host::{OlderHost, task};
use crate::support::peers::{PEER_TIMEOUT, Peer, http_server};
use crate::support::run::{Process, Run};
use crate::support::scene::ID;
use crate::support::tools::{GATEWAY, HELPER};

/// The gateway's message at its start when nothing restricts the Runners.
const UNRESTRICTED: &str = "anyone who can register a Runner at the Host decides where this gateway connects";

/// A Host with authentication on. The user's VPS is at `port` of a Runner that was registered at `node`; at the Host's
/// own port without one.
fn host_with_runner_at(node: &str, port: Option<u16>) -> Peer {
    let url = format!("http://{node}:1");
    let own = Arc::new(AtomicU16::new(0));
    let ports = Arc::clone(&own);
    let host = http_server(move |asked| {
        let vps = running(ID, port.unwrap_or_else(|| ports.load(Ordering::SeqCst)));
        let (status, mut body) = answer(&[vps], asked);
        if asked.path == "/api/nodes" {
            body.as_array_mut().unwrap().iter_mut().for_each(|node| node["url"] = url.clone().into());
        }
        (status, "application/json", body.to_string())
    });
    own.store(host.address.port(), Ordering::SeqCst);
    host
}

/// A gateway in front of `host`, with these options and no others that concern Runners.
fn gateway(home: &Home, host: &str, options: &[&str]) -> (Process, SocketAddr) {
    let listening = ["--listen", "127.0.0.1:0", "--admin", "off", "--host-api", host];
    let process = Run::new(GATEWAY, home).args(listening).args(options).start();
    let address = process.stderr_line("listening on ").parse().unwrap();
    (process, address)
}

fn connect(gateway: SocketAddr) -> Connected {
    curl(gateway, &format!("{ID}.kohakuriver:22"), Some(&format!("Bearer {OWNER}")))
}

/// Tests the message that a user of our helper reads.
fn helper_says(gateway: SocketAddr, why: &str) {
    let home = Home::new();
    let helper = Run::new(HELPER, &home).args(["--proxy", &gateway.to_string(), ID, "22"]);
    helper.env("KOHAKURIVER_TOKEN", OWNER).output().exits(1).says(&[why]);
}

fn local_service() -> Peer {
    Peer::serve(|mut stream| Ok(stream.write_all(b"SSH-2.0-local\r\n")?))
}

#[test]
fn a_runner_on_the_gateways_machine_is_dialled_only_if_the_admin_names_it() {
    let service = local_service();
    let port = service.address.port();
    for (node, options, reaches) in [
        ("127.0.0.1", &[][..], false),
        ("127.8.9.1", &[], false),
        ("localhost", &[], false),
        ("[::1]", &[], false),
        ("[::ffff:127.0.0.1]", &[], false),
        ("0177.0.0.1", &[], false),
        ("127.1", &[], false),
        // Networks around the address are networks of other machines.
        ("127.0.0.1", &["--allow-runner", "0.0.0.0/0", "--allow-runner", "::/0"], false),
        ("127.0.0.1", &["--allow-runner", "126.0.0.0/7"], false),
        ("127.0.0.1", &["--allow-runner", "127.0.0.1"], true),
        ("127.0.0.1", &["--allow-runner", "10.0.0.0/8", "--allow-runner", "127.0.0.0/8"], true),
    ] {
        let (host, home) = (host_with_runner_at(node, Some(port)), Home::new());
        let before = service.accepted();
        let (process, address) = gateway(&home, &format!("http://{}", host.address), options);
        let answer = connect(address);
        let status = if reaches { 200 } else { 502 };
        assert_eq!(answer.status, status, "{node} {options:?}: {}", answer.head);
        assert_eq!(service.accepted() - before, usize::from(reaches), "{node} {options:?}");
        let stderr = process.try_wait_for(PEER_TIMEOUT, |seen| {
            let text = String::from_utf8_lossy(&seen.stderr).into_owned();
            (reaches || text.contains("is on this machine")).then_some(text)
        });
        // A name that the resolver does not know is refused as well, and not as this machine.
        if let Ok(stderr) = &stderr {
            assert_eq!(stderr.contains(UNRESTRICTED), options.is_empty(), "{stderr}");
        }
        if node == "127.0.0.1" && !reaches {
            let stderr = stderr.unwrap();
            assert!(stderr.contains("start the gateway with `--allow-runner 127.0.0.1`"), "{stderr}");
            let why = "127.0.0.1 is the gateway's own machine, which it dials only with `--allow-runner 127.0.0.1`";
            helper_says(address, why);
        }
    }
}

/// The admin has written the inventory, so its Runners are allowed.
#[test]
fn an_inventory_names_its_runners() {
    let service = local_service();
    let gateway = Gateway::before(service.address.port());
    assert_eq!(connect(gateway.address).status, 200);
    gateway.process.signal(Signal::TERM);
    let stderr = gateway.process.finish().stderr;
    assert!(!stderr.contains(UNRESTRICTED), "{stderr}");
}

/// Each of these doors is on this machine, which the admin has named as a Runner too.
#[test]
fn the_hosts_doors_are_dialled_at_no_address_and_under_no_name() {
    let older = OlderHost::start(&[task(ID, "running", None, None)]);
    let proxy = older.proxy.port();
    let moved = proxy.to_string();
    let options = ["--allow-runner", "127.0.0.0/8", "--allow-runner", "::1", "--host-ssh-proxy-port", &moved];
    for (door, why) in [(Some(proxy), "the Host's own SSH proxy"), (None, "the Host's own API")] {
        for node in ["127.0.0.1", "localhost", "127.8.9.1", "[::ffff:127.0.0.1]"] {
            for named_as in ["127.0.0.1", "localhost"] {
                let (host, home) = (host_with_runner_at(node, door), Home::new());
                let base = format!("http://{named_as}:{}", host.address.port());
                let (_process, address) = gateway(&home, &base, &options);
                let refused = connect(address);
                assert_eq!(refused.status, 502, "{why} at {node}: {}", refused.head);
                helper_says(address, &format!(" is {why}, which the gateway does not dial"));
            }
        }
    }
}
