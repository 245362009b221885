//! `kohakuriver vps forward`: ports of a VPS on this machine, for as long as the command runs.
//!
//! The system's ssh forwards them. It runs a command of ours once it listens (LocalCommand), so that the user is told. A
//! connection that is lost is made again, as long as the Host says that the VPS can be reached.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::api::{ApiError, Located, refused};
use crate::cli::host::{block_on, client, load_settings, vps_cache};
use crate::cli::programs::host_keys;
use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::shell::plain_shell;
use crate::cli::terminal::{interrupt, ui};
use crate::cli::vps::shared::login::{LoginFlags, argv};
use crate::cluster::InMessages;
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::settings::{Flags, Settings};
use crate::ssh::command::SshCommand;
use crate::target::{TaskId, VpsRef};

/// The pauses before new attempts; the last one repeats.
const PAUSES: [u64; 5] = [1, 2, 4, 8, 15];
/// The messages of ssh about a login that would fail again at the next attempt.
const REFUSALS: [&str; 3] = ["Host key verification failed", "KnownHostsCommand failed", "Permission denied ("];

/// Time for a Ctrl-C that has ended ssh.
const AFTER_SSH: Duration = Duration::from_millis(100);

#[derive(clap::Args, Debug)]
#[command(after_help = "\
A port of localhost on this machine leads to a port of localhost on the VPS. If the connection is lost, the command \
connects again, until Ctrl-C or until the Host says that the VPS can't be reached. With --wait, it also waits while the \
VPS is starting again.

Exit status:
  0      Ctrl-C ended it
  1      The VPS can't be reached, or a port of this machine can't be used
  2      Wrong usage, or unusable settings
  255    ssh failed before it forwarded anything

Examples:
  kohakuriver vps forward trainer 8888
  kohakuriver vps forward trainer 9000:6006 5432")]
pub(crate) struct Arguments {
    /// Task id or name of the VPS
    #[arg(value_name = "VPS", add = vps_cache::candidates())]
    pub(super) vps: String,
    /// Port of this machine, then that of the VPS if it is different
    #[arg(value_name = "PORT[:PORT]", required = true, value_parser = ports)]
    ports: Vec<(u16, u16)>,
    #[command(flatten)]
    login: LoginFlags,
}

fn ports(text: &str) -> Result<(u16, u16), &'static str> {
    const WRONG: &str = "write it as 8888, or as 9000:8888 for port 9000 here and port 8888 there";
    let (here, there) = text.split_once(':').unwrap_or((text, text));
    match (here.parse(), there.parse()) {
        (Ok(here @ 1..), Ok(there @ 1..)) => Ok((here, there)),
        _ => Err(WRONG),
    }
}

pub(super) fn run(flags: &Flags, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let settings = load_settings(flags)?;
    let mut named = HashSet::new();
    if let Some((twice, _)) = arguments.ports.iter().find(|(here, _)| !named.insert(here)) {
        return Err(Failure::usage(format!("port {twice} of this machine is named twice")).hint("name each once"));
    }
    let (command, _) = arguments.login.command(&settings, &arguments.vps, ssh_args(&arguments.ports))?;
    for &(here, there) in &arguments.ports {
        check_free(command.id, here, there)?;
    }
    host_keys::prepare(&command.route.known_hosts)?;
    block_on(async {
        // Ctrl-C is the usual end of this command.
        interrupt::unless_raised(forward(&settings, arguments, &command)).await.unwrap_or(Ok(ExitCode::SUCCESS))
    })
}

/// ssh would only say that the port is taken. This failure also names a command that helps.
fn check_free(vps: TaskId, here: u16, there: u16) -> Result<(), Failure> {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, here)).err();
    taken.map_or(Ok(()), |error| {
        let failure = Failure::new(format!("cannot listen on port {here} of this machine")).because(&error);
        Err(failure
            .hint(format!("take another one, for example `{PROGRAM} vps forward {vps} {}:{there}`", other(here))))
    })
}

/// A port that needs no privileges.
fn other(port: u16) -> u16 {
    if port < 1024 { port + 8000 } else { port.checked_add(1).unwrap_or(8888) }
}

