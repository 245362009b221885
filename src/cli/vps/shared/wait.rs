//! Waiting until a VPS accepts ssh connections.
//!
//! The Host is polled until the VPS runs. Then the helper opens a tunnel, as it does for ssh, and the VPS is ready when
//! the first byte of its sshd arrives. The helper gets SIGTERM and never SIGKILL: it must close the tunnel in the way
//! that doesn't harm an older Host.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::api::{ApiError, Client, refused};
use crate::cli::programs::route::{home, proxy_program, typed_route};
use crate::cli::terminal::interrupt;
use crate::cli::terminal::progress::{Progress, during};
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::sys;
use crate::target::{TaskId, VpsRef};
use crate::text::excerpt_bytes;

pub(crate) use crate::seconds::DEFAULT_WAIT;

/// The pause between two polls of the Host, or of sshd.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one tunnel may take to its first byte; an older Host takes up to 15 s.
const TUNNEL_LIMIT: Duration = Duration::from_secs(20);

/// How long the helper may take to end after SIGTERM: closing a tunnel of an older Host takes up to 3 s.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Waits until the sshd of VPS `id` answers, with progress on stderr.
///
/// # Errors
/// If waiting can't help, after `limit`, or if the user interrupts.
pub(crate) async fn until_ssh_answers(
    settings: &Settings,
    client: &Client,
    id: TaskId,
    limit: Duration,
) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    let mut progress = Progress::new();
    let waiting = async {
        let mut looked = look(settings, client, id, deadline, true).await?;
        loop {
            let Some(last) = looked else { return Ok(()) };
            if Instant::now() + PAUSE >= deadline {
                return Err(Failure::new(format!("VPS {id} does not answer on SSH yet"))
                    .cause(last)
                    .cause(format!("waited for {} s", limit.as_secs()))
                    .hint(format!(
                        "the VPS continues to start; connect later with `kohakuriver vps connect {id} --wait`"
                    )));
            }
            let again = async {
                sleep(PAUSE).await;
                look(settings, client, id, deadline, false).await
            };
            looked = progress.beside(&last, again).await?;
        }
    };
    interrupt::unless_raised(waiting).await.unwrap_or_else(|| {
        Err(Failure::interrupted(format!("interrupted while VPS {id} starts")).hint(format!(
            "it continues to start; connect with `kohakuriver vps connect {id} --wait`, or stop it with `kohakuriver vps stop {id}`"
        )))
    })
}

/// Tests the VPS once. `None` if its sshd answered, otherwise the reason to wait. The first time, no such reason is shown
/// yet, so the test shows its own progress.
async fn look(
    settings: &Settings,
    client: &Client,
    id: TaskId,
    deadline: Instant,
    is_first: bool,
) -> Result<Option<String>, Failure> {
    let (vps, what) = (VpsRef::Id(id), format!("looking up VPS {id}"));
    let found = match shown(is_first, &what, client.find(&vps, None)).await {
        // A Host that is busy creating a VPS may answer late.
        Err(error @ (ApiError::Timeout { .. } | ApiError::Unreachable { .. })) => return Ok(Some(error.to_string())),
        found => found.map_err(|error| error.about(&vps, client.base()))?,
    };
    match found.reach {
        Err(refusal @ Refusal::Starting(_)) => {
            let message = refusal.message().map(|message| format!(": {message}")).unwrap_or_default();
            Ok(Some(refusal.title(&id.to_string()) + &message))
        }
        Err(refusal) => Err(refused(&refusal, &id.to_string(), client.base())),
        Ok(_) => {
            let not_yet = format!("VPS {id} runs, but its sshd does not answer yet");
            let why = shown(is_first, &not_yet, tunnel(settings, id, deadline)).await?;
            Ok(why.map(|why| format!("{not_yet}: {why}")))
        }
    }
}

async fn shown<T>(is_shown: bool, what: &str, work: impl Future<Output = T>) -> T {
    if is_shown { during(what, work).await } else { work.await }
}

/// Opens a tunnel and closes it after the first byte. `None` on success, otherwise the reason.
async fn tunnel(settings: &Settings, id: TaskId, deadline: Instant) -> Result<Option<String>, Failure> {
    let left = deadline.saturating_duration_since(Instant::now()).clamp(PAUSE, TUNNEL_LIMIT);
    let route = typed_route(settings, &home()?, None, None)?;
    let mut helper = Command::new(proxy_program()?);
    helper
        .args(route.helper_arguments())
        .envs(route.variables)
        .args(["--no-disconnect", "--connect-timeout", &left.as_secs_f64().to_string(), &id.to_string()])
        // stdin must stay open: its end would end the tunnel.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Ctrl-C must reach this process only, which then asks the helper to end.
    sys::in_own_group(helper.as_std_mut());
    let started = helper.spawn().map_err(|error| Failure::new("cannot run kohakuriver-proxy").because(&error))?;
    let mut helper = Helper(started);
    let mut byte = [0];
    let read = match &mut helper.0.stdout {
        Some(stdout) => stdout.read(&mut byte).await.unwrap_or(0),
        None => 0,
    };
    if read > 0 {
        helper.end().await;
        return Ok(None);
    }
    let mut stderr_text = Vec::new();
    if let Some(stderr) = &mut helper.0.stderr {
        let _ = stderr.read_to_end(&mut stderr_text).await;
    }
    helper.end().await;
    let first = stderr_text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let first = excerpt_bytes(first.strip_prefix(b"kohakuriver-proxy: ").unwrap_or(first));
    Ok(Some(if first.is_empty() { "the connection was closed".to_owned() } else { first }))
}

/// A helper process that gets SIGTERM when dropped.
struct Helper(Child);

impl Helper {
    fn terminate(&self) {
        if let Some(id) = self.0.id() {
            sys::ask_to_end(id);
        }
    }

    async fn end(&mut self) {
        self.terminate();
        let _ = timeout(END_LIMIT, self.0.wait()).await;
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.terminate();
    }
}
