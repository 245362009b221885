//! The token, and the user whom the Host knows by it.

use std::path::PathBuf;

use super::host_api::Host;
use crate::api::Caller;
use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::Settings;
use crate::settings::env_vars::KOHAKURIVER_TOKEN;
use crate::sys;
use crate::tokens::{self, Found, Source};

const LOGIN: &str = "kohakuriver auth login";

pub(super) struct StoredToken<'a> {
    host: &'a Given<Host>,
    found: Result<Option<Found>, Failure>,
}

impl<'a> StoredToken<'a> {
    /// Reads the token, but does not use it.
    pub(super) fn load(settings: &Given<Settings>, host: &'a Given<Host>) -> Self {
        Self { host, found: settings.as_ref().map_or(Ok(None), tokens::of) }
    }

    fn is_from_env(&self) -> bool {
        match &self.found {
            Ok(Some(found)) => found.source == Source::Env,
            Ok(None) => false,
            Err(failure) => failure.what().contains(KOHAKURIVER_TOKEN),
        }
    }

    /// The file of the token, if others may read it.
    fn open_file(&self) -> Option<(PathBuf, u32)> {
        let path = self.found.as_ref().ok()?.as_ref()?.source.path()?;
        let mode = sys::mode_open_to_others(&path.metadata().ok()?)?;
        Some((path.to_owned(), mode))
    }

    /// A command that removes the bad token, so that the next source counts.
    fn without_token(&self) -> String {
        if self.is_from_env() { sys::users_shell().unset(KOHAKURIVER_TOKEN) } else { LOGIN.to_owned() }
    }
}

impl Check for StoredToken<'_> {
    const NAME: &'static str = "token";
    type Gives = Option<Token>;

    fn tried(&self) -> String {
        match &self.found {
            Ok(None) => format!("no token for this Host, neither in {KOHAKURIVER_TOKEN} nor in ~/.kohakuriver"),
            _ if self.is_from_env() => format!("the token from {KOHAKURIVER_TOKEN}"),
            Ok(Some(Found { source: Source::Ours(_), .. })) => "the token from ~/.kohakuriver/tokens.json".to_owned(),
            _ => "the token from ~/.kohakuriver/auth.json".to_owned(),
        }
    }

    fn examine(&self) -> Result<Examined<Option<Token>>, Verdict> {
        let found = self.found.as_ref().map_err(|failure| Verdict::wrong(failure, self.without_token()))?.as_ref();
        let token = found.map(|found| &found.token);
        let host = self.host.as_ref()?;
        let base = host.base();
        let verdict = match host.ask(token, |client| async move { Ok(client.caller().await) }) {
            Ok(Ok(Caller::User(user))) => Verdict::Fine(format!("user {}, role {}", user.name, user.role)),
            Ok(Ok(Caller::Everyone { stand_alone: false })) => {
                Verdict::Fine("the Host has no users, so everybody has full access".to_owned())
            }
            Ok(Ok(Caller::Everyone { stand_alone: true })) => {
                Verdict::Fine("a stand-alone gateway has no users, so everybody may log in".to_owned())
            }
            Ok(Ok(Caller::Anonymous)) => self.unknown(token.is_some(), &base),
            Ok(Err(error)) => {
                Verdict::wrong(&error.failure(format!("cannot ask the Host at {base} who you are")), LOGIN)
            }
            Err(failure) => Verdict::wrong(&failure, LOGIN),
        };
        let verdict = match (verdict, self.open_file()) {
            (Verdict::Fine(user), Some((path, mode))) => {
                let command = sys::give_access(&path, "600");
                // A readable token breaks no login, so this is a note.
                Verdict::Note(format!(
                    "{user}; but other users of this machine may read the token, whose file has mode {mode:04o}: \
                     `{command}` makes it private"
                ))
            }
            (verdict, _) => verdict,
        };
        Ok(Examined::giving(verdict, token.cloned()))
    }
}

impl StoredToken<'_> {
    /// The Host asks for a token. It never says that a token is wrong: it takes the user for an anonymous one.
    fn unknown(&self, has_token: bool, base: &str) -> Verdict {
        if !has_token {
            let failure = Failure::new(format!("you are not logged in to the Host at {base}"))
                .cause("the Host has users, and there is no token that says who you are");
            return Verdict::wrong(&failure.hint(format!("log in with `{LOGIN}`")), LOGIN);
        }
        let failure = Failure::new(format!("the Host at {base} does not know your token"))
            .cause("the token was revoked, belongs to another Host, or is mistyped");
        match self.is_from_env() {
            true => {
                let hint = "correct it, or remove it: then the token that `auth login` stored is used";
                Verdict::wrong_with(&failure.hint(hint), self.without_token())
            }
            false => Verdict::wrong(&failure.hint(format!("log in again with `{LOGIN}`")), LOGIN),
        }
    }
}
