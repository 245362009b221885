//! `kohakuriver auth status`: which user the token belongs to. The token itself is never shown, only its source.

use serde_json::json;

use crate::api::ApiError;
use crate::cli::host::{ask_host, client_with};
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::settings::{Settings, env_vars};
use crate::tokens::{self, how_to_log_in};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
The JSON has the keys host_api, users (whether the Host has any), logged_in, username, role and token_source. A missing \
value is null.

Exit status:
  0  Logged in, or no login is needed
  1  The Host requires a login, or did not answer
  2  Wrong usage, or unusable settings

Examples:
  kohakuriver auth status
  kohakuriver auth status --json")]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let base = settings.api_url();
    let found = tokens::of(settings)?;
    let source = found.as_ref().map(|found| match found.source.path() {
        Some(path) => path.display().to_string(),
        None => env_vars::KOHAKURIVER_TOKEN.to_owned(),
    });
    let client = client_with(settings, found.map(|found| found.token))?;
    let (users, user) = ask_host(settings, async {
        match client.user().await {
            Ok(user) => Ok((user.is_some(), user)),
            Err(ApiError::Refusal(Refusal::TokenNeeded)) => Ok((true, None)),
            Err(error) => Err(error.failure("cannot ask the Host for your user name")),
        }
    })?;
    let (name, role) = user.map(|user| (user.name, user.role.to_string())).unzip();
    if arguments.json {
        ui::print(&ui::json(&json!({
            "host_api": base, "users": users, "logged_in": name.is_some(), "username": name, "role": role,
            "token_source": source,
        })))?;
    } else {
        let who = match &name {
            Some(name) => name.clone(),
            None if users => "none: not logged in".to_owned(),
            None => "none: the Host has no users".to_owned(),
        };
        ui::print(&ui::fields(&[
            ("Host API", base),
            ("User", who),
            ("Role", role.unwrap_or_default()),
            ("Token from", source.clone().unwrap_or_default()),
        ]))?;
    }
    if users && name.is_none() {
        let failure = Failure::new("you are not logged in").hint(how_to_log_in());
        return Err(match source {
            Some(source) => failure.cause(format!("the Host does not accept the token from {source}")),
            None => failure.cause("there is no token"),
        });
    }
    Ok(())
}
