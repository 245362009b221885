//! The token, and the user whom the Host knows by it.

use super::host_api::Host;
use crate::api::Caller;
use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::env_vars::KOHAKURIVER_TOKEN;
use crate::settings::{self, process_environment};

const LOGIN: &str = "kohakuriver auth login";

pub(super) struct StoredToken<'a> {
    host: &'a Given<Host>,
    is_from_env: bool,
    token: Result<Option<Token>, Failure>,
}

impl<'a> StoredToken<'a> {
    /// Reads the token, but does not use it.
    pub(super) fn load(host: &'a Given<Host>) -> Self {
        let is_from_env = process_environment(KOHAKURIVER_TOKEN).is_some();
        Self { host, is_from_env, token: settings::load_token() }
    }

    /// A command that removes the bad token, so that the next source counts.
    fn without_token(&self) -> String {
        if self.is_from_env { format!("unset {KOHAKURIVER_TOKEN}") } else { LOGIN.to_owned() }
    }
}

impl Check for StoredToken<'_> {
    const NAME: &'static str = "token";
    type Gives = Option<Token>;

    fn tried(&self) -> String {
        match &self.token {
            Ok(None) => format!("no token, neither in {KOHAKURIVER_TOKEN} nor in ~/.kohakuriver/auth.json"),
            _ if self.is_from_env => format!("the token from {KOHAKURIVER_TOKEN}"),
            _ => "the token from ~/.kohakuriver/auth.json".to_owned(),
        }
    }

    fn examine(&self) -> Result<Examined<Option<Token>>, Verdict> {
        let token = self.token.as_ref().map_err(|failure| Verdict::wrong(failure, self.without_token()))?.as_ref();
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
        match self.is_from_env {
            true => {
                let hint = "correct it, or remove it: then the token that `auth login` stored is used";
                Verdict::wrong_with(&failure.hint(hint), self.without_token())
            }
            false => Verdict::wrong(&failure.hint(format!("log in again with `{LOGIN}`")), LOGIN),
        }
    }
}
