//! The gateway's log on stderr.
//!
//! Everything is an event of `tracing`, with a time and a level: its addresses, which are logged at any level for scripts
//! that wait for them, warnings about itself, limited in rate, failures, panics, and the steps of each connection at the
//! debug level. The default level shows nothing about clients, but for whose tunnels fill a limit. Writing the log never
//! waits for its reader.

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::failure::Failure;
use crate::gateway::limits::Places;
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::outlet::Outlet;
use crate::lock::lock;
use crate::text::printable;

/// The target of events that are logged at any level.
const ALWAYS: &str = "always";

/// The least time between two warnings with the same key.
const PAUSE: Duration = Duration::from_secs(60);

/// The longest that a thread which panics waits until that is logged.
const PANIC_LIMIT: Duration = Duration::from_millis(500);

/// The subject of a warning. Each has a rate limit of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RateLimitKey {
    /// Connections can't be accepted.
    Accept,
    /// A new version of the inventory is rejected.
    Inventory,
    /// No more tunnels, or handshakes, fit into one of the limits.
    Full(Places),
    /// A user has too many tunnels whose clients are away.
    Parked,
    /// Bytes that may have to be sent again fill their memory.
    ReplayMemory,
    /// A Runner is on this machine, and not allowed.
    OwnMachine,
    /// The Host rejects the token for the line protocol.
    LineToken,
    /// The Host is there, and fails some look-ups.
    HostLookup,
    /// Audit lines are lost.
    Audit,
}

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogLevel {
    /// A failure, such as of the start or a reload.
    Error,
    /// Also what needs an admin's attention.
    Warn,
    /// Also what the gateway does as a whole.
    #[default]
    Info,
    /// Also each step of each connection.
    Debug,
    /// Everything.
    Trace,
}

/// The format of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The gateway's messages to its admin. Clones share one sink.
#[derive(Clone)]
pub(crate) struct Notices(Arc<Inner>);

struct Inner {
    sink: Sink,
    log: Dispatch,
    last: Mutex<Vec<(RateLimitKey, Instant)>>,
    admin: OnceLock<String>,
}

impl Notices {
    /// Writes notices to `sink`, one write each.
    pub(crate) fn to(sink: impl Write + Send + 'static) -> Self {
        Self::through(Sink::Direct(Arc::new(Mutex::new(Box::new(sink)))), LogLevel::default(), LogFormat::default())
    }

    /// Writes notices to stderr, and with them the `tracing` events of the whole process.
    pub(crate) fn on_stderr(level: LogLevel, format: LogFormat, metrics: &Arc<Metrics>) -> Self {
        let metrics = Arc::clone(metrics);
        let lost = move |count, _: &_| metrics.log_lost.add(count);
        let open = || Ok(Box::new(io::stderr()) as Box<dyn Write + Send>);
        let sink = match Outlet::start("log", Duration::ZERO, Box::new(open), Box::new(lost)) {
            Ok(outlet) => Sink::Queued(Arc::new(outlet)),
            // Without a thread for the log, each line is written where it arises.
            Err(_) => Sink::Direct(Arc::new(Mutex::new(Box::new(io::stderr())))),
        };
        let notices = Self::through(sink, level, format);
        // On failure the process has a log already, which stays.
        let _ = tracing::dispatcher::set_global_default(notices.0.log.clone());
        notices
    }

    fn through(sink: Sink, level: LogLevel, format: LogFormat) -> Self {
        let writer = sink.clone();
        let log = log(level, format, move || writer.clone());
        Self(Arc::new(Inner { sink, log, last: Mutex::default(), admin: OnceLock::new() }))
    }

    /// Notes the admin's address, for advice.
    pub(crate) fn note_admin(&self, address: String) {
        // A process has one address in its life.
        let _ = self.0.admin.set(address);
    }

    /// The admin's address, if there is one.
    pub(super) fn admin(&self) -> Option<&str> {
        self.0.admin.get().map(String::as_str)
    }

    /// Logs one line about the gateway as a whole.
    pub(crate) fn say(&self, line: &str) {
        self.log(|| tracing::info!("{line}"));
    }

    /// Logs one line for scripts that wait for it, at any level.
    pub(crate) fn announce(&self, line: &str) {
        self.log(|| tracing::info!(target: ALWAYS, "{line}"));
    }

