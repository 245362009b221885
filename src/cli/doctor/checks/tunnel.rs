//! Whether a tunnel opens, and whether an sshd answers at its end.
//!
//! The helper opens the tunnel, as it does for ssh, and leaves it in the same way: an older Host needs the helper's
//! goodbye.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::ssh_proxy;
use crate::api::Reach;
use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::cli::programs::program;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::settings::env_vars::KOHAKURIVER_LOG_FILE;
use crate::ssh::options::Route;
use crate::sys;
use crate::text::excerpt;

/// How long the helper has to open the tunnel: an older Host may take 15 s to refuse.
const OPEN_LIMIT: Duration = Duration::from_secs(20);
/// How long an sshd has to send its first line, once the tunnel is open.
const BANNER_LIMIT: Duration = Duration::from_secs(8);
/// How long the helper has to leave.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// Most bytes that are read in search of the banner (RFC 4253 §4.2 lets a server send other lines first).
const MAX_BANNER: usize = 8 * 1024;
/// The end of the line that the helper prints with `-v` once the tunnel is open.
const OPENED: &str = "is open";
/// The end of its line about a tunnel that survives its connection. The number of seconds stands before it.
const SURVIVES: &str = " s without a connection";

pub(super) struct Tunnel<'a> {
    pub(super) settings: &'a Given<Settings>,
    /// The VPS, for messages.
    pub(super) name: &'a str,
    pub(super) proxy: &'a Given<()>,
    pub(super) reach: &'a Given<Reach>,
    pub(super) route: &'a Given<Route>,
}

/// A tunnel that opened.
pub(super) struct Opened {
    /// The banner of the VPS's sshd, or why none came.
    banner: Result<String, Failure>,
}

impl Check for Tunnel<'_> {
    const NAME: &'static str = "tunnel";
    const NEEDS_VPS: bool = true;
    type Gives = Opened;

    fn tried(&self) -> String {
        let proxy = self.settings.as_ref().map(ssh_proxy::address).unwrap_or_default();
        format!("the helper to VPS {} through {proxy}", self.name)
    }

    fn examine(&self) -> Result<Examined<Opened>, Verdict> {
        (*self.proxy)?;
        let (settings, reach, route) = (self.settings.as_ref()?, self.reach.as_ref()?, self.route.as_ref()?);
        let (id, proxy) = (reach.id, ssh_proxy::address(settings));
        let mut command = Command::new(&route.proxy_program);
        command.args(route.helper_arguments()).envs(route.variables.clone());
        command.args(["--verbose", "--no-disconnect", "--connect-timeout", &OPEN_LIMIT.as_secs().to_string()]);
        command.arg(route.cluster.host_name(id)).env(KOHAKURIVER_LOG_FILE, sys::NULL_FILE);
        let wait = format!("kohakuriver vps connect {id} --wait");
        let opening = open(&mut command).map_err(|error| {
            let failure = Failure::new(format!("cannot run {}", route.proxy_program.display())).because(&error);
            Verdict::wrong(&failure, wait.clone())
        })?;
        if !opening.opened {
            let failure = opening.failure.unwrap_or_else(|| Failure::new("the helper failed without a message"));
            return Err(Verdict::wrong(&failure, wait));
        }
        let banner = match (opening.banner, opening.failure) {
            (Some(banner), _) => Ok(banner),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(Failure::new(format!("VPS {id} accepted the connection, but its sshd sends nothing"))
                .cause(format!("no byte came through {proxy} within {} s", BANNER_LIMIT.as_secs()))
                .hint(format!("the VPS may be paused, still booting, or have no sshd in its image: `{wait}` tells"))),
        };
        let lasts = match opening.survives {
            _ if !route.resume.is_on(route.fdpass) => route.resume.explained(route.fdpass),
            Some(seconds) => format!("tunnels survive {seconds} s without a connection"),
            None => "tunnels end with their connection, since this proxy can't resume them".to_owned(),
        };
        Ok(Examined::giving(Verdict::Fine(format!("open; {lasts}")), Opened { banner }))
    }
}

pub(super) struct SshServer<'a> {
    /// The VPS, for messages.
    pub(super) name: &'a str,
    pub(super) tunnel: &'a Given<Opened>,
}

impl Check for SshServer<'_> {
    const NAME: &'static str = "ssh-server";
    const NEEDS_VPS: bool = true;
    type Gives = ();

    fn tried(&self) -> String {
        format!("the first line from the sshd of VPS {}", self.name)
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        match &self.tunnel.as_ref()?.banner {
            Ok(banner) => Ok(Examined::giving(Verdict::Fine(banner.clone()), ())),
            Err(failure) => Err(Verdict::wrong(failure, format!("kohakuriver vps connect {} --wait", self.name))),
        }
    }
}

/// The result of the helper.
struct Opening {
    opened: bool,
    /// For how many seconds the tunnel survives without a connection, if it does.
    survives: Option<u64>,
    banner: Option<String>,
    failure: Option<Failure>,
}

