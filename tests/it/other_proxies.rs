//! Our helper through CONNECT proxies of others, to a server that is no VPS: the helper serves any such proxy.

use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::support::home::{Home, set_mode};
use crate::support::run::{DEADLINE, Process, Run};
use crate::support::scene::Mode;
use crate::support::sshd::{Sshd, free_port};
use crate::support::tools::{HELPER, sh_quote, tool, user};

/// How often a proxy's start is tried: between finding a free port and taking it, somebody else may take it.
const TRIES: usize = 5;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    _home: Home,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Killed, squid would leave its shared memory behind.
        self.process.signal(Signal::TERM);
        let _ended = self.process.try_wait_for(DEADLINE, |_| None::<()>);
    }
}

/// Starts a proxy by `start`, which gets a folder and a port, and whose stderr has `ready` in it once it serves.
fn start(ready: &str, start: impl Fn(&Home, u16) -> Run) -> Proxy {
    let mut log = String::new();
    for _ in 0..TRIES {
        let (home, port) = (Home::new(), free_port());
        let process = start(&home, port).deadline(600).start();
        let printed = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(ready);
        let found =
            process.try_wait_for(DEADLINE, |seen| (printed(&seen.stderr) || printed(&seen.stdout)).then_some(()));
        match found {
            Ok(()) => return Proxy { address: ([127, 0, 0, 1], port).into(), process, _home: home },
            Err(_) => log = process.finish().to_string(),
        }
    }
    panic!("the proxy does not start: {log}");
}

/// tinyproxy, which lets CONNECT through to `allowed` alone.
pub(crate) fn tinyproxy(allowed: u16) -> Proxy {
    start("Accepting connections", |home, port| {
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 50\nAllow 127.0.0.1\nConnectPort {allowed}\n\
             LogLevel Info\n"
        );
        Run::new(tool("tinyproxy"), home).args(["-d", "-c"]).arg(home.write("tinyproxy.conf", config))
    })
}

/// squid, which lets CONNECT through to `allowed` alone.
fn squid(allowed: u16) -> Proxy {
    start("Accepting HTTP Socket connections", |home, port| {
        let folder = home.path().display();
        // It refuses to run as root, so as root it is told to become somebody who can read its folder.
        let user = if rustix::process::geteuid().is_root() { "nobody".to_owned() } else { user() };
        set_mode(home.path(), 0o755);
        let config = format!(
            "http_port 127.0.0.1:{port}\nacl ours port {allowed}\nhttp_access allow CONNECT ours\n\
             http_access deny all\ncache deny all\ncache_mem 8 MB\ncache_effective_user {user}\nicp_port 0\npid_filename none\n\
             access_log none\ncache_store_log none\ncoredump_dir {folder}\nvisible_hostname squid.example\n\
             pinger_enable off\nshutdown_lifetime 0 seconds\nworkers 1\nnetdb_filename none\n\
             cache_log /dev/null\n",
        );
        // -N: no daemon and no workers; -d 1: its log goes to stderr too; -n: a name of its own, which keeps it apart
        // from any other squid of this machine.
        let name = format!("kr{}p{port}", std::process::id());
        Run::new(tool("squid"), home).args(["-N", "-d", "1", "-n", &name, "-f"]).arg(home.write("squid.conf", config))
    })
}

/// An ssh_config for `foreign`, an sshd behind `proxy` that is named by its address.
fn config(home: &Home, sshd: &Sshd, proxy: &Proxy, mode: Mode) -> PathBuf {
    let fdpass = if mode == Mode::Fdpass { " --fdpass" } else { "" };
    let command = format!("{}{fdpass} --proxy http://{} 127.0.0.1 {}", sh_quote(HELPER), proxy.address, sshd.port);
    sshd.write_ssh_config(home, &format!("config-{mode:?}"), &command, mode)
}

fn ssh_through(proxy: impl Fn(u16) -> Proxy) {
    let sshd = Sshd::start();
    let proxy = proxy(sshd.port);
    let home = Home::new();
    let data = "through a stranger\n".repeat(100_000);
    for mode in Mode::BOTH {
        let ssh = Run::new(tool("ssh"), &home).arg("-F").arg(config(&home, &sshd, &proxy, mode));
        let outcome = ssh.args(["foreign", "cat; exit 23"]).stdin(data.clone()).output();
        outcome.exits(23).says_nothing().check(outcome.text() == data, "all that was sent, back");
    }
}

/// The proxy's own words must reach the user: its status line, and the first line of its text.
fn refusal(proxy: impl Fn(u16) -> Proxy, status_line: &str, first_line: &str) {
    let sshd = Sshd::start();
    // One that lets us through to another port than the one that is asked for.
    let proxy = proxy(1);
    let home = Home::new();
    let cause = format!("\n  caused by: the proxy at {} answered {status_line}\n", proxy.address);
    for mode in Mode::BOTH {
        let ssh = Run::new(tool("ssh"), &home).arg("-F").arg(config(&home, &sshd, &proxy, mode));
        let outcome = ssh.args(["foreign", "true"]).output();
        let what = format!("kohakuriver-proxy: cannot open a tunnel to 127.0.0.1:{}\n", sshd.port);
        outcome.exits(255).prints_nothing().within(30).says(&[&what, &cause, first_line]);
    }
}

#[test]
fn ssh_through_tinyproxy() {
    ssh_through(tinyproxy);
}

#[test]
fn ssh_through_squid() {
    ssh_through(squid);
}

#[test]
fn tinyproxys_refusal_is_shown() {
    refusal(tinyproxy, "403 Access violation", "Access violation");
}

#[test]
fn squids_refusal_is_shown() {
    refusal(squid, "403 Forbidden", "caused by: ERROR: The requested URL could not be retrieved");
}
