//! A real sshd in the part of the VPS: own host key, own user key, on a free port of 127.0.0.1.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::home::Home;
use super::run::{DEADLINE, Process, Run};
use super::tools::{tool, user};

/// Key exchanges that take little of the processor. OpenSSH's own first choice, sntrup761, took a fifth of the time of all
/// tests.
const KEY_EXCHANGES: &str = "KexAlgorithms curve25519-sha256,ecdh-sha2-nistp256";

/// How often a start is tried: between finding a free port and taking it, somebody else may take it.
const TRIES: usize = 8;

pub(crate) struct Sshd {
    pub(crate) port: u16,
    /// The user's private key, mode 0600.
    pub(crate) key: PathBuf,
    host_key: String,
    process: Process,
    home: Home,
}

impl Sshd {
    pub(crate) fn start() -> Self {
        Self::start_with(KEY_EXCHANGES)
    }

    /// With its own choice of key exchanges, and with `settings`, which win over the usual ones: an sshd takes the first of
    /// two.
    pub(crate) fn start_with(settings: &str) -> Self {
        let home = Home::new();
        let host_key = home.join("host_key");
        for path in [&host_key, &home.join("user_key")] {
            ssh_keygen(path);
        }
        fs::copy(home.join("user_key.pub"), home.join("authorized_keys")).unwrap();
        if rustix::process::geteuid().is_root() {
            // sshd wants it for its separation of privileges; Debian makes it when the service starts.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        Self::serve(home, settings)
    }

    /// Another one with the same keys, on another port.
    pub(crate) fn moved(&self) -> Self {
        let home = Home::new();
        for name in ["host_key", "host_key.pub", "user_key", "user_key.pub", "authorized_keys"] {
            fs::copy(self.home.join(name), home.join(name)).unwrap();
        }
        Self::serve(home, KEY_EXCHANGES)
    }

    fn serve(home: Home, settings: &str) -> Self {
        let key = home.join("user_key");
        let host_key = fs::read_to_string(home.join("host_key.pub")).unwrap();
        for _ in 0..TRIES {
            let port = free_port();
            let config = home.write("sshd_config", format!("{settings}\n{}", config(&home, port)));
            let process = Run::new(tool("sshd"), &home).args(["-D", "-e", "-f"]).arg(config).start();
            let listening = format!("Server listening on 127.0.0.1 port {port}.");
            let ready =
                process.try_wait_for(DEADLINE, |seen| String::from_utf8_lossy(&seen.stderr).find(&listening).map(drop));
            if ready.is_ok() {
                return Self { port, key, host_key, process, home };
            }
            let stderr = process.finish().stderr;
            assert!(stderr.contains("Address already in use"), "sshd does not start:\n{stderr}");
        }
        panic!("no free port for sshd after {TRIES} tries");
    }

    /// A known_hosts line that has this server's key under `name`.
    pub(crate) fn known_as(&self, name: &str) -> String {
        format!("{name} {}", self.host_key)
    }

    /// Puts a copy of the user's key to `path`, mode 0600.
    pub(crate) fn copy_key_to(&self, path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(&self.key, path).unwrap();
    }

    /// Waits until it has taken a connection, by its own log.
    #[track_caller]
    pub(crate) fn was_connected_to(&self) {
        self.process.wait_for_stderr("Connection from 127.0.0.1");
    }

    /// Its public host key's file.
    pub(crate) fn host_key_file(&self) -> PathBuf {
        self.home.join("host_key.pub")
    }

    /// How many connections it has taken, by its own log.
    pub(crate) fn connections(&self) -> usize {
        let counted = |seen: &super::run::Seen| {
            Some(String::from_utf8_lossy(&seen.stderr).matches("Connection from 127.0.0.1").count())
        };
        self.process.wait_for("sshd's log", Duration::ZERO, counted)
    }
}

fn config(home: &Home, port: u16) -> String {
    let folder = home.path().display();
    // root's password is often locked with `!`, and sshd turns such accounts away unless PAM decides.
    let locked = format!("{}:!", user());
    let locked = fs::read_to_string("/etc/shadow").is_ok_and(|text| text.lines().any(|line| line.starts_with(&locked)));
    let pam = if locked { "yes" } else { "no" };
    let path = std::env::var("PATH").unwrap_or_default();
    let mut config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n\
         PidFile none\nLogLevel VERBOSE\nStrictModes no\nUsePAM {pam}\nPermitRootLogin prohibit-password\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitUserRC no\nPrintMotd no\n\
         PrintLastLog no\nX11Forwarding yes\nMaxStartups 200\nMaxSessions 50\nSubsystem sftp internal-sftp\n\
         SetEnv \"PATH={path}\" \"HOME={folder}\"\n"
    );
    // From 9.8 on, sshd blocks an address from which clients leave before a login, as some tests do on purpose.
    if *SSH_VERSION >= (9, 8) {
        config += "PerSourcePenalties no\n";
    }
    config
}

static SSH_VERSION: LazyLock<(u32, u32)> = LazyLock::new(|| {
    let output = Command::new(tool("ssh")).arg("-V").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.strip_prefix("OpenSSH_").and_then(|rest| rest.split_once('.'));
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let parsed = version.and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
    parsed.unwrap_or_else(|| panic!("ssh -V says {text:?}"))
});

/// Makes a key pair without a passphrase.
pub(crate) fn ssh_keygen(path: &Path) {
    let output = Command::new(tool("ssh-keygen")).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).output();
    let output = output.unwrap();
    assert!(output.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
}

/// A port that nothing listens on right now. No other test gets it: some servers share a port with each other
/// (SO_REUSEPORT), and neither would notice. It is below those that Linux gives to outgoing connections, so none of them
/// takes it before its server does.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Another process of tests begins elsewhere.
    let first = std::process::id().wrapping_mul(997);
    loop {
        let next = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (next % 22_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
