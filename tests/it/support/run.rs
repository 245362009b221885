//! Programs with a deadline: what they print is gathered, and a failure shows all of it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::home::Home;
use super::tools::{NORMAL_USER, user};

/// How long a program may take when a test names no time of its own. Generous: it only ends what hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A program to run, with an environment that holds nothing of the user's but PATH.
pub(crate) struct Run {
    command: Command,
    stdin: Input,
    deadline: Duration,
}

enum Input {
    Nothing,
    Bytes(Vec<u8>),
    File(File),
    Open,
}

impl Run {
    pub(crate) fn new(program: impl AsRef<OsStr>, home: &Home) -> Self {
        let mut command = Command::new(program);
        command.env_clear().current_dir(home.path()).process_group(0);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", home.path()).env("USER", user()).env("LOGNAME", user());
        command.env("SHELL", "/bin/sh").env("LC_ALL", "C").env("TERM", "dumb");
        // A bash that ends with its terminal would write its history into a home that is just being removed.
        command.env("HISTFILE", "");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, stdin: Input::Nothing, deadline: DEADLINE }
    }

    /// Runs it as [`NORMAL_USER`]. Only root can do that.
    pub(crate) fn by_normal_user(mut self) -> Self {
        self.command.uid(NORMAL_USER).gid(NORMAL_USER);
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Leads `kohakuriver` to the Host API at this port of this machine.
    pub(crate) fn on_host(self, port: u16) -> Self {
        self.env("KOHAKURIVER_HOST", "127.0.0.1").env("KOHAKURIVER_PORT", port.to_string())
    }

    /// The port of the SSH proxy there.
    pub(crate) fn through(self, port: u16) -> Self {
        self.env("KOHAKURIVER_SSH_PROXY_PORT", port.to_string())
    }

    /// Asks `kohakuriver` what bash would offer for the last of these words.
    pub(crate) fn completing(self, words: &[&str]) -> Self {
        let run = self.args(["--", "kohakuriver"]).args(words).env("KOHAKURIVER_COMPLETE", "bash");
        run.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).env("_CLAP_IFS", "\n")
    }

    /// With the programs of this folder before all others.
    pub(crate) fn first_on_path(self, folder: &Path) -> Self {
        self.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()))
    }

    /// Gives the program these bytes on stdin. Without them, stdin is at its end from the start.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Input::Bytes(bytes.into());
        self
    }

    pub(crate) fn stdin_file(mut self, path: &Path) -> Self {
        self.stdin = Input::File(File::open(path).unwrap());
        self
    }

    /// Sets stdin.
    pub(crate) fn stdin_from(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.stdin = Input::File(File::from(fd.into()));
        self
    }

    /// Leaves stdin open: the test writes to [`Process::stdin`].
    pub(crate) fn stdin_open(mut self) -> Self {
        self.stdin = Input::Open;
        self
    }

    pub(crate) fn stdout_file(mut self, path: &Path) -> Self {
        self.command.stdout(File::create(path).unwrap());
        self
    }

    pub(crate) fn deadline(mut self, seconds: u64) -> Self {
        self.deadline = Duration::from_secs(seconds);
        self
    }

    /// Starts it. It is killed, with its whole process group, when the [`Process`] is dropped.
    pub(crate) fn start(mut self) -> Process {
        let what = format!("{:?}", self.command).lines().collect::<Vec<_>>().join(" ");
        self.command.stdin(match &self.stdin {
            Input::Nothing => Stdio::null(),
            Input::File(file) => file.try_clone().unwrap().into(),
            Input::Bytes(_) | Input::Open => Stdio::piped(),
        });
        let started = Instant::now();
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("cannot run {what}: {error}"));
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let state = Arc::new(State::default());
        if let Some(out) = child.stdout.take() {
            state.gather(out, |seen| &mut seen.stdout);
        }
        if let Some(err) = child.stderr.take() {
            state.gather(err, |seen| &mut seen.stderr);
        }
        let mut stdin = child.stdin.take();
        if let Input::Bytes(bytes) = self.stdin {
            let mut pipe = stdin.take().unwrap();
            // A program that ends without reading all of it is for the test's assertions to judge.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        let waiting = Arc::clone(&state);
        thread::spawn(move || {
            let status = child.wait().unwrap();
            waiting.change(|seen| seen.status = Some(status));
        });
        Process { what, group, state, stdin, deadline: started + self.deadline, started }
    }

    /// Runs it to its end. Fails the test when it takes longer than its deadline.
    pub(crate) fn output(self) -> Outcome {
        self.start().finish()
    }
}

#[derive(Default)]
struct State {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// The output and the end of a program so far.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    open: usize,
    status: Option<ExitStatus>,
}

impl Seen {
    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.status.is_some()
    }
}

impl State {
    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }

    fn gather(self: &Arc<Self>, mut from: impl Read + Send + 'static, into: fn(&mut Seen) -> &mut Vec<u8>) {
        self.change(|seen| seen.open += 1);
        let state = Arc::clone(self);
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                state.change(|seen| into(seen).extend_from_slice(&buffer[..n]));
            }
            state.change(|seen| seen.open -= 1);
        });
    }
}

