//! The gateway's messages on stderr: its addresses, and its log.
//!
//! The lines that name its addresses are written as they are, for scripts that wait for them. Everything else is an
//! event of `tracing`: warnings about itself, limited in rate, and the steps of each connection at the debug level. The
//! default level shows nothing about clients. Writing the log never waits for its reader.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::failure::Failure;
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::outlet::Outlet;
use crate::gateway::words::PROGRAM;
use crate::lock::lock;
use crate::text::printable;

/// The least time between two warnings with the same key.
const PAUSE: Duration = Duration::from_secs(60);

/// The subject of a warning. Each has a rate limit of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RateLimitKey {
    /// Connections can't be accepted.
    Accept,
    /// A new version of the inventory is rejected.
    Inventory,
    /// No more tunnels fit.
    Tunnels,
    /// A Runner is on this machine, and not allowed.
    OwnMachine,
    /// The Host rejects the token for the line protocol.
    LineToken,
    /// There is no TLS with the Host.
    HostTls,
    /// Audit lines are lost.
    Audit,
}

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogLevel {
    /// Errors that keep the gateway from working.
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
pub struct Notices(Arc<Inner>);

struct Inner {
    sink: Sink,
    log: Dispatch,
    format: LogFormat,
    last: Mutex<Vec<(RateLimitKey, Instant)>>,
}

impl Notices {
    /// Writes notices to `sink`, one write each.
    pub fn to(sink: impl Write + Send + 'static) -> Self {
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
        Self(Arc::new(Inner { sink, log, format, last: Mutex::default() }))
    }

    /// Logs one line about the gateway as a whole.
    pub(crate) fn say(&self, line: &str) {
        match self.0.format {
            LogFormat::Text => self.announce(line),
            LogFormat::Json => tracing::dispatcher::with_default(&self.0.log, || tracing::info!("{line}")),
        }
    }

    /// Writes one line as it is, for scripts that wait for it.
    pub(crate) fn announce(&self, line: &str) {
        // A reader that is gone is no reason to stop serving.
        let _ = self.0.sink.clone().write_all(format!("{line}\n").as_bytes());
    }

    /// Reports the failure of something that an admin asked for just now.
    pub(crate) fn fault(&self, failure: &Failure) {
        self.say(failure.render(PROGRAM).trim_end());
    }

    /// Warns, unless the last warning with this key is less than a minute old.
    pub(crate) fn warn_limited(&self, key: RateLimitKey, failure: &Failure) {
        {
            let mut last = lock(&self.0.last);
            let now = Instant::now();
            if last.iter().any(|(other, at)| *other == key && now.duration_since(*at) < PAUSE) {
                return;
            }
            last.retain(|(other, _)| *other != key);
            last.push((key, now));
        }
        self.warn(failure);
    }

    /// Warns the admin.
    pub(crate) fn warn(&self, failure: &Failure) {
        let cause = failure.causes().join(": ");
        let cause = (!cause.is_empty()).then(|| printable(&cause));
        let hint = failure.advice().map(printable);
        tracing::dispatcher::with_default(&self.0.log, || {
            tracing::warn!(cause, hint, "{}", printable(failure.what()));
        });
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

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
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

    /// A sink that keeps what was written.
    #[derive(Clone, Default)]
    pub(crate) struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Heard {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
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

    #[test]
    fn a_warning_with_the_same_key_is_repeated_after_a_minute_at_the_earliest() {
        let heard = Heard::default();
        let notices = Notices::to(heard.clone());
        for n in 0..3 {
            notices
                .warn_limited(RateLimitKey::Accept, &Failure::new(format!("a{n}")).cause("b\x1b").cause("c").hint("d"));
        }
        notices.warn_limited(RateLimitKey::Inventory, &Failure::new("e"));
        notices.say("listening");
        let text = heard.text();
        let lines: Vec<_> =
            text.lines().map(|line| line.split_once("  WARN ").map_or(line, |(_, rest)| rest)).collect();
        assert_eq!(lines, ["a0 cause=\"b: c\" hint=\"d\"", "e", "listening"]);
    }

    /// A log in either format may be shown on a terminal.
    #[test]
    fn no_line_has_a_character_that_a_terminal_obeys() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let heard = Heard::default();
            let sink = Sink::Direct(Arc::new(Mutex::new(Box::new(heard.clone()))));
            let notices = Notices::through(sink, LogLevel::Info, format);
            let odd = "a\u{9b}b\u{202e}c\u{7f}d\u{1b}[2J";
            notices.warn(&Failure::new(odd).cause(odd).hint(odd));
            let text = heard.text();
            assert!(
                text.contains('a') && text.trim_end().chars().all(|c| !c.is_control() && c != '\u{202e}'),
                "{text:?}"
            );
        }
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
