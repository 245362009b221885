//! Whether a tunnel opens, and whether an sshd speaks at its end.
//!
//! The helper opens it, as it would for ssh, and leaves it as it would: with the farewell that an older Host needs.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use super::program;
use crate::failure::Failure;
use crate::settings::env_vars::KOHAKURIVER_LOG_FILE;
use crate::ssh::options::host_name;
use crate::text::excerpt;

/// How long the helper has for a tunnel: an older Host may take 15 s to say no.
const OPEN_LIMIT: Duration = Duration::from_secs(20);
/// How long an sshd has for its first line, once the tunnel is open.
const BANNER_LIMIT: Duration = Duration::from_secs(8);
/// How long the helper has to leave.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// Most bytes before the banner that are looked at (RFC 4253 §4.2 lets a server say other lines first).
const MAX_BANNER: usize = 8 * 1024;
/// What the helper says with `-v` once the tunnel is open.
const OPENED: &str = "is open";

pub(super) const CHECKS: &[Check] = &[
    Check { name: "tunnel", of_vps: true, examine: tunnel },
    Check { name: "ssh-server", of_vps: true, examine: ssh_server },
];

fn tunnel(case: &mut Case) -> (String, Verdict) {
    let proxy = case.proxy().unwrap_or_default();
    let tried = format!("the helper to VPS {} through {proxy}", case.vps_name());
    let why = match () {
        () if !case.gateway => "no SSH proxy answers",
        () if !case.reachable => "the VPS can't be reached, by the Host's word",
        () if case.route.is_none() => "there is no helper",
        () => "",
    };
    let (Some(id), Some(route), "") = (case.id(), &case.route, why) else {
        return (tried, Verdict::Skipped(why.to_owned()));
    };
    let mut command = Command::new(&route.proxy_program);
    command.args(["--verbose", "--proxy", &proxy, "--connect-timeout", &OPEN_LIMIT.as_secs().to_string()]);
    command.arg(host_name(id)).env(KOHAKURIVER_LOG_FILE, "/dev/null");
    let status = format!("kohakuriver vps status {id}");
    let opening = match open(&mut command) {
        Ok(opening) => opening,
        Err(error) => {
            let failure = Failure::new(format!("cannot run {}", route.proxy_program.display())).because(&error);
            return (tried, Verdict::wrong(&failure, status));
        }
    };
    let failure = opening.failure.clone();
    let verdict = if opening.opened {
        Verdict::Fine("open".to_owned())
    } else {
        Verdict::wrong(&failure.clone().unwrap_or_else(|| Failure::new("the helper ended without a word")), status)
    };
    if opening.opened {
        case.banner = Some(match (opening.banner, failure) {
            (Some(banner), _) => Ok(banner),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(mute(id, &proxy)),
        });
    }
    (tried, verdict)
}

fn ssh_server(case: &mut Case) -> (String, Verdict) {
    let tried = format!("the first line of VPS {}'s sshd", case.vps_name());
    let verdict = match &case.banner {
        None => Verdict::Skipped("no tunnel is open".to_owned()),
        Some(Ok(banner)) => Verdict::Fine(banner.clone()),
        Some(Err(failure)) => Verdict::wrong(failure, format!("kohakuriver vps status {}", case.vps_name())),
    };
    (tried, verdict)
}

fn mute(id: crate::target::TaskId, proxy: &str) -> Failure {
    Failure::new(format!("VPS {id} accepted the connection, but its sshd says nothing"))
        .cause(format!("no byte came through {proxy} within {} s", BANNER_LIMIT.as_secs()))
        .hint(format!(
            "it may be paused, still booting, or have no sshd in its image: see `kohakuriver vps status {id}`"
        ))
}

/// What the helper made of the tunnel.
struct Opening {
    opened: bool,
    banner: Option<String>,
    failure: Option<Failure>,
}

fn open(command: &mut Command) -> std::io::Result<Opening> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // The helper's own limit comes first; this one is for a helper that hangs.
    let mut deadline = Instant::now() + OPEN_LIMIT + LEAVE_LIMIT;
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut log) = (Vec::new(), Vec::new());
    let mut opened = false;
    loop {
        let done = program::gather(out.as_mut(), err.as_mut(), deadline, |from_out, from_err| {
            said.extend_from_slice(from_out);
            log.extend_from_slice(from_err);
            let now_open = !opened && has_line(&log, OPENED);
            !now_open && banner(&said).is_none() && said.len() < MAX_BANNER
        });
        done?;
        if !opened && has_line(&log, OPENED) {
            opened = true;
            deadline = deadline.min(Instant::now() + BANNER_LIMIT);
            if banner(&said).is_none() {
                continue;
            }
        }
        break;
    }
    // Its reader goes, so the helper leaves the tunnel in its own way. Its last words are its own.
    drop((out.take(), child.stdin.take()));
    let left_by = Instant::now() + LEAVE_LIMIT;
    let more = program::gather(None::<std::process::ChildStdout>, err.as_mut(), left_by, |_, from_err| {
        log.extend_from_slice(from_err);
        log.len() < MAX_BANNER * 2
    });
    more?;
    let status = program::end(child, left_by);
    let log = String::from_utf8_lossy(&log);
    let banner = banner(&said);
    let failed = banner.is_none() && status.is_some_and(|status| !status.success());
    Ok(Opening { opened: opened || banner.is_some(), banner, failure: failed.then(|| failure(&log)).flatten() })
}

fn has_line(log: &[u8], end: &str) -> bool {
    String::from_utf8_lossy(log).lines().any(|line| line.ends_with(end))
}

/// The server's identification, which may come behind other lines.
fn banner(said: &[u8]) -> Option<String> {
    let whole = &said[..said.iter().rposition(|&byte| byte == b'\n')?];
    String::from_utf8_lossy(whole).lines().find(|line| line.starts_with("SSH-")).map(excerpt)
}

/// The failure that the helper told last, read back into its parts.
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

    #[test]
    fn the_helpers_last_words_are_read_back() {
        let told = Failure::new("VPS 42 is paused").cause("it says so").cause("twice").hint("resume it with `x`");
        let log = format!("kohakuriver-proxy: connected to a\n{}", told.render("kohakuriver-proxy"));
        assert_eq!(failure(&log), Some(told));
        assert_eq!(failure("noise\n"), None);
    }

    #[test]
    fn the_banner_is_the_first_line_that_is_one() {
        assert_eq!(banner(b"welcome\r\nSSH-2.0-x y\r\n"), Some("SSH-2.0-x y".to_owned()));
        assert_eq!(banner(b"SSH-2.0-half"), None);
        assert_eq!(banner(b"nothing\n"), None);
    }
}
