//! `kohakuriver auth logout`: removes the stored token, and revokes it on the Host if `auth login` made it.

use std::path::Path;

use crate::cli::files::tokens::Files;
use crate::cli::host::{ask_host, client_with, the_host};
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::{Settings, env_vars, process_environment};
use crate::sys;
use crate::tokens::{self, Found};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
If `auth login` made the token with a password, the token is also revoked on the Host. Any other token stays valid there.

Examples:
  kohakuriver auth logout
  kohakuriver auth logout --revoke")]
pub(crate) struct Arguments {
    /// Fail, and keep the token, if it can't be revoked
    #[arg(long, short = 'r')]
    revoke: bool,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let told = log_out(settings, arguments.revoke)?;
    let not_in = || format!("not logged in: there is no stored token for {}", the_host(settings));
    ui::remark(&told.unwrap_or_else(not_in));
    if process_environment(env_vars::KOHAKURIVER_TOKEN).is_some() {
        ui::remark(&format!(
            "warning: {0} is still set; remove it with `{1}`",
            env_vars::KOHAKURIVER_TOKEN,
            sys::users_shell().unset(env_vars::KOHAKURIVER_TOKEN)
        ));
    }
    Ok(())
}

/// Removes the stored token for the Host in `settings`, and revokes it if a login made it. `must`: fail if that is not
/// possible. Returns what to say, or nothing without a token.
pub(crate) fn log_out(settings: &Settings, must: bool) -> Result<Option<String>, Failure> {
    let (files, api) = (Files::of_user()?, settings.api_url());
    let path = match tokens::stored(&settings.api()) {
        Ok(None) => None,
        Ok(Some(Found { token, source })) => {
            let path = source.path().map(Path::to_owned);
            let id = path.as_ref().and_then(|path| files.record(&api, path)?["token_id"].as_u64());
            revoke(settings, token, id, must)?;
            path
        }
        Err(failure) if must => {
            let failure =
                failure.causes().iter().fold(Failure::new("cannot revoke the token"), |all, cause| all.cause(cause));
            return Err(failure.hint("revoke it on the Host's web page, then remove it with `kohakuriver auth logout`"));
        }
        // An unreadable file is removed, too, if nothing else can be in it.
        Err(failure) => Some(files.unreadable(settings).ok_or(failure)?),
    };
    let Some(path) = path else { return Ok(None) };
    files.remove(&api, &path)?;
    Ok(Some(format!("logged out of {}; removed its token from {}", the_host(settings), path.display())))
}

/// Revokes a token that `auth login` made, whose number in the Host's list is `id`.
fn revoke(settings: &Settings, token: Token, id: Option<u64>, must: bool) -> Result<(), Failure> {
    let Some(id) = id else {
        let cannot = || {
            Failure::new("cannot revoke the token")
                .cause("`auth login` did not make it, so its number in the Host's list is unknown")
                .hint("revoke it on the Host's web page, then remove it with `kohakuriver auth logout`")
        };
        return if must { Err(cannot()) } else { Ok(()) };
    };
    let revoked = ask_host(settings, async {
        let client = client_with(settings, Some(token))?;
        client.revoke(id).await.map_err(|error| error.failure("the token may still be valid on the Host"))
    });
    match revoked {
        Err(failure) if must => Err(failure.hint("the token is still stored; without `--revoke` it is only removed")),
        Err(failure) => {
            ui::remark(failure.render("warning").trim_end());
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
