//! What the gateway says of itself on stderr: what it serves, and its own faults, without flooding.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// The least time between two complaints of one kind.
const PAUSE: Duration = Duration::from_secs(60);

/// What a complaint is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Matter {
    /// Connections can't be accepted.
    Accept,
    /// A new version of the inventory is refused.
    Inventory,
    /// No more tunnels fit.
    Tunnels,
    /// The Host refuses the token that serves the line protocol.
    LineToken,
}

/// Where notices go. Clones share it.
#[derive(Clone)]
pub struct Notices(Arc<Mutex<Inner>>);

struct Inner {
    sink: Box<dyn Write + Send>,
    last: Vec<(Matter, Instant)>,
}

impl Notices {
    /// Notices to `sink`, one write each.
    pub fn to(sink: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Inner { sink: Box::new(sink), last: Vec::new() })))
    }

    /// Says one line.
    pub(super) fn say(&self, line: &str) {
        self.write(&format!("{line}\n"), |_| true);
    }

    /// Tells a failure of something that was asked for just now.
    pub(super) fn fault(&self, failure: &Failure) {
        self.write(&failure.render(super::PROGRAM), |_| true);
    }

    /// Complains, unless a complaint about the same matter is less than a minute old.
    pub(super) fn complain(&self, matter: Matter, failure: &Failure) {
        self.write(&failure.render(super::PROGRAM), |inner| {
            let now = Instant::now();
            if inner.last.iter().any(|(other, at)| *other == matter && now.duration_since(*at) < PAUSE) {
                return false;
            }
            inner.last.retain(|(other, _)| *other != matter);
            inner.last.push((matter, now));
            true
        });
    }

    fn write(&self, text: &str, wanted: impl FnOnce(&mut Inner) -> bool) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted(&mut inner) {
            // A stderr that nobody reads any more is no reason to stop serving.
            let _ = inner.sink.write_all(text.as_bytes());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What was said so far.
    #[derive(Clone, Default)]
    pub(in crate::gateway) struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Heard {
        pub(in crate::gateway) fn text(&self) -> String {
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
    fn a_matter_is_complained_about_once_a_minute() {
        let heard = Heard::default();
        let notices = Notices::to(heard.clone());
        for n in 0..3 {
            notices.complain(Matter::Accept, &Failure::new(format!("a{n}")));
        }
        notices.complain(Matter::Inventory, &Failure::new("b"));
        notices.say("listening");
        assert_eq!(heard.text(), "kohakuriver-gateway: a0\nkohakuriver-gateway: b\nlistening\n");
    }
}
