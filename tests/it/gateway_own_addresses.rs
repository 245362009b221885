//! A machine with several addresses: none of them leads a tunnel to the gateway's own machine, or to a door of the
//! cluster.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::network::{HERE, Network};
use crate::support::older_host::task;
use crate::support::run::{DEADLINE, Process};
use crate::support::tools::{GATEWAY, HELPER, not_tested, older_host_python, tool};

/// Two of one network, of which the system sends from the first one only, and two of IPv6.
const ADDED: [&str; 4] = ["10.11.13.1/24", "10.11.13.2/24", "fd11:12::1/64", "fe80::12/64"];

const OWN: &str = "is the gateway's own machine, which it dials only with `--allow-runner ";
const LINK_LOCAL: &str = "is a link-local address, which the gateway does not dial";

/// The Runners: the host of each one's URL, and why no port of it is dialled; [`OWN`] where a port has a reason of its
/// own.
const RUNNERS: [(&str, &str); 12] = [
    ("127.0.0.1", OWN),
    ("[::1]", OWN),
    (HERE, OWN),
    ("10.11.13.1", OWN),
    ("10.11.13.2", OWN),
    ("[::ffff:10.11.13.2]", OWN),
    ("[fd11:12::1]", OWN),
    // Of a whole network that a route of type `local` makes this machine's.
    ("[fd77::5]", OWN),
    ("[fe80::12]", LINK_LOCAL),
    // A zone, as the system writes it and as a URL does (RFC 6874).
    ("[fe80::12%lo]", LINK_LOCAL),
    ("[fe80::12%25lo]", "no address is known for `fe80::12%25lo`"),
    // Another machine's, although a socket here may have it.
    ("10.11.14.1", "Invalid argument"),
];

/// The ports: that of a VPS or a local service, the Host API's, its SSH proxy's, and the gateway's two.
const DOORS: [(u16, &str); 5] = [
    (22, OWN),
    (8000, "is the Host's own API, which the gateway does not dial"),
    (8012, "is the Host's own SSH proxy, which the gateway does not dial"),
    (8002, "is the gateway itself, which the gateway does not dial"),
    (8003, "is the gateway itself, which the gateway does not dial"),
];

const BANNER: &str = "SSH-2.0-Test\n";

/// The VPS behind this door of this Runner.
fn id(runner: usize, door: usize) -> String {
    (7_000_000_000_000_000_000 + runner * DOORS.len() + door).to_string()
}

/// A Host with a VPS behind each door of each Runner.
fn host(network: &Network, home: &Home) -> Process {
    let runners = || RUNNERS.iter().enumerate();
    let nodes: Vec<Value> = runners()
        .map(|(number, (url, _))| {
            json!({ "hostname": format!("runner{number}"), "url": format!("http://{url}:8001"), "status": "online" })
        })
        .collect();
    let at = |runner: usize| {
        let vps = move |(door, (port, _)): (usize, &(u16, &str))| {
            task(&id(runner, door), "running", Some(&format!("runner{runner}")), Some(*port))
        };
        DOORS.iter().enumerate().map(vps)
    };
    let tasks: Vec<Value> = runners().flat_map(|(number, _)| at(number)).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/older_host.py");
    let run = network.run(older_host_python()).arg(script).arg(home.path());
    let run = run.arg(json!({ "nodes": nodes, "tasks": tasks }).to_string()).args(["8000", "8012"]);
    let process = run.stdin_open().deadline(600).start();
    process.wait_for("the Host", DEADLINE, |seen| {
        String::from_utf8_lossy(&seen.stdout).lines().any(|line| line.starts_with("ready ")).then_some(())
    });
    process
}

#[test]
fn no_address_of_the_own_machine_is_dialled_unless_the_admin_names_it() {
    let Some(network) = Network::for_test_of("a machine with several addresses") else { return };
    for address in ADDED {
        network.run(tool("ip")).args(["address", "add", address, "dev", "lo"]).output().succeeds();
    }
    let route = ["-6", "route", "add", "local", "fd77::/64", "dev", "lo"];
    network.run(tool("ip")).args(route).output().succeeds();
    // A connection there fails at once.
    network.run(tool("ip")).args(["route", "add", "blackhole", "10.11.14.0/24"]).output().succeeds();
    let any_address = network.run("sh").args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind"]).output();
    if !any_address.status.success() {
        not_tested("an address that each socket may have, as /proc/sys can't be written");
    }
    let addresses = network.run(tool("ip")).args(["-oneline", "address"]).output();
    assert!(addresses.text().lines().any(|line| line.contains(" 10.11.13.2/24 ") && line.contains(" secondary ")));

    let (home, say) = (Home::new(), format!("SYSTEM:echo {}", BANNER.trim_end()));
    let _host = host(&network, &home);
    let service = network.run(tool("socat")).args(["-d", "-d", "TCP6-LISTEN:22,fork", &say]).deadline(600).start();
    service.wait_for_stderr(" listening on ");
    let gateway = |listen: &str, admin: &str, options: &[&str]| {
        let run = network.run(GATEWAY).args(["--listen", listen, "--admin", admin, "--host-ssh-proxy-port", "8012"]);
        let gateway = run.args(["--host-api", "http://127.0.0.1:8000"]).args(options).deadline(600).start();
        gateway.stderr_line("listening on ");
        gateway
    };
    let connect =
        |through: &str, runner, door| network.run(HELPER).args(["--proxy", through, &id(runner, door)]).output();

    let _gateway = gateway("[::]:8002", "127.0.0.1:8003", &[]);
    for (runner, (_, why)) in RUNNERS.iter().enumerate() {
        for (door, (_, of_door)) in DOORS.iter().enumerate() {
            let why = if *why == OWN { of_door } else { why };
            connect("127.0.0.1:8002", runner, door).exits(1).prints_nothing().says(&[why]);
        }
    }

    // The service is there, and what the admin names is dialled; the doors are not.
    let named = ["--allow-runner", "10.11.13.2", "--allow-runner", "fd11:12::1"];
    let _other = gateway("[::]:9002", "off", &named);
    for (runner, (url, _)) in RUNNERS.iter().enumerate() {
        let is_named = ["10.11.13.2", "[::ffff:10.11.13.2]", "[fd11:12::1]"].contains(url);
        let outcome = connect("127.0.0.1:9002", runner, 0);
        match is_named {
            true => assert_eq!(outcome.succeeds().text(), BANNER, "{url}"),
            false => drop(outcome.exits(1).prints_nothing()),
        }
        for (door, (_, why)) in DOORS.iter().enumerate().filter(|_| is_named).skip(1).take(2) {
            connect("127.0.0.1:9002", runner, door).exits(1).prints_nothing().says(&[why]);
        }
    }
}
