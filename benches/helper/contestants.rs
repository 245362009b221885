//! The contestants: our helper in both modes, the programs that people use today, and no helper at all.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::support::ours::helper;
use crate::support::report::Target;
use crate::support::turns::Contender;

/// How a contestant gives its bytes to ssh.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Over two pipes.
    Stdio,
    /// As a passed socket.
    Fdpass,
    /// There is no helper: without ssh the benchmark asks the gateway itself; ssh goes straight to its sshd.
    Direct,
}

/// The contestants in the order of the table, the targets, and the result of the run.
pub(super) type Measured = (Vec<&'static str>, &'static [Target], Result<()>);

/// One of those who are measured.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    /// The task id of the VPS that it goes to.
    pub(crate) vps: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Contender for Contestant {
    fn name(&self) -> &'static str {
        self.name
    }
}

/// Our helper, piping, with a tunnel that ends with its connection.
pub(crate) const STDIO: &str = "stdio";
/// Our helper, handing the socket over.
pub(crate) const FDPASS: &str = "fdpass";
/// No helper.
pub(crate) const DIRECT: &str = "direct";
/// netcat-openbsd, piping.
pub(crate) const NC: &str = "nc";

/// A helper of others.
struct Peer {
    name: &'static str,
    mode: Mode,
    program: &'static str,
    arguments: fn(SocketAddr, &str) -> String,
}

const PEERS: [Peer; 7] = [
    Peer {
        name: NC,
        mode: Mode::Stdio,
        program: "nc",
        arguments: |proxy, vps| format!("-X connect -x {proxy} {vps} 22"),
    },
    Peer {
        name: "nc -F",
        mode: Mode::Fdpass,
        program: "nc",
        arguments: |proxy, vps| format!("-F -X connect -x {proxy} {vps} 22"),
    },
    Peer {
        name: "socat",
        mode: Mode::Stdio,
        program: "socat",
        arguments: |proxy, vps| format!("- PROXY:{}:{vps}:22,proxyport={}", proxy.ip(), proxy.port()),
    },
    Peer {
        name: "ncat",
        mode: Mode::Stdio,
        program: "ncat",
        // It takes a host of nothing but digits for a port.
        arguments: |proxy, vps| format!("--proxy {proxy} --proxy-type http {vps}.kohakuriver 22"),
    },
    Peer {
        name: "proxytunnel",
        mode: Mode::Stdio,
        program: "proxytunnel",
        arguments: |proxy, vps| format!("-q -p {proxy} -d {vps}:22"),
    },
    Peer {
        name: "corkscrew",
        mode: Mode::Stdio,
        program: "corkscrew",
        arguments: |proxy, vps| format!("{} {} {vps} 22", proxy.ip(), proxy.port()),
    },
    Peer {
        name: "connect",
        mode: Mode::Stdio,
        program: "connect-proxy",
        arguments: |proxy, vps| format!("-H {proxy} {vps} 22"),
    },
];

/// All contestants on their way to a VPS through the gateway at `proxy`, and the names of those that aren't installed.
pub(crate) fn all(proxy: SocketAddr, vps: &'static str) -> (Vec<Contestant>, Vec<&'static str>) {
    let contestant = |name, mode, program, arguments: String| Contestant::new(name, mode, vps, program, &arguments);
    let mut contestants = vec![
        contestant(STDIO, Mode::Stdio, helper().into(), format!("--no-resume --proxy {proxy} {vps} 22")),
        contestant(FDPASS, Mode::Fdpass, helper().into(), format!("--fdpass --proxy {proxy} {vps} 22")),
        contestant(DIRECT, Mode::Direct, PathBuf::new(), String::new()),
    ];
    let mut missing = Vec::new();
    for peer in &PEERS {
        match installed(peer) {
            Some(program) => contestants.push(contestant(peer.name, peer.mode, program, (peer.arguments)(proxy, vps))),
            None => missing.push(peer.name),
        }
    }
    (contestants, missing)
}

fn installed(peer: &Peer) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).map(|folder| folder.join(peer.program)).find(|path| path.is_file())?;
    // There are others of this name.
    if peer.program == "nc" {
        let output = Command::new(&program).arg("-h").output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).contains("proxy_protocol").then_some(())?;
    }
    Some(program)
}

impl Contestant {
    /// One that starts `program` with `arguments`, between which there are spaces.
    pub(crate) fn new(name: &'static str, mode: Mode, vps: &'static str, program: PathBuf, arguments: &str) -> Self {
        Self { name, mode, vps, program, arguments: arguments.split(' ').map(str::to_owned).collect() }
    }

    /// The helper as a program to start, with nothing of the user's in its environment.
    pub(crate) fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().env("HOME", home);
        command
    }

    /// The helper as ssh's ProxyCommand; nothing when there is none.
    pub(crate) fn proxy_command(&self) -> Option<String> {
        let program = self.program.display();
        (self.mode != Mode::Direct).then(|| format!("'{program}' {}", self.arguments.join(" ")).replace('%', "%%"))
    }
}
