//! Clients of others through our gateway, with no helper of ours: what they send on the wire is taken as it is.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::json;

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::Home;
use crate::support::peers::{PEER_TIMEOUT, Peer, echo_server};
use crate::support::run::Run;
use crate::support::scene::{ID, Mode, Scene, destination};
use crate::support::tools::{older_host_python, tool, user};
use crate::support::watched::send;

/// Runs a command in the VPS by the system's ssh with a ProxyCommand made from the gateway's host and port.
fn ssh_through(proxy_command: impl Fn(&str, u16) -> String) {
    let scene = Scene::connect();
    let command = proxy_command(&scene.proxy().address.ip().to_string(), scene.proxy().address.port());
    let home = Home::new();
    let data = "stock\n".repeat(100_000);
    let ssh = scene.sshd.ssh(&home, &command, Mode::Stdio).arg(destination()).arg("cat; exit 17");
    let outcome = ssh.stdin(data.clone()).output();
    outcome.exits(17).check(outcome.text() == data, "all that was sent, back");
}

#[test]
fn netcat() {
    ssh_through(|host, port| format!("{} -X connect -x {host}:{port} %h %p", tool("nc").display()));
}

#[test]
fn netcat_by_bare_id() {
    ssh_through(|host, port| format!("{} -X connect -x {host}:{port} {ID} 22", tool("nc").display()));
}

#[test]
fn socat() {
    ssh_through(|host, port| format!("{} - PROXY:{host}:%h:%p,proxyport={port}", tool("socat").display()));
}

#[test]
fn proxytunnel() {
    // Unless it is told to be quiet, it announces each step on stderr.
    ssh_through(|host, port| format!("{} -q -p {host}:{port} -d %h:%p", tool("proxytunnel").display()));
}

/// Its Host field is then a word without a dot, which could be a VPS's name.
#[test]
fn proxytunnel_by_a_name() {
    ssh_through(|_, port| format!("{} -q -p localhost:{port} -d %h:%p", tool("proxytunnel").display()));
}

#[test]
fn corkscrew() {
    ssh_through(|host, port| format!("{} {host} {port} %h %p", tool("corkscrew").display()));
}

/// curl makes the tunnel and speaks telnet in it, that is: it shows what comes, which is sshd's banner.
#[test]
fn curl() {
    let scene = Scene::connect();
    let url = format!("telnet://{}:22", destination());
    let curl =
        Run::new(tool("curl"), &scene.home).args(["-sS", "-p", "-x"]).arg(format!("http://{}", scene.proxy().address));
    // sshd hangs up on a line that is no banner, which ends curl.
    let outcome = curl.arg(&url).stdin("this is not a banner\r\n").output();
    outcome.check(outcome.text().starts_with("SSH-2.0-"), "sshd's banner");
}

/// The older Host's own client, which speaks the line protocol to our gateway. It runs the `ssh` on PATH.
#[test]
fn the_older_hosts_own_client() {
    let scene = Scene::connect();
    let home = Home::new();
    let config = home.write(
        "ssh_config",
        format!(
            "Host *\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  BatchMode yes\n  HostKeyAlias vps\n  \
             UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n",
            user(),
            scene.sshd.key.display(),
            home.write("known_hosts", scene.sshd.known_as("vps")).display(),
        ),
    );
    home.ssh("", &format!("-F {}", config.display()));
    let settings = home.write("config.toml", OLDER_CLIENT_SETTINGS);
    let client = Run::new(older_host_python(), &home).args(["-c", "from hakuriver.cli.ssh import main; main()"]);
    let client = client.args(["--host", "127.0.0.1", "--user", user(), "--proxy-port"]);
    let client = client.arg(scene.proxy().address.port().to_string()).arg(ID);
    let client = client.first_on_path(&home.join("bin")).env("HAKURIVER_CONFIG", settings);
    let outcome = client.stdin("echo in-the-vps $((6 * 7)); exit 0\n").output();
    outcome.succeeds().check(outcome.text().contains("in-the-vps 42"), "an answer from inside the VPS");
}

