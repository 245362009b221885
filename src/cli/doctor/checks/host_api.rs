//! Whether the Host API answers, which generation of Host it is, and whether its clock is right.

use std::time::{Duration, SystemTime};

use crate::api::{About, ApiError, Client};
use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::{SHOW, Verdict};
use crate::cli::host::{block_on, client_with};
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::Settings;

/// A larger difference between two clocks is worth a note: certificates and logs depend on them.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

pub(super) struct HostApi<'a> {
    pub(super) settings: &'a Given<Settings>,
}

/// A Host whose API answers.
pub(super) struct Host {
    settings: Settings,
}

impl Host {
    /// The API's address.
    pub(super) fn base(&self) -> String {
        self.settings.api_url()
    }

    /// Asks the Host as the user of `token`.
    pub(super) fn ask<T, F>(&self, token: Option<&Token>, work: impl FnOnce(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        block_on(work(client_with(&self.settings, token.cloned())?))
    }
}

/// The API's address, for what a check tried.
pub(super) fn address(settings: &Given<Settings>) -> String {
    settings.as_ref().map_or_else(|_| "the Host".to_owned(), Settings::api_url)
}

impl Check for HostApi<'_> {
    const NAME: &'static str = "host-api";
    type Gives = Host;

    fn tried(&self) -> String {
        match self.settings {
            Ok(settings) => format!("GET {}/api/nodes", settings.api_url()),
            Err(_) => "the Host API".to_owned(),
        }
    }

    fn examine(&self) -> Result<Examined<Host>, Verdict> {
        let host = Host { settings: self.settings.as_ref()?.clone() };
        let what = format!("cannot ask the Host API at {}", host.base());
        let about = host.ask(None, |client| async move { Ok(client.about().await) });
        let failure = match about {
            Ok(Ok(about)) => return Ok(Examined::giving(describe(about), host)),
            // A Host answers this request to everybody, so another status means another server.
            Ok(Err(error @ ApiError::Status { .. })) => Failure::new(what)
                .because(&error)
                .hint(format!("another server may listen there; to see each setting and its source: `{SHOW}`")),
            Ok(Err(error)) => error.failure(what),
            Err(failure) => failure,
        };
        Err(Verdict::wrong(&failure, SHOW))
    }
}

fn describe(about: About) -> Verdict {
    let kind = match about.at_root {
        true => "an older Host (hakuriver 0.3) with its API at the root",
        false => "a current Host with its API under /api",
    };
    let software = about.software.map(|software| format!(" ({software})")).unwrap_or_default();
    match about.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok()).map(clock) {
        None => Verdict::Fine(format!("{kind}{software}")),
        Some(Ok(text)) => Verdict::Fine(format!("{kind}{software}; {text}")),
        Some(Err(text)) => Verdict::Note(format!("{kind}{software}; {text}")),
    }
}

/// Compares the Host's clock with this machine's. `Err` when they differ.
fn clock(theirs: SystemTime) -> Result<String, String> {
    let ours = SystemTime::now();
    let (difference, how) = match theirs.duration_since(ours) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if difference <= CLOCK_TOLERANCE {
        return Ok("its clock agrees with this machine's".to_owned());
    }
    let seconds = Duration::from_secs(difference.as_secs());
    Err(format!("its clock is {} {how} this machine's", humantime::format_duration(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_a_note() {
        let now = SystemTime::now();
        assert!(clock(now).is_ok() && clock(now - Duration::from_secs(30)).is_ok());
        assert_eq!(clock(now - Duration::from_secs(7200)), Err("its clock is 2h behind this machine's".to_owned()));
        let ahead = clock(now + Duration::from_secs(3600) + Duration::from_millis(900));
        assert_eq!(ahead, Err("its clock is 1h ahead of this machine's".to_owned()));

        let about = |date: SystemTime| About {
            at_root: false,
            software: Some("Title 1.2".to_owned()),
            date: Some(httpdate::fmt_http_date(date)),
        };
        let is = "a current Host with its API under /api (Title 1.2); its clock";
        assert_eq!(describe(about(now)), Verdict::Fine(format!("{is} agrees with this machine's")));
        let Verdict::Note(text) = describe(about(now - Duration::from_secs(7200))) else { panic!() };
        assert!(text.starts_with(&format!("{is} is 2h")), "{text}");
        let nothing = About { at_root: true, software: None, date: Some("yesterday".to_owned()) };
        assert!(matches!(describe(nothing), Verdict::Fine(text) if text.ends_with("at the root")));
    }
}
