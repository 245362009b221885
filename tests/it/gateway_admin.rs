//! Access to the gateway's admin address, and the right to change something there: the UNIX socket, the token, web
//! pages, and connections that say nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::{Home, mode, set_mode};
use crate::support::peers::{Peer, echo_server};
use crate::support::run::{DEADLINE, Outcome, Process, Run};
use crate::support::scene::ID;
use crate::support::sshd::free_port;
use crate::support::tools::{CLI, GATEWAY, tool};
use crate::support::tunnels::{echo_tunnel, echoes};
use crate::support::watched::{ADMIN_TOKEN, Watched, curl};

/// Less than the time after which a gateway closes a connection that says nothing.
const AT_ONCE: Duration = Duration::from_secs(4);

/// A gateway whose admin address is a UNIX socket in a folder of its own.
struct Local {
    home: Home,
    socket: PathBuf,
    vps: Peer,
    inventory: PathBuf,
}

impl Local {
    fn new() -> Self {
        let (home, vps) = (Home::new(), echo_server());
        let inventory = home.write("inventory.json", inventory(&[running(ID, vps.address.port())]).to_string());
        let socket = home.join("admin.sock");
        Self { home, socket, vps, inventory }
    }

    fn admin(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// The gateway under a strict umask, as in its unit.
    fn run(&self) -> Run {
        let strict = "umask 077; exec \"$@\"";
        let run = Run::new(tool("sh"), &self.home).args(["-c", strict, "sh", GATEWAY, "--listen", "127.0.0.1:0"]);
        run.args(["--api-listen", "127.0.0.1:0", "--admin", &self.admin(), "--inventory"]).arg(&self.inventory)
    }

    fn start(&self) -> (Process, SocketAddr) {
        let process = self.run().deadline(600).start();
        assert_eq!(process.stderr_line("admin on "), self.admin());
        let address = process.stderr_line("listening on ").parse().unwrap();
        (process, address)
    }

    fn healthz(&self) -> Outcome {
        let run = Run::new(tool("curl"), &self.home).args(["-sS", "--unix-socket"]).arg(&self.socket);
        run.arg("http://localhost/healthz").output()
    }

    fn sessions(&self, args: &[&str]) -> Outcome {
        Run::new(CLI, &self.home).args(["vps", "sessions", "--admin", &self.admin()]).args(args).output()
    }
}

fn stops(process: Process) -> Outcome {
    process.signal(Signal::TERM);
    process.finish()
}

#[test]
fn a_unix_socket_is_made_passed_on_and_removed() {
    let local = Local::new();
    let (process, address) = local.start();
    assert_eq!(mode(&local.socket), 0o660);
    local.healthz().succeeds().prints("ok\n");
    let mut tunnel = echo_tunnel(address, ID).unwrap();
    let listed = local.sessions(&[]);
    listed.succeeds().check(listed.text().contains(ID), "the tunnel");
    // The file's permissions are the right to end it.
    local.sessions(&["--end", "1"]).succeeds().prints_nothing().check_stderr("ended session 1\n");
    assert!(echoes(&mut tunnel).is_err());

    // A second gateway finds it taken.
    let taken = local.run().output();
    taken.exits(1).logs_failure(&format!("cannot listen on {}", local.admin()), "ss -lxp src ");
    taken.says(&["Address already in use"]);
    local.healthz().succeeds();

    // The old process leaves the file to its successor.
    process.signal(Signal::USR2);
    let successor = process.stderr_line("handed over to process ");
    let successor = Pid::from_raw(successor.split_once(';').unwrap().0.parse().unwrap()).unwrap();
    process.wait_for_stderr("stopped, with 0 tunnels still open\n");
    local.healthz().succeeds().prints("ok\n");
    assert_eq!(mode(&local.socket), 0o660);
    echo_tunnel(address, ID).unwrap();
    kill_process(successor, Signal::TERM).unwrap();
    process.finish().succeeds();
    assert!(!local.socket.exists(), "the file of a gateway that has stopped");
    local.vps.finish();
}

#[test]
fn the_socket_of_a_dead_gateway_is_replaced_and_no_other_file() {
    let local = Local::new();
    let (process, _) = local.start();
    process.signal(Signal::KILL);
    process.finish();
    assert!(UnixStream::connect(&local.socket).is_err() && local.socket.exists());
    local.sessions(&[]).exits(1).fails_with("kohakuriver", "cannot list the sessions", "systemctl status");
    let (process, _) = local.start();
    local.healthz().succeeds().prints("ok\n");
    // A file that somebody else has put there meanwhile is theirs.
    fs::remove_file(&local.socket).unwrap();
    fs::write(&local.socket, "somebody's").unwrap();
    stops(process).succeeds();
    assert_eq!(fs::read_to_string(&local.socket).unwrap(), "somebody's");
    let refused = local.run().output();
    refused.exits(1).says(&["there is a file that is not a socket", "--admin off"]);
    assert_eq!(fs::read_to_string(&local.socket).unwrap(), "somebody's");
    fs::remove_file(&local.socket).unwrap();
    local.sessions(&[]).exits(1).says(&["did not answer: No such file or directory", "systemctl status"]);
    let missing = local.home.join("missing");
    let run = Run::new(GATEWAY, &local.home).args(["--listen", "127.0.0.1:0", "--admin"]);
    let refused = run.arg(format!("unix:{}/admin.sock", missing.display())).output();
    refused
        .exits(1)
        .says(&["cannot listen on unix:", &format!("hint=\"make its folder first: `mkdir {}`", missing.display())]);
    local.vps.finish();
}

/// `systemd-socket-activate` makes the socket, as the unit in contrib/systemd does, and it is not the gateway's to remove.
#[test]
fn a_service_manager_passes_a_unix_socket() {
    let local = Local::new();
    for _ in 0..5 {
        let tunnels = format!("127.0.0.1:{}", free_port());
        let run =
            Run::new(tool("systemd-socket-activate"), &local.home).args(["-l", &tunnels, "-l"]).arg(&local.socket);
        let run = run.args(["--fdname=tunnels:admin", GATEWAY, "--api-listen", "127.0.0.1:0", "--inventory"]);
        let process = run.arg(&local.inventory).start();
        let listening = process.try_wait_for(DEADLINE, |seen| {
            String::from_utf8_lossy(&seen.stderr).contains(&format!("Listening on {tunnels}")).then_some(())
        });
        if listening.is_err() {
            process.finish().says(&["Address already in use"]);
            continue;
        }
        let tunnel = echo_tunnel(tunnels.parse().unwrap(), ID).unwrap();
        assert_eq!(process.stderr_line("admin on "), local.admin());
        local.healthz().succeeds().prints("ok\n");
        local.sessions(&["--end", "1"]).succeeds();
        drop(tunnel);
        stops(process).succeeds();
        assert!(local.socket.exists(), "a file that is not the gateway's");
        return;
    }
    panic!("somebody else takes every free port");
}

#[test]
fn over_tcp_ending_a_session_takes_the_token_of_the_file() {
    let vps = echo_server();
    let home = Home::new();
    let (file, other) = (home.secret("token", ADMIN_TOKEN), home.secret("other", "0123456789abcdef-other"));
    let inventory = inventory(&[running(ID, vps.address.port())]);
    let without = Gateway::with_inventory(&inventory);
    let with = Gateway::with_inventory_and(&inventory, &["--admin-token-file", file.to_str().unwrap()]);
    let end = |gateway: &Gateway, args: &[&str]| {
        let args = [&["-X", "DELETE", "-w", "%{http_code}"], args].concat();
        curl(&home, gateway.admin, "/sessions/1", &args).text()
    };
    let bearer = |token: &str| ["-H".to_owned(), format!("Authorization: {token}")];
    let mut tunnels = [&without, &with].map(|gateway| echo_tunnel(gateway.address, ID).unwrap());

    let refused = end(&without, &bearer(&format!("Bearer {ADMIN_TOKEN}")).each_ref().map(String::as_str));
    assert!(
        refused.ends_with("403") && refused.contains("start the gateway with --admin-token-file FILE"),
        "{refused}"
    );
    let half = &ADMIN_TOKEN[..10];
    for wrong in
        ["Bearer", "Bearer ", "Basic eDp5", ADMIN_TOKEN, &format!("Bearer {half}"), "Bearer 0123456789abcdef-other"]
    {
        let refused = end(&with, &bearer(wrong).each_ref().map(String::as_str));
        assert!(refused.ends_with("401"), "{wrong}: {refused}");
    }
    let fields = curl(&home, with.admin, "/sessions/1", &["-X", "DELETE", "-i"]).text();
    assert!(fields.to_lowercase().contains("www-authenticate: bearer\r\n"), "{fields}");
    // A request that only reads needs no token.
    for gateway in [&without, &with] {
        assert!(curl(&home, gateway.admin, "/sessions", &[]).text().contains(ID));
    }
    tunnels.iter_mut().for_each(|tunnel| echoes(tunnel).unwrap());
    assert!(end(&with, &bearer(&format!("bearer {ADMIN_TOKEN}")).each_ref().map(String::as_str)).ends_with("204"));
    assert!(echoes(&mut tunnels[1]).is_err());

    // Another token counts from the next SIGHUP on.
    fs::write(&file, fs::read(&other).unwrap()).unwrap();
    with.process.signal(Signal::HUP);
    with.process.stderr_line("the new rules are in force");
    assert!(end(&with, &bearer(&format!("Bearer {ADMIN_TOKEN}")).each_ref().map(String::as_str)).ends_with("401"));
    let answer = end(&with, &bearer("Bearer 0123456789abcdef-other").each_ref().map(String::as_str));
    assert!(answer.ends_with("404"), "{answer}");
    let stderr = stops(with.process).stderr;
    assert!(!stderr.contains("0123456789abcdef"), "a token was printed: {stderr}");

    // A file that others may read is no start.
    set_mode(&file, 0o604);
    let run =
        Run::new(GATEWAY, &home).args(["--admin", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--admin-token-file"]);
    let what = format!("cannot use the token in {}", file.display());
    run.arg(&file).output().exits(2).logs_failure(&what, "chmod 600 ");
}

#[test]
fn the_command_ends_a_session_with_a_token_from_a_file_or_the_environment() {
    let scene = Watched::new(&[]);
    let home = Home::new();
    let admin = scene.gateway.admin.to_string();
    let run = |args: &[&str]| Run::new(CLI, &home).args(["vps", "sessions", "--admin", &admin, "--end"]).args(args);
    let (file, other) = (home.secret("token", ADMIN_TOKEN), home.secret("other", "0123456789abcdef-other"));
    let (file, other) = (file.to_str().unwrap(), other.to_str().unwrap());
    let _tunnels: Vec<_> = (0..2).map(|_| echo_tunnel(scene.gateway.address, ID).unwrap()).collect();

    let hint = "`--admin-token-file FILE`, or set KOHAKURIVER_GATEWAY_ADMIN_TOKEN";
    for run in [run(&["1"]), run(&["1", "--admin-token-file", other])] {
        let refused = run.output();
        refused.exits(1).prints_nothing().fails_with("kohakuriver", "cannot end session 1", hint);
        refused.says(&[" answered 401: "]).check(!refused.stderr.contains("0123456789abcdef"), "no token");
    }
    run(&["1", "--admin-token-file", file]).output().succeeds().check_stderr("ended session 1\n");
    let with_variable = |name, value| run(&["2"]).env(name, value).output();
    with_variable("KOHAKURIVER_GATEWAY_ADMIN_TOKEN", "a b").exits(2).says(&["unset KOHAKURIVER_GATEWAY_ADMIN_TOKEN"]);
    // The user's token for the Host is another one.
    with_variable("KOHAKURIVER_TOKEN", ADMIN_TOKEN).exits(1).says(&["401"]);
    with_variable("KOHAKURIVER_GATEWAY_ADMIN_TOKEN", ADMIN_TOKEN).succeeds().check_stderr("ended session 2\n");

    set_mode(Path::new(file), 0o644);
    let refused = run(&["3", "--admin-token-file", file]).output();
    refused.exits(2).fails_with(
        "kohakuriver",
        &format!("cannot use the token in {file}"),
        &format!("chmod 600 {file}"),
    );
    let run = Run::new(CLI, &home).args(["vps", "sessions", "--admin", &admin, "--admin-token-file", other]);
    run.output().exits(2).says(&["--end <SESSION>"]);

    // A gateway that takes no token over TCP says what its admin can do.
    let without = Gateway::with_inventory(&inventory(&[]));
    let run = Run::new(CLI, &home).args(["vps", "sessions", "--end", "1", "--admin", &without.admin.to_string()]);
    let refused = run.args(["--admin-token-file", other]).output();
    refused.exits(1).says(&[
        " answered 403: over TCP, this takes a token",
        "hint: start the gateway with `--admin-token-file FILE`",
    ]);
}

/// A web page has its own name in the Host field, whatever address that name stands for.
#[test]
fn both_servers_answer_to_known_names_only() {
    let gateway = Gateway::with_inventory_and(&inventory(&[]), &["--server-name", "gpu.lab.example"]);
    let home = Home::new();
    for (address, path) in [(gateway.admin, "/sessions"), (gateway.api(), "/api/vps")] {
        for (host, status) in [
            ("evil.example", "403"),
            ("gpu.lab.example.evil.example", "403"),
            ("gpu.lab.example", "200"),
            ("GPU.lab.example:8000", "200"),
            ("localhost", "200"),
            ("127.0.0.1", "200"),
        ] {
            let field = format!("Host: {host}");
            let answer = curl(&home, address, path, &["-H", &field, "-w", "%{http_code}"]).text();
            assert!(answer.ends_with(status), "{host} at {address}: {answer}");
            assert_eq!(answer.contains("is not a name of this gateway"), status == "403", "{answer}");
        }
        let answer =
            curl(&home, address, path, &["-X", "POST", "-H", "Origin: http://localhost", "-w", "%{http_code}"]);
        assert!(answer.text().ends_with("403"), "{answer}");
    }
}

/// More connections than either server takes at a time.
#[test]
fn connections_that_say_nothing_delay_nobody() {
    const SILENT: usize = 200;
    let local = Local::new();
    let (process, _) = local.start();
    let gateway = Gateway::with_inventory(&inventory(&[]));
    for (address, path) in [(gateway.admin, "/healthz"), (gateway.api(), "/api/nodes")] {
        let silent: Vec<_> = (0..SILENT).map(|_| TcpStream::connect(address).unwrap()).collect();
        answers_at_once(TcpStream::connect(address).unwrap(), path);
        drop(silent);
    }
    let connect = || UnixStream::connect(&local.socket).unwrap();
    let silent: Vec<_> = (0..SILENT).map(|_| connect()).collect();
    answers_at_once(connect(), "/healthz");
    drop(silent);
    stops(process).succeeds();
    local.vps.finish();
}

fn answers_at_once(mut stream: impl Read + Write, path: &str) {
    let asked = Instant::now();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    assert!(asked.elapsed() < AT_ONCE, "{path} took {:?}", asked.elapsed());
}
