//! The VPS of the quickstart: a real sshd on loopback.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, ensure};

use crate::cleanup::{EmptyFolder, Process};
use crate::{login_name, report};

/// The empty directory that an sshd started by root needs on Debian and Ubuntu.
const SSHD_RUN_FOLDER: &str = "/run/sshd";

/// The sshd that plays the VPS. Our listener starts one sshd for each connection, as systemd's `ssh.socket` does. So the
/// port is known before the first connection, and each sshd is our child.
pub(crate) struct Vps {
    pub(crate) port: u16,
    ending: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
    sessions: Arc<Mutex<Vec<Process>>>,
    _run_folder: Option<EmptyFolder>,
}

impl Vps {
    pub(crate) fn start(sshd: &Path, folder: &Path) -> Result<Self> {
        let config = folder.join("sshd_config");
        fs::write(&config, sshd_config(folder)?)?;
        let root = rustix::process::geteuid().is_root();
        let run_folder = if root { EmptyFolder::create_missing(Path::new(SSHD_RUN_FOLDER))? } else { None };
        let test = Command::new(sshd).args(["-t", "-f"]).arg(&config).output().context("cannot run sshd")?;
        ensure!(test.status.success(), "sshd: {}", String::from_utf8_lossy(&test.stderr).trim());

        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (ending, sessions) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ended, ours) = (Arc::clone(&ending), Arc::clone(&sessions));
        let (sshd, log) = (sshd.to_owned(), folder.join("sshd.log"));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let session = serve(&sshd, &config, &log, stream);
                match session {
                    Ok(session) => ours.lock().unwrap_or_else(PoisonError::into_inner).push(session),
                    Err(error) => drop(report(&error)),
                }
            }
        });
        Ok(Self { port, ending, accepting: Some(accepting), sessions, _run_folder: run_folder })
    }
}

impl Drop for Vps {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // A connection wakes the listener, which then sees that it has to end.
        let woken = TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            let _ = accepting.join();
        }
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Starts an sshd for one connection (`-i`).
fn serve(sshd: &Path, config: &Path, log: &Path, stream: TcpStream) -> Result<Process> {
    let output = stream.try_clone()?;
    let mut command = Command::new(sshd);
    command.arg("-i").arg("-f").arg(config).arg("-E").arg(log);
    command.stdin(OwnedFd::from(stream)).stdout(OwnedFd::from(output)).stderr(Stdio::null());
    Process::start(&mut command)
}

fn sshd_config(folder: &Path) -> Result<String> {
    let folder = folder.to_str().context("the temporary folder's path is not UTF-8")?;
    // sshd without PAM refuses a locked account (`!` in /etc/shadow), such as root's on Ubuntu. PAM needs root's rights and
    // things that a container doesn't have. So use PAM for a locked account only.
    let login = login_name()?;
    let shadow = fs::read_to_string("/etc/shadow").unwrap_or_default();
    let locked = shadow.lines().any(|line| line.starts_with(&format!("{login}:!")));
    Ok(format!(
        "HostKey \"{folder}/host_key\"\n\
         AuthorizedKeysFile \"{folder}/user_key.pub\"\n\
         StrictModes no\n\
         UsePAM {}\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\n\
         PrintMotd no\n\
         PidFile none\n",
        if locked { "yes" } else { "no" }
    ))
}
