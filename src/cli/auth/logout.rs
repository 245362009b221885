//! `kohakuriver auth logout`: the stored token goes, here and, where a log-in of ours made it, on the Host.

use crate::cli::auth::file::AuthFile;
use crate::cli::host::{ask_host, client_with};
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::{Settings, env_vars, process_environment};

pub(crate) fn run(settings: &Settings) -> Result<(), Failure> {
    let file = AuthFile::of_user()?;
    // A broken file is removed all the same.
    let token = Token::from_auth_file(file.path()).ok().flatten();
    if let (Some(token), Some(id)) = (token, file.token_id()) {
        let revoked = ask_host(settings, async {
            let client = client_with(settings, Some(token))?;
            client.revoke(id).await.map_err(|error| error.failure("the token may still be valid on the Host"))
        });
        if let Err(failure) = revoked {
            ui::remark(failure.render("warning").trim_end());
        }
    }
    ui::remark(&if file.remove()? {
        format!("logged out: {} is gone", file.path().display())
    } else {
        "there was no stored token".to_owned()
    });
    if process_environment(env_vars::KOHAKURIVER_TOKEN).is_some() {
        ui::remark(&format!("warning: {0} is still set; `unset {0}`", env_vars::KOHAKURIVER_TOKEN));
    }
    Ok(())
}
