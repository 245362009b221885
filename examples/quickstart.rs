//! The whole path on one machine: `kohakuriver vps connect` → ssh → `kohakuriver-proxy` → `kohakuriver-gateway` → a
//! real sshd that plays the VPS. Everything is on loopback, on free ports, in one temporary folder, with new keys. However
//! the run ends, it leaves no process and no file behind.
//!
//! `contrib/quickstart.sh` builds the programs and runs this example. In a terminal it opens a shell on the "VPS";
//! otherwise it runs one command there.
//!
//! Read `run` first: each step is one function. `quickstart/vps.rs` starts the sshd, `quickstart/cleanup.rs` ends
//! everything.

#[path = "quickstart/cleanup.rs"]
mod cleanup;
#[path = "quickstart/vps.rs"]
mod vps;

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kohakuriver_proxy::api::Client;
use kohakuriver_proxy::settings::env_vars;
use kohakuriver_proxy::target::{TaskId, VpsRef};

use cleanup::{CHECK_INTERVAL, Interrupt, Process, temporary_folder, wait_for_orphans};
use vps::Vps;

/// A task id like those of a Host.
const VPS: &str = "7323718749301768192";
/// The command on the VPS when there is no terminal for a shell.
const COMMAND: &str = "echo \"hello from the VPS: I am $(id -un), and this session is $SSH_CONNECTION\"";
/// How long the gateway may take to start.
const START_LIMIT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let interrupt = match Interrupt::watch() {
        Ok(interrupt) => interrupt,
        Err(error) => return report(&error),
    };
    // `run` cleans up before it returns, and only then is its error printed.
    let outcome = run(&interrupt);
    wait_for_orphans();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupt.signal() != 0 => ExitCode::from(128 + u8::try_from(interrupt.signal()).unwrap_or(0)),
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "quickstart: {error:#}");
    ExitCode::FAILURE
}

fn run(interrupt: &Interrupt) -> Result<()> {
    let programs = Programs::find()?;
    // Orphaned grandchildren become our children, for `wait_for_orphans`.
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let folder = temporary_folder()?;

    // The VPS: a real sshd with its own host key. It accepts `user_key`.
    make_key(&folder.path().join("host_key"))?;
    make_key(&folder.path().join("user_key"))?;
    let vps = Vps::start(&programs.sshd, folder.path())?;

    // The gateway. Without a Host, it reads VPSes from a file with the objects of a Host's API.
    let inventory = folder.path().join("inventory.json");
    fs::write(&inventory, inventory_of(vps.port))?;
    let gateway = Gateway::start(&programs.gateway, &inventory, folder.path(), interrupt)?;

    // The library's client asks the gateway's read-only API for the VPS, as `vps connect` does.
    say(&format!("VPS {VPS} is {}", where_is_it(gateway.api)?))?;

    // The user's command: a shell if there is a terminal, otherwise one command.
    let shell = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if shell {
        say("here is a shell on it; `exit` ends everything")?;
    }
    let status = connect(&programs.kohakuriver, folder.path(), &gateway, shell)?.wait(interrupt)?;
    interrupt.check()?;
    // The status of a shell is that of its last command. 255 is ssh's own.
    let connected = if shell { !matches!(status.code(), None | Some(255)) } else { status.success() };
    ensure!(connected, "`kohakuriver vps connect` ended with {status}{}", logs(folder.path()));
    let mut stdout = std::io::stdout();
    writeln!(stdout, "quickstart: connected to VPS {VPS} through the gateway").context("cannot write to stdout")
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stderr(), "quickstart: {text}").context("cannot write to stderr")
}

/// The objects of a Host's API for one Runner with one VPS.
fn inventory_of(ssh_port: u16) -> String {
    format!(
        r#"{{
  "nodes": [ {{ "hostname": "node1", "url": "http://127.0.0.1:8001", "status": "online" }} ],
  "vps":   [ {{ "task_id": "{VPS}", "name": "quickstart", "status": "running",
               "assigned_node": "node1", "ssh_port": {ssh_port} }} ]
}}
"#
    )
}

fn where_is_it(api: SocketAddr) -> Result<String> {
    let id = TaskId::parse(VPS).context("the VPS's id is not a task id")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::new(&format!("http://{api}"), None)?;
        match client.find(&VpsRef::Id(id), None).await?.reach {
            Ok(reach) => Ok(format!("on Runner {}, port {}", reach.node, reach.port)),
            Err(refusal) => bail!(refusal.title(VPS)),
        }
    })
}