fn ssh_args(ports: &[(u16, u16)]) -> Vec<OsString> {
    let options = [
        "ExitOnForwardFailure=yes",
        // The user's ssh_config may set it. ssh would then listen nowhere, without a word.
        "ClearAllForwardings=no",
        // A connection of its own: one that is shared would outlive this command.
        "ControlMaster=no",
        "ControlPath=none",
        "PermitLocalCommand=yes",
        "LocalCommand=echo",
    ];
    let forwards = ports.iter().flat_map(|(here, there)| ["-L".into(), format!("localhost:{here}:localhost:{there}")]);
    let words = options.into_iter().flat_map(|option| ["-o".to_owned(), option.to_owned()]).chain(forwards);
    words.chain(["-N".to_owned()]).map(OsString::from).collect()
}

/// Forwards until the VPS can no longer be reached, or ssh fails before it has listened once. ssh says why.
async fn forward(settings: &Settings, arguments: &Arguments, command: &SshCommand) -> Result<ExitCode, Failure> {
    let argv = argv(command)?;
    let client = client(settings)?;
    let (mut has_listened, mut failed) = (false, 0);
    loop {
        let ended = run_ssh(&argv, || announce(arguments)).await?;
        // Ctrl-C ends ssh as well, often before it reaches this process, which then must not call it a loss.
        tokio::time::sleep(AFTER_SSH).await;
        if ended.has_listened {
            (has_listened, failed) = (true, 0);
        } else if !has_listened || ended.is_refused {
            return Ok(ExitCode::from(255));
        }
        let pause = PAUSES[failed.min(PAUSES.len() - 1)];
        failed += 1;
        say(&format!("the connection to VPS {} is lost; trying again in {pause} s", command.id));
        tokio::time::sleep(Duration::from_secs(pause)).await;
        match client.find(&VpsRef::Id(command.id), None).await {
            // ssh's helper waits for it.
            Ok(Located { reach: Err(Refusal::Starting(_)), .. }) if arguments.login.waits() => {}
            Ok(Located { reach: Err(refusal), .. }) => {
                return Err(refused(&refusal, &command.id.to_string(), client.base()));
            }
            Err(error @ ApiError::Refusal(_)) => return Err(error.about(&VpsRef::Id(command.id), client.base())),
            // The network may be down for this question, too.
            Ok(_) | Err(_) => {}
        }
    }
}

/// How an ssh ended.
struct Ended {
    /// Whether ssh listened before.
    has_listened: bool,
    /// The VPS is not the one that was known, or takes no login: another attempt changes nothing.
    is_refused: bool,
}

/// Runs ssh until it ends, and calls `on_listening` once ssh listens.
async fn run_ssh(argv: &[OsString], on_listening: impl FnOnce()) -> Result<Ended, Failure> {
    let failure = |error: io::Error| Failure::new(format!("cannot run {}", argv[0].display())).because(&error);
    let mut ssh = Command::new(&argv[0]);
    // Its commands must print nothing of their own.
    ssh.args(&argv[1..]).envs(plain_shell()).stdin(Stdio::null());
    let mut child = ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().map_err(failure)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let listens = async {
        let has_listened = match stdout {
            Some(mut stdout) => stdout.read(&mut [0]).await? > 0,
            None => false,
        };
        if has_listened {
            on_listening();
        }
        Ok(has_listened)
    };
    let says = async {
        let mut is_refused = false;
        let mut lines = stderr.map(|stderr| BufReader::new(stderr).split(b'\n'));
        while let Some(lines) = &mut lines
            && let Some(mut line) = lines.next_segment().await?
        {
            is_refused |= REFUSALS.iter().any(|text| String::from_utf8_lossy(&line).contains(text));
            line.push(b'\n');
            // If stderr is closed, the line is lost.
            let _ = io::stderr().write_all(&line);
        }
        Ok(is_refused)
    };
    let (has_listened, is_refused) = tokio::try_join!(listens, says).map_err(failure)?;
    child.wait().await.map_err(failure)?;
    Ok(Ended { has_listened, is_refused })
}

/// A remark while ports are forwarded, which stands among the lines of ssh.
fn say(text: &str) {
    ui::remark(&format!("{PROGRAM}: {}", InMessages::get().message(text)));
}

fn announce(arguments: &Arguments) {
    for (here, there) in &arguments.ports {
        say(&format!("localhost:{here} is port {there} of {}; Ctrl-C ends it", arguments.vps));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_or_two() {
        for (text, expected) in [
            ("8888", Some((8888, 8888))),
            ("9000:80", Some((9000, 80))),
            ("0", None),
            ("1:0", None),
            ("a", None),
            ("1:2:3", None),
        ] {
            assert_eq!(ports(text).ok(), expected, "{text}");
        }
    }
}