/// A program that runs.
pub(crate) struct Process {
    what: String,
    group: Pid,
    state: Arc<State>,
    /// Its stdin, when it was left open.
    pub(crate) stdin: Option<ChildStdin>,
    deadline: Instant,
    started: Instant,
}

impl Process {
    /// Waits until `find` finds something in what the program has printed. Fails the test when the program ends, or
    /// the time is over, before.
    pub(crate) fn wait_for<T>(&self, awaited: &str, within: Duration, find: impl Fn(&Seen) -> Option<T>) -> T {
        self.try_wait_for(within, find).unwrap_or_else(|why| {
            panic!("waiting for {awaited}: {why}\n{}", self.so_far());
        })
    }

    /// As [`Process::wait_for`], for programs that may be started again with another port.
    pub(crate) fn try_wait_for<T>(
        &self,
        within: Duration,
        find: impl Fn(&Seen) -> Option<T>,
    ) -> Result<T, &'static str> {
        let end = Instant::now() + within;
        let mut seen = self.state.seen.lock().unwrap();
        loop {
            if let Some(found) = find(&seen) {
                return Ok(found);
            }
            if seen.status.is_some() && seen.open == 0 {
                return Err("the program has ended");
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("it did not come in time");
            }
            seen = self.state.changed.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits until this text stands on its stdout.
    pub(crate) fn wait_for_stdout(&self, text: &str) {
        self.wait_for(&format!("{text:?} on stdout"), DEADLINE, |seen| holds(&seen.stdout, text));
    }

    /// Waits until all that it has printed is this text.
    pub(crate) fn wait_for_all_of(&self, text: &str) {
        self.wait_for(&format!("{text:?} alone"), DEADLINE, |seen| (seen.stdout == text.as_bytes()).then_some(()));
    }

    /// Writes to its stdin, which was left open.
    pub(crate) fn types(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this text stands on its stderr.
    pub(crate) fn wait_for_stderr(&self, text: &str) {
        self.wait_for(&format!("{text:?} on stderr"), DEADLINE, |seen| holds(&seen.stderr, text));
    }

    /// Waits for a line of its stderr that starts with `prefix`, and returns what follows it. The time and the level of
    /// a log's line are not looked at.
    pub(crate) fn stderr_line(&self, prefix: &str) -> String {
        self.wait_for(&format!("the line {prefix:?}"), DEADLINE, |seen| {
            whole_lines(&seen.stderr).into_iter().find_map(|line| Some(message(line).strip_prefix(prefix)?.to_owned()))
        })
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Outcome {
        drop(self.stdin.take());
        let left = self.deadline.saturating_duration_since(Instant::now());
        let status = self.wait_for("the end of the program", left, |seen| seen.status.filter(|_| seen.open == 0));
        let seen = self.state.seen.lock().unwrap();
        Outcome {
            what: self.what.clone(),
            status,
            stdout: seen.stdout.clone(),
            stderr: String::from_utf8_lossy(&seen.stderr).into_owned(),
            took: self.started.elapsed(),
        }
    }

    /// Gives it so much time from now on.
    pub(crate) fn extend(&mut self, by: Duration) {
        self.deadline = Instant::now() + by;
    }

    /// Its process id.
    pub(crate) fn id(&self) -> Pid {
        self.group
    }

    /// Sends it a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.state.seen.lock().unwrap().status.is_none() {
            let _ = rustix::process::kill_process(self.group, signal);
        }
    }

    /// Sends a signal to the program and to all that it has started in its process group, as a terminal does.
    pub(crate) fn signal_group(&self, signal: Signal) {
        if self.state.seen.lock().unwrap().status.is_none() {
            let _ = kill_process_group(self.group, signal);
        }
    }

    fn so_far(&self) -> String {
        let seen = self.state.seen.lock().unwrap();
        format!(
            "program: {}\nstatus: {:?}\nstdout: {}\nstderr: {}",
            self.what,
            seen.status,
            shown(&seen.stdout),
            shown(&seen.stderr)
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let seen = self.state.seen.lock().unwrap();
        if seen.status.is_none() || seen.open > 0 {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}

/// A line of a log without its time and its level; any other line as it is.
pub(crate) fn message(line: String) -> String {
    let json = || serde_json::from_str::<serde_json::Value>(&line).ok()?["message"].as_str().map(str::to_owned);
    let text = || log_line(&line).map(|(_, message)| message.to_owned());
    text().or_else(json).unwrap_or(line)
}

/// The level and the rest of a line of a log as text.
pub(crate) fn log_line(line: &str) -> Option<(&str, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let is_time = time.len() == "2026-11-23T12:05:53.532123Z".len() && humantime::parse_rfc3339(time).is_ok();
    let (level, message) = rest.trim_start().split_once(' ')?;
    (is_time && ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level)).then_some((level, message))
}

fn holds(bytes: &[u8], text: &str) -> Option<()> {
    String::from_utf8_lossy(bytes).contains(text).then_some(())
}

fn whole_lines(bytes: &[u8]) -> Vec<String> {
    let end = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    String::from_utf8_lossy(&bytes[..end]).lines().map(str::to_owned).collect()
}

fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 8 * 1024;
    let cut = &bytes[..bytes.len().min(MOST)];
    let more = if cut.len() < bytes.len() { format!(" … ({} bytes)", bytes.len()) } else { String::new() };
    format!("{}{more}", String::from_utf8_lossy(cut))
}

/// The output and the end of a program.
pub(crate) struct Outcome {
    what: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Outcome {
    /// Fails the test, with everything there is to know, unless `condition` holds.
    #[track_caller]
    pub(crate) fn check(&self, condition: bool, expected: &str) -> &Self {
        assert!(condition, "expected {expected}\n{self}");
        self.no_panic()
    }

    #[track_caller]
    fn no_panic(&self) -> &Self {
        assert!(!self.stderr.contains("panicked at"), "a program panicked\n{self}");
        self
    }

    /// The exit status must be `code`.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        self.check(self.status.code() == Some(code), &format!("exit status {code}"))
    }

    #[track_caller]
    pub(crate) fn succeeds(&self) -> &Self {
        self.exits(0)
    }

    /// A failure of a program of ours that has nothing to print.
    #[track_caller]
    pub(crate) fn check_fails(&self) -> &Self {
        self.check(matches!(self.status.code(), Some(1 | 2)), "a failure").prints_nothing()
    }

    /// All of stdout, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[track_caller]
    pub(crate) fn prints(&self, text: &str) -> &Self {
        self.check(self.text() == text, &format!("stdout {text:?}"))
    }

    #[track_caller]
    pub(crate) fn prints_nothing(&self) -> &Self {
        self.check(self.stdout.is_empty(), "nothing on stdout")
    }

    /// Each of `texts` must stand on stderr.
    #[track_caller]
    pub(crate) fn says(&self, texts: &[&str]) -> &Self {
        for text in texts {
            self.check(self.stderr.contains(text), &format!("{text:?} on stderr"));
        }
        self
    }

    #[track_caller]
    pub(crate) fn check_stderr(&self, text: &str) -> &Self {
        self.check(self.stderr == text, &format!("stderr {text:?}"))
    }

    #[track_caller]
    pub(crate) fn says_nothing(&self) -> &Self {
        self.check(self.stderr.is_empty(), "nothing on stderr")
    }

    /// stderr must hold a failure as the contract has it: what, at least one cause, and a hint.
    #[track_caller]
    pub(crate) fn fails_with(&self, program: &str, what: &str, hint: &str) -> &Self {
        self.says(&[&format!("{program}: {what}\n"), "\n  caused by: ", "\n  hint: "]);
        let hints: Vec<_> = self.stderr.lines().filter(|line| line.starts_with("  hint: ")).collect();
        self.check(hints.len() == 1 && hints[0].contains(hint), &format!("one hint, with {hint:?}"))
    }

    /// The same in the log of a gateway, as one line.
    #[track_caller]
    pub(crate) fn logs_failure(&self, what: &str, hint: &str) -> &Self {
        let lines = self.stderr.lines().filter_map(log_line);
        let failures: Vec<_> = lines.filter(|(level, _)| *level == "ERROR").map(|(_, message)| message).collect();
        let is_whole = |message: &str| {
            let advice = message.split_once(" hint=\"").map(|(_, hint)| hint);
            message.starts_with(what)
                && message.contains(" cause=\"")
                && advice.is_some_and(|advice| advice.contains(hint))
        };
        let is_one = failures.len() == 1 && is_whole(failures[0]);
        self.check(is_one, &format!("one failure {what:?} in the log, with a cause, and with {hint:?} in its hint"))
    }

    /// The same, for a failure of the helper that ssh prints as its server's last message. ssh adds nothing that hides
    /// it, and the helper doesn't repeat it.
    #[track_caller]
    pub(crate) fn ssh_fails_with(&self, what: &str, hint: &str) -> &Self {
        self.exits(255).prints_nothing().says(&[
            "Received disconnect from ",
            &format!(":11: {what}\n"),
            "\n  caused by: ",
        ]);
        let hints: Vec<_> = self.stderr.lines().filter(|line| line.starts_with("  hint: ")).collect();
        self.check(hints.len() == 1 && hints[0].contains(hint), &format!("one hint, with {hint:?}"));
        let noise = ["kohakuriver-proxy: ", "mm_receive_fd", "Connection closed", "banner"];
        self.check(!noise.iter().any(|noise| self.stderr.contains(noise)), "no other message")
    }

    #[track_caller]
    pub(crate) fn within(&self, seconds: u64) -> &Self {
        self.check(self.took < Duration::from_secs(seconds), &format!("an end within {seconds} s"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = self.status.signal().map_or(String::new(), |n| format!(" (signal {n})"));
        write!(
            f,
            "program: {}\nstatus: {}{signal} after {:?}\nstdout: {}\nstderr: {}",
            self.what,
            self.status,
            self.took,
            shown(&self.stdout),
            self.stderr
        )
    }
}
