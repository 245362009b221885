//! `kohakuriver auth logout`: removes the stored token, and revokes it on the Host if `auth login` made it.

use crate::cli::auth::file::AuthFile;
use crate::cli::host::{ask_host, client_with};
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::{Settings, env_vars, process_environment};

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
    let file = AuthFile::of_user()?;
    // An unreadable file is removed, too, unless its token has to be revoked.
    let token = match Token::from_auth_file(file.path()) {
        Err(error) if arguments.revoke => {
            return Err(Failure::new("cannot revoke the token")
                .because(&error)
                .hint("revoke it on the Host's web page, then remove the file with `kohakuriver auth logout`"));
        }
        read => read.ok().flatten(),
    };
    let has_token = token.is_some();
    if let (Some(token), Some(id)) = (token, file.token_id()) {
        let revoked = ask_host(settings, async {
            let client = client_with(settings, Some(token))?;
            client.revoke(id).await.map_err(|error| error.failure("the token may still be valid on the Host"))
        });
        if let Err(failure) = revoked {
            if arguments.revoke {
                return Err(failure.hint("the token is still stored; without `--revoke` it is only removed"));
            }
            ui::remark(failure.render("warning").trim_end());
        }
    } else if arguments.revoke && has_token {
        return Err(Failure::new("cannot revoke the token")
            .cause("`auth login` did not make it, so its number in the Host's list is unknown")
            .hint("revoke it on the Host's web page, then remove it with `kohakuriver auth logout`"));
    }
    ui::remark(&if file.remove()? {
        format!("logged out; removed {}", file.path().display())
    } else {
        "not logged in: there is no stored token".to_owned()
    });
    if process_environment(env_vars::KOHAKURIVER_TOKEN).is_some() {
        ui::remark(&format!("warning: {0} is still set; remove it with `unset {0}`", env_vars::KOHAKURIVER_TOKEN));
    }
    Ok(())
}