/// Its modules read a Host's and a Runner's settings whenever they are imported.
const OLDER_CLIENT_SETTINGS: &str = r#"
[network]
host_bind_ip = "127.0.0.1"
host_port = 1
host_ssh_proxy_port = 1
host_reachable_address = "127.0.0.1"
runner_address = "127.0.0.1"
runner_port = 1
[paths]
shared_dir = "/nonexistent"
local_temp_dir = "/nonexistent"
numactl_path = ""
[database]
db_file = "/nonexistent"
[timing]
heartbeat_interval = 5
heartbeat_timeout_factor = 6
cleanup_check_interval = 10
[environment]
runner_user = ""
[docker]
container_dir = "none"
default_container_name = "none"
initial_base_image = "none"
tasks_privileged = false
"#;

/// Opens a tunnel to `backend` with `request`, in one segment with `behind`, and returns all that comes back once the
/// write half is shut.
fn talk(backend: &Peer, request: &str, behind: &[u8]) -> Vec<u8> {
    let gateway = Gateway::before(backend.address.port());
    let mut stream = send(&gateway, [request.as_bytes(), behind].concat());
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn bytes_behind_the_request_are_the_start_of_the_stream() {
    let behind = [b"pipelined\0".as_slice(), &[0xff; 5000], b"end"].concat();
    for (request, yes) in [
        (format!("CONNECT {ID}:22 HTTP/1.1\r\nHost: {ID}:22\r\n\r\n"), "HTTP/1.1 200 Connection established\r\n\r\n"),
        (format!("CONNECT {ID}:22 HTTP/1.0\n\n"), "HTTP/1.1 200 Connection established\r\n\r\n"),
        (format!("REQUEST_TUNNEL {ID}\n"), "SUCCESS\n"),
        (format!("REQUEST_TUNNEL  \t00{ID}  \r\n"), "SUCCESS\n"),
    ] {
        let echo = echo_server();
        let answer = talk(&echo, &request, &behind);
        let expected = [yes.as_bytes(), &behind].concat();
        let start = &answer[..answer.len().min(100)];
        assert!(answer == expected, "{request:?} got {} bytes: {}…", answer.len(), start.escape_ascii());
        echo.finish();
    }
}

#[test]
fn a_word_in_the_host_field_is_a_name_of_the_gateway() {
    for (options, answer) in [(&[][..], "HTTP/1.1 400 "), (&["--server-name", "Gateway"], "HTTP/1.1 200 ")] {
        let echo = echo_server();
        let gateway = Gateway::before_and(echo.address.port(), options);
        let mut stream = send(&gateway, format!("CONNECT {ID}:22 HTTP/1.1\r\nHost: gateway\r\n\r\n"));
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert!(all.starts_with(answer), "{options:?}: {all}");
    }
}

#[test]
fn heads_as_stock_clients_write_them() {
    let long_field = format!("X-Long: {}", "x".repeat(6000));
    let heads = [
        format!("CONNECT {ID}:22 HTTP/1.0\r\n\r\n"),
        format!("CONNECT {ID}:22 HTTP/1.1\r\nProxy-Connection: Keep-Alive\r\nUser-Agent: PuTTY\r\n\r\n"),
        format!("CONNECT {ID}.kohakuriver:22 HTTP/1.1\r\nHost: {ID}.kohakuriver:22\r\n\r\n"),
        format!("CONNECT {ID}.KohakuRiver:22 HTTP/1.1\r\nhost:\r\n\r\n"),
        format!("CONNECT kohakuriver-vps-{ID}:22 HTTP/1.1\r\n\r\n"),
        format!("CONNECT kohakuriver-{ID}:22 HTTP/1.1\r\n\r\n"),
        "CONNECT trainer:22 HTTP/1.1\r\n\r\n".to_owned(),
        "CONNECT trainer.kohakuriver:22 HTTP/1.1\r\n\r\n".to_owned(),
        format!("CONNECT {ID}:22 HTTP/1.1\r\nProxy-Authorization: Basic dXNlcjp0b2tlbg==\r\n\r\n"),
        format!("CONNECT {ID}:22 HTTP/1.1\r\n{long_field}\r\n\r\n"),
    ];
    for head in heads {
        let echo = echo_server();
        let mut vps = running(ID, echo.address.port());
        vps["name"] = json!("trainer");
        let gateway = Gateway::with_inventory(&inventory(&[vps]));
        let mut stream = TcpStream::connect(gateway.address).unwrap();
        stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
        // A byte at a time: nothing says that a head comes in one segment.
        stream.set_nodelay(true).unwrap();
        for byte in head.as_bytes() {
            stream.write_all(&[*byte]).unwrap();
        }
        stream.write_all(b"ping").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\nping", "to {head:?}");
    }
}
