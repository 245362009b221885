//! The settings in force, and the source of each.

use std::path::PathBuf;

use crate::cli::doctor::check::{Check, Examined};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::subject::Subject;
use crate::failure::Failure;
use crate::route::Route;
use crate::settings::{self, Settings, Source};
use crate::sys;

pub(super) struct InForce<'a> {
    pub(super) subject: &'a Subject,
}

impl Check for InForce<'_> {
    const NAME: &'static str = "settings";
    type Gives = Settings;

    fn tried(&self) -> String {
        match config_file() {
            Some(file) => format!("flags, environment and {}", file.display()),
            None => "flags and environment (no config.json)".to_owned(),
        }
    }

    fn examine(&self) -> Result<Examined<Settings>, Verdict> {
        let settings = Settings::load(self.subject.flags.clone())
            .map_err(|failure| Verdict::wrong_with(&failure, without_the_bad_value(&failure, self.subject)))?;
        let found = describe(&settings);
        let verdict = match settings.warnings.join("; ") {
            none if none.is_empty() => Verdict::Fine(found),
            warnings => Verdict::Note(format!("{found}; {warnings}")),
        };
        Ok(Examined::giving(verdict, settings))
    }
}

/// `config.json`, if it exists.
fn config_file() -> Option<PathBuf> {
    settings::config_path().filter(|path| path.exists())
}

/// A command that removes the bad value, so that the next source counts.
fn without_the_bad_value(failure: &Failure, subject: &Subject) -> String {
    let text = failure.render("");
    let mut words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    let variable = words.find(|word| word.starts_with("KOHAKURIVER_"));
    match (variable, config_file()) {
        (Some(variable), _) => sys::users_shell().unset(variable),
        // The file is in order: it is the name that is in none of its clusters.
        (None, Some(_)) if text.contains("caused by: config.json has: ") => "kohakuriver cluster list".to_owned(),
        (None, Some(file)) if text.contains("config.json") => sys::move_away(&file, ".broken"),
        // The value is a flag.
        (None, _) => format!("kohakuriver doctor {}", subject.vps_as_typed()).trim_end().to_owned(),
    }
}

fn describe(settings: &Settings) -> String {
    let from = |source: &Source| match source {
        Source::Default => "default".to_owned(),
        source => format!("from {source}"),
    };
    let mut text = format!(
        "Host {} ({}), API port {} ({}), SSH proxy port {} ({})",
        settings.host_as_typed(),
        from(&settings.host.source),
        settings.port.value,
        from(&settings.port.source),
        settings.ssh_proxy_port.value,
        from(&settings.ssh_proxy_port.source)
    );
    if let Some(proxy) = &settings.proxy {
        text += &format!(", SSH proxy {} ({})", proxy.value, from(&proxy.source));
    }
    // A variable that can't be used is met by the connection.
    if let Some(upstream) = Route::of(settings, &settings.ssh_proxy()).ok().and_then(|route| route.upstream) {
        text += &format!(", {} on the way ({})", upstream.named(), from(&upstream.source));
    }
    text
}