fn open(command: &mut Command) -> io::Result<Opening> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // The helper has a limit of its own, which is shorter. This one is for a helper that hangs.
    let mut deadline = Instant::now() + OPEN_LIMIT + LEAVE_LIMIT;
    let mut pipes = program::pipes(&mut child)?;
    let (mut said, mut log) = (Vec::new(), Vec::new());
    let mut opened = false;
    loop {
        program::gather(&mut pipes, deadline, |pipe, bytes| {
            if pipe == 0 { &mut said } else { &mut log }.extend_from_slice(bytes);
            let now_open = !opened && has_line(&log, OPENED);
            !now_open && banner(&said).is_none() && said.len() < MAX_BANNER
        })?;
        if !opened && has_line(&log, OPENED) {
            opened = true;
            deadline = deadline.min(Instant::now() + BANNER_LIMIT);
            if banner(&said).is_none() {
                continue;
            }
        }
        break;
    }
    // Closed pipes make the helper leave the tunnel. Its last messages are still read.
    drop((pipes[0].take(), child.stdin.take()));
    let left_by = Instant::now() + LEAVE_LIMIT;
    program::gather(&mut pipes, left_by, |_, bytes| {
        log.extend_from_slice(bytes);
        log.len() < MAX_BANNER * 2
    })?;
    let status = program::end(child, left_by);
    let log = String::from_utf8_lossy(&log);
    let banner = banner(&said);
    let failed = banner.is_none() && status.is_some_and(|status| !status.success());
    Ok(Opening {
        opened: opened || banner.is_some(),
        survives: log.lines().find_map(survives),
        banner,
        failure: failed.then(|| failure(&log)).flatten(),
    })
}

fn has_line(log: &[u8], end: &str) -> bool {
    String::from_utf8_lossy(log).lines().any(|line| line.ends_with(end))
}

fn survives(line: &str) -> Option<u64> {
    line.strip_suffix(SURVIVES)?.rsplit(' ').next()?.parse().ok()
}

/// The server's banner. Other lines may precede it.
fn banner(said: &[u8]) -> Option<String> {
    let whole = &said[..said.iter().rposition(|&byte| byte == b'\n')?];
    String::from_utf8_lossy(whole).lines().find(|line| line.starts_with("SSH-")).map(excerpt)
}

/// The last failure that the helper printed.
fn failure(log: &str) -> Option<Failure> {
    let mut failure: Option<Failure> = None;
    for line in log.lines() {
        failure = match (failure, line) {
            (Some(failure), line) if line.starts_with("  caused by: ") => Some(failure.cause(&line[13..])),
            (Some(failure), line) if line.starts_with("  hint: ") => Some(failure.hint(&line[8..])),
            (failure, line) => match line.strip_prefix("kohakuriver-proxy: ") {
                Some(what) => Some(Failure::new(what)),
                None => failure,
            },
        };
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [`open`] with a shell script in place of the helper.
    fn opened_by(script: &str) -> Opening {
        open(Command::new("/bin/sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn a_tunnel_is_open_when_the_helper_says_so_or_a_banner_comes() {
        let failure = "echo 'kohakuriver-proxy: refused' >&2; exit 1";
        let refused = opened_by(failure);
        assert_eq!((refused.opened, refused.banner, refused.failure), (false, None, Some(Failure::new("refused"))));

        let broken = opened_by(&format!("echo 'the tunnel is open' >&2; {failure}"));
        assert_eq!((broken.opened, broken.banner, broken.failure), (true, None, Some(Failure::new("refused"))));

        for script in ["echo SSH-2.0-x", "echo 'the tunnel is open' >&2; echo hello; echo SSH-2.0-x; exec cat"] {
            let works = opened_by(script);
            assert_eq!((works.opened, works.banner.as_deref(), works.failure), (true, Some("SSH-2.0-x"), None));
        }

        // A message that the helper prints when it leaves is no failure of a tunnel that worked.
        let left = opened_by(&format!("echo SSH-2.0-x; {failure}"));
        assert_eq!((left.opened, left.failure), (true, None));

        let silent = opened_by("exit 1");
        assert_eq!((silent.opened, silent.banner, silent.failure), (false, None, None));
    }

    #[test]
    fn the_last_failure_of_the_helper_is_read() {
        let printed = Failure::new("VPS 42 is paused").cause("it says so").cause("twice").hint("resume it with `x`");
        let log = format!("kohakuriver-proxy: connected to a\n{}", printed.render("kohakuriver-proxy"));
        assert_eq!(failure(&log), Some(printed));
        assert_eq!(failure("noise\n"), None);
    }

    #[test]
    fn other_lines_may_precede_the_banner() {
        assert_eq!(banner(b"welcome\r\nSSH-2.0-x y\r\n"), Some("SSH-2.0-x y".to_owned()));
        assert_eq!(banner(b"SSH-2.0-half"), None);
        assert_eq!(banner(b"nothing\n"), None);
    }
}