    /// Reports the failure of something that an admin asked for just now, such as the start.
    pub(crate) fn fault(&self, failure: &Failure) {
        let (cause, hint) = details(failure);
        self.log(|| tracing::error!(cause, hint, "{}", printable(failure.what())));
    }

    /// Logs the panics of all threads from now on, in place of the lines of the standard library.
    pub(crate) fn log_panics(&self) {
        let notices = self.clone();
        std::panic::set_hook(Box::new(move |panic| notices.panicked(panic)));
    }

    fn panicked(&self, panic: &PanicHookInfo<'_>) {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
        let payload = panic.payload();
        let why = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let why = printable(why.unwrap_or_default());
        self.log(|| tracing::error!("thread {thread} panicked{place}: {why}"));
        // Nothing may be left of the process when this returns.
        self.finish(PANIC_LIMIT);
    }

    fn log(&self, event: impl FnOnce()) {
        tracing::dispatcher::with_default(&self.0.log, event);
    }

    /// Warns, unless the last warning with this key is less than a minute old.
    pub(crate) fn warn_limited(&self, key: RateLimitKey, failure: &Failure) {
        if self.is_due(key) {
            self.warn(failure);
        }
    }

    /// Whether a warning with this key may be given, which is then expected to follow.
    pub(crate) fn is_due(&self, key: RateLimitKey) -> bool {
        let mut last = lock(&self.0.last);
        let now = Instant::now();
        if last.iter().any(|(other, at)| *other == key && now.duration_since(*at) < PAUSE) {
            return false;
        }
        last.retain(|(other, _)| *other != key);
        last.push((key, now));
        true
    }

    /// Warns the admin.
    pub(crate) fn warn(&self, failure: &Failure) {
        let (cause, hint) = details(failure);
        self.log(|| tracing::warn!(cause, hint, "{}", printable(failure.what())));
    }

    /// Waits until the log is written, for `limit` at most.
    pub(crate) fn finish(&self, limit: Duration) {
        if let Sink::Queued(outlet) = &self.0.sink {
            outlet.finish(limit);
        }
    }
}

impl Default for Notices {
    /// Discards every notice.
    fn default() -> Self {
        Self::to(io::sink())
    }
}

/// The causes and the hint of a failure, for one line.
fn details(failure: &Failure) -> (Option<String>, Option<String>) {
    let cause = failure.causes().join(": ");
    ((!cause.is_empty()).then(|| printable(&cause)), failure.advice().map(printable))
}

/// A log to `writer`. Events of other crates are logged from the level of warnings on.
fn log<W>(level: LogLevel, format: LogFormat, writer: W) -> Dispatch
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let wanted = Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), level)
        .with_target(ALWAYS, level.max(Level::INFO))
        .with_default(LevelFilter::from_level(level.min(Level::WARN)));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(writer);
    let registry = tracing_subscriber::registry().with(wanted);
    match format {
        LogFormat::Text => Dispatch::new(registry.with(lines)),
        LogFormat::Json => Dispatch::new(registry.with(lines.json().flatten_event(true))),
    }
}

/// The destination of lines. Each write is one line.
#[derive(Clone)]
enum Sink {
    Direct(Arc<Mutex<Box<dyn Write + Send>>>),
    Queued(Arc<Outlet>),
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Direct(sink) => lock(sink).write(line),
            Self::Queued(outlet) => {
                outlet.push(line);
                Ok(line.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Direct(sink) => lock(sink).flush(),
            Self::Queued(_) => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gateway::tests::PATIENCE;

    /// A sink that keeps what was written.
    #[derive(Clone, Default)]
    pub(crate) struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Heard {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        /// The lines of a log without their times and levels.
        pub(crate) fn messages(&self) -> String {
            let message =
                |line: &str| line.split_once("Z ")?.1.trim_start().split_once(' ').map(|(_, text)| text.to_owned());
            self.text().lines().map(|line| message(line).unwrap_or_else(|| panic!("{line}")) + "\n").collect()
        }
    }

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Notices in a log, and what is heard of them.
    fn logging(level: LogLevel, format: LogFormat) -> (Notices, Heard) {
        let heard = Heard::default();
        let sink = Sink::Direct(Arc::new(Mutex::new(Box::new(heard.clone()))));
        (Notices::through(sink, level, format), heard)
    }

    #[test]
    fn a_warning_with_the_same_key_is_repeated_after_a_minute_at_the_earliest() {
        let (notices, heard) = logging(LogLevel::default(), LogFormat::default());
        for n in 0..3 {
            notices
                .warn_limited(RateLimitKey::Accept, &Failure::new(format!("a{n}")).cause("b\x1b").cause("c").hint("d"));
        }
        notices.warn_limited(RateLimitKey::Inventory, &Failure::new("e"));
        // A warning with another key in between changes nothing.
        notices.warn_limited(RateLimitKey::Accept, &Failure::new("a3"));
        notices.say("listening");
        let text = heard.text();
        let lines: Vec<_> =
            text.lines().filter_map(|line| line.split_once(' ').map(|(_, rest)| rest.trim_start())).collect();
        assert_eq!(lines, ["WARN a0 cause=\"b: c\" hint=\"d\"", "WARN e", "INFO listening"]);
    }

    /// A log in either format may be shown on a terminal.
    #[test]
    fn no_line_has_a_character_that_a_terminal_obeys() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (notices, heard) = logging(LogLevel::Info, format);
            let odd = "a\u{9b}b\u{202e}c\u{7f}d\u{1b}[2J";
            notices.warn(&Failure::new(odd).cause(odd).hint(odd));
            let text = heard.text();
            assert!(
                text.contains('a') && text.trim_end().chars().all(|c| !c.is_control() && c != '\u{202e}'),
                "{text:?}"
            );
        }
    }