/// Starts `kohakuriver vps connect`, which becomes ssh. No file of the user is read or written: our programs get the
/// temporary folder as their home directory, and ssh, which ignores HOME, gets no configuration.
fn connect(kohakuriver: &Path, folder: &Path, gateway: &Gateway, shell: bool) -> Result<Process> {
    let mut command = Command::new(kohakuriver);
    command
        .args(["--host", "127.0.0.1", "--port", &gateway.api.port().to_string()])
        .args(["--proxy", &gateway.proxy.to_string()])
        .args(["vps", "connect", VPS, "--user", &login_name()?, "--key"])
        .arg(folder.join("user_key"))
        .args(["--", "-F", "none"]);
    if !shell {
        command.arg(COMMAND).stdin(Stdio::null());
    }
    command.env("HOME", folder);
    for name in [
        "SSH_AUTH_SOCK",
        "XDG_CONFIG_HOME",
        env_vars::KOHAKURIVER_HOST,
        env_vars::KOHAKURIVER_PORT,
        env_vars::KOHAKURIVER_SSH_PROXY_PORT,
        env_vars::KOHAKURIVER_TOKEN,
        env_vars::KOHAKURIVER_LOG_FILE,
    ] {
        command.env_remove(name);
    }
    Process::start(&mut command)
}

/// The programs of this package, which cargo puts side by side, and the system's sshd.
struct Programs {
    kohakuriver: PathBuf,
    gateway: PathBuf,
    sshd: PathBuf,
}

impl Programs {
    fn find() -> Result<Self> {
        let this = std::env::current_exe()?;
        let built = this.ancestors().nth(2).context("this example does not lie in cargo's target folder")?;
        for name in ["kohakuriver", "kohakuriver-gateway", "kohakuriver-proxy"] {
            ensure!(built.join(name).exists(), "{name} is not built: run `cargo build --bins`");
        }
        let folders = ["/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin"];
        let sshd = folders.iter().map(|folder| Path::new(folder).join("sshd")).find(|path| path.exists());
        let sshd = sshd.context("there is no sshd: install OpenSSH's server (`sudo apt install openssh-server`)")?;
        Ok(Self { kohakuriver: built.join("kohakuriver"), gateway: built.join("kohakuriver-gateway"), sshd })
    }
}

fn make_key(path: &Path) -> Result<()> {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "quickstart", "-f"]).arg(path);
    let output = keygen.output().context("cannot run ssh-keygen")?;
    ensure!(output.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn login_name() -> Result<String> {
    let output = Command::new("id").arg("-un").output().context("cannot run `id -un`")?;
    ensure!(output.status.success(), "`id -un` ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// `kohakuriver-gateway`, running.
struct Gateway {
    proxy: SocketAddr,
    api: SocketAddr,
    _process: Process,
}

impl Gateway {
    fn start(program: &Path, inventory: &Path, folder: &Path, interrupt: &Interrupt) -> Result<Self> {
        let log = folder.join("gateway.log");
        let mut command = Command::new(program);
        command
            .arg("--inventory")
            .arg(inventory)
            .args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--admin", "off"])
            .args(["--audit-log", "off"])
            .stdin(Stdio::null())
            .stderr(File::create(&log)?);
        let mut process = Process::start(&mut command)?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let text = fs::read_to_string(&log)?;
            // The gateway prints its addresses once it listens. Port 0 means any free port.
            if let (Some(proxy), Some(api)) = (address(&text, "listening on "), address(&text, "the Host API on ")) {
                return Ok(Self { proxy, api, _process: process });
            }
            if let Some(status) = process.0.try_wait()? {
                bail!("the gateway ended with {status}: {}", text.trim());
            }
            ensure!(Instant::now() < deadline, "the gateway does not start: {}", text.trim());
            interrupt.check()?;
            thread::sleep(CHECK_INTERVAL);
        }
    }
}

/// The address behind `words` in a complete line of `text`.
fn address(text: &str, words: &str) -> Option<SocketAddr> {
    let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    complete.filter_map(|line| line.split_once(words)).find_map(|(_, address)| address.trim().parse().ok())
}

/// The logs of the servers, for an error message.
fn logs(folder: &Path) -> String {
    let log = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    format!("\ngateway:\n{}\nsshd:\n{}", log("gateway.log").trim_end(), log("sshd.log").trim_end())
}