    /// As scripts wait for them.
    #[test]
    fn addresses_and_failures_are_logged_at_any_level() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Trace] {
            let (notices, heard) = logging(level, LogFormat::Text);
            notices.announce("listening on x");
            notices.fault(&Failure::new("f").cause("c"));
            let text = heard.text();
            let (first, second) = text.trim_end().split_once('\n').unwrap();
            assert!(first.ends_with("Z  INFO listening on x"), "{first}");
            assert!(second.ends_with("Z ERROR f cause=\"c\""), "{second}");
        }
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let (notices, heard) = logging(LogLevel::Error, LogFormat::Json);
        let before = std::panic::take_hook();
        notices.log_panics();
        let thread = std::thread::Builder::new().name("worker".to_owned());
        let panicked = thread.spawn(|| panic!("of two\nlines")).unwrap().join();
        std::panic::set_hook(before);
        assert!(panicked.is_err());
        // Another test may panic meanwhile.
        let text = heard.text();
        let line = text.lines().find(|line| line.contains("of two")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let message = line["message"].as_str().unwrap();
        assert!(line["level"] == "ERROR" && message.ends_with(": of two lines"), "{line}");
        assert!(message.starts_with("thread worker panicked at src/gateway/watch/notices.rs:"), "{line}");
    }

    #[test]
    fn the_end_waits_for_lines_that_are_not_written_yet() {
        let heard = Heard::default();
        let sink = heard.clone();
        // After its first line, it writes nothing more by itself as long as the test runs.
        let rest = Duration::from_secs(3600);
        let open = move || Ok(Box::new(sink.clone()) as Box<dyn Write + Send>);
        let outlet = Outlet::start("test", rest, Box::new(open), Box::new(|_, _| {})).unwrap();
        let notices = Notices::through(Sink::Queued(Arc::new(outlet)), LogLevel::Info, LogFormat::Text);
        notices.say("first");
        let begun = Instant::now();
        while heard.text().is_empty() {
            assert!(begun.elapsed() < PATIENCE, "nothing is written");
            std::thread::yield_now();
        }
        notices.say("last");
        notices.finish(PATIENCE);
        assert_eq!(heard.messages(), "first\nlast\n");
    }

    #[test]
    fn each_level_and_format() {
        for (level, format, expected) in [
            (LogLevel::Error, LogFormat::Text, vec![]),
            (LogLevel::Info, LogFormat::Text, vec![" WARN w x=1"]),
            (LogLevel::Debug, LogFormat::Text, vec![" WARN w x=1", "DEBUG d"]),
            (LogLevel::Info, LogFormat::Json, vec![r#""level":"WARN","message":"w","x":1}"#]),
        ] {
            let heard = Heard::default();
            let sink = heard.clone();
            tracing::dispatcher::with_default(&log(level, format, move || sink.clone()), || {
                tracing::warn!(x = 1, "w");
                tracing::debug!("d");
                tracing::debug!(target: "hyper", "somebody else's");
            });
            let text = heard.text();
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), expected.len(), "{text}");
            assert!(lines.iter().zip(expected).all(|(line, end)| line.ends_with(end)), "{text}");
        }
    }
}
