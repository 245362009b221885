//! `kohakuriver auth login`: stores the user's own token, or one that the Host makes for a user name and a password.
//!
//! The Host treats a wrong token like no token, so we ask which user the token belongs to before we store it. Neither
//! token nor password is ever on a command line.

use std::io::Read;

use crate::api::{ApiError, Client, NewToken, Session, User};
use crate::cli::files::tokens::{Files, record, record_of_new};
use crate::cli::host::internet::has_public_address;
use crate::cli::host::{ask_host, client_with, the_host};
use crate::cli::terminal::{ask, interrupt, ui};
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::settings::{Settings, env_vars, process_environment};
use crate::sys;

/// Most bytes that are read from stdin.
const MAX_STDIN: u64 = 16 * 1024;

/// Longest token name that the Host accepts, in characters.
const MAX_TOKEN_NAME: usize = 100;

#[derive(clap::Args, Debug)]
#[command(after_help = format!("\
Without an option this command prompts for a user name and a password, and the Host makes a token. With an empty user \
name it prompts for an existing token. The token is stored in ~/.kohakuriver/auth.json, which KohakuRiver's Python CLI \
uses too.

Examples:
  kohakuriver auth login
  {}
  {}",
    sys::with_stdin("kohakuriver auth login --token-stdin", "token.txt"),
    sys::with_stdin("kohakuriver auth login --user alice --password-stdin", "password.txt")))]
pub(crate) struct Arguments {
    /// Read the token from stdin
    #[arg(long, conflicts_with_all = ["user", "password_stdin"])]
    token_stdin: bool,
    /// Log in with a password as this user
    #[arg(long, short = 'u', alias = "username", value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Read the password from stdin
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// Name of the new token in the Host's list [default: kohakuriver on <this machine>]
    #[arg(long, value_name = "NAME", conflicts_with = "token_stdin",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    token_name: Option<String>,
    /// The Python CLI's flag, which is refused
    #[arg(long, short = 't', hide = true, value_parser = |_: &str| Ok::<_, String>(Secret))]
    token: Option<Secret>,
    /// The Python CLI's flag, which is refused
    #[arg(long, short = 'p', hide = true, value_parser = |_: &str| Ok::<_, String>(Secret))]
    password: Option<Secret>,
}

/// A secret that was given on the command line. It is not kept.
#[derive(Clone, Debug)]
struct Secret;

/// The secret that a login sends.
enum Credentials {
    Token(Token),
    Password { user: String, password: String },
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    match log_in(settings, arguments)? {
        Some(told) => ui::remark(&told),
        None => ui::remark(&format!("{} has no users, so no login is needed", the_host(settings))),
    }
    warn_of_variable();
    Ok(())
}

/// Warns if the Host's API is plain HTTP at an address of the internet: the secret would cross it in clear text. Networks
/// at home and at work are left alone.
fn warn_of_clear_text(settings: &Settings) {
    let api = settings.api();
    if !api.scheme.has_tls() && has_public_address(&api) {
        ui::remark(&format!(
            "warning: {api} is in the internet and has no TLS, so others can read your password and your token on the way; \
             its admin can set TLS up (`kohakuriver-gateway --help`, --tls-listen), and you log in with \
             `kohakuriver login https://{}`",
            api.host
        ));
    }
}

/// Says that a token in the environment wins over the stored one.
pub(crate) fn warn_of_variable() {
    if process_environment(env_vars::KOHAKURIVER_TOKEN).is_some() {
        ui::remark(&format!(
            "warning: {0} is set and overrides the stored token; remove it with `{1}`",
            env_vars::KOHAKURIVER_TOKEN,
            sys::users_shell().unset(env_vars::KOHAKURIVER_TOKEN)
        ));
    }
}

/// Logs in and stores the token. Returns what to say about it, or nothing for a Host without users.
pub(crate) fn log_in(settings: &Settings, arguments: &Arguments) -> Result<Option<String>, Failure> {
    arguments.refuse_secrets()?;
    warn_of_clear_text(settings);
    let base = settings.api_url();
    let files = Files::of_user()?;
    let client = client_with(settings, None)?;
    // Don't prompt for a password that the Host doesn't need.
    if ask_host(settings, has_no_users(&client))? {
        return Ok(None);
    }
    let (user, path) = match credentials(arguments)? {
        Credentials::Token(token) => {
            let user = ask_host(settings, user_of(&client, &token))?;
            let path = files.store(settings, &token, &record(&token, &user))?;
            (user, path)
        }
        Credentials::Password { user, password } => {
            let session = ask_host(settings, async {
                client.log_in(&user, &password).await.map_err(|error| refused(&error, &user, &base))
            })?;
            let token = ask_host(settings, new_token(&client, &session, arguments.token_name.as_deref()))?;
            match files.store(settings, &token.token, &record_of_new(&token, &session.user)) {
                Ok(path) => (session.user, path),
                Err(failure) => return Err(unstored(settings, &client, token, failure)),
            }
        }
    };
    let path = path.display();
    Ok(Some(format!("logged in to {base} as {} ({}); the token is in {path}", user.name, user.role)))
}

/// The failure if a new token can't be stored. Without the file nobody could use or revoke it later.
fn unstored(settings: &Settings, client: &Client, token: NewToken, failure: Failure) -> Failure {
    let client = client.with_token(Some(token.token));
    let revoked = ask_host(settings, async { Ok(client.revoke(token.id).await.is_ok()) });
    let state = if matches!(revoked, Ok(true)) { "was revoked" } else { "could not be revoked" };
    failure
        .cause(format!("the new token `{}` {state}", token.name))
        .hint("make that file writable, then log in again with `kohakuriver auth login`")
}

impl Arguments {
    /// A command line is readable for every user of this machine, and shells keep it in their history.
    fn refuse_secrets(&self) -> Result<(), Failure> {
        let (secret, hint) = match (&self.token, &self.password) {
            (Some(_), _) => ("token", format!("`{}`", sys::with_stdin("kohakuriver auth login --token-stdin", "FILE"))),
            (_, Some(_)) => {
                ("password", "`kohakuriver auth login --user USER`, which asks for the password".to_owned())
            }
            (None, None) => return Ok(()),
        };
        Err(Failure::usage(format!("a {secret} on the command line is not accepted"))
            .cause("other users of this machine can read it there, and your shell stores it in its history")
            .hint(format!("log in with {hint}; change the {secret} if it was a real one")))
    }
}

async fn has_no_users(client: &Client) -> Result<bool, Failure> {
    match client.user().await {
        // Make sure that this is a Host: other servers know no users either.
        Ok(None) => client.nodes().await.map(|_| true).map_err(|error| error.failure("cannot log in")),
        Ok(Some(_)) | Err(ApiError::Refusal(Refusal::TokenNeeded)) => Ok(false),
        Err(error) => Err(error.failure("cannot log in")),
    }
}

/// Makes a token for the user of `session`.
async fn new_token(client: &Client, session: &Session, name: Option<&str>) -> Result<NewToken, Failure> {
    let name = name.map_or_else(|| token_name(&sys::host_name()), str::to_owned);
    let unknown = |failure: Failure| {
        let failure = failure.cause(format!("it is unknown whether the Host made a token; its name would be `{name}`"));
        failure.hint("nothing was stored; log in again with `kohakuriver auth login`")
    };
    match interrupt::unless_raised(client.new_token(session, &name)).await {
        None => Err(unknown(Failure::interrupted("interrupted before the Host answered"))),
        Some(made) => made.map_err(|error| {
            let failure = error.failure("the Host did not make a token");
            if error.had_no_effect() { failure } else { unknown(failure) }
        }),
    }
}

async fn user_of(client: &Client, token: &Token) -> Result<User, Failure> {
    match client.with_token(Some(token.clone())).user().await {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(Failure::new("cannot log in").cause("the Host no longer has users")),
        Err(ApiError::Refusal(Refusal::TokenNeeded)) => Err(Failure::new("the Host does not know this token")
            .cause(format!("the Host at {} treats it as anonymous", client.base()))
            .hint("make a new token with `kohakuriver auth login` and your password, or on the Host's web page")),
        Err(error) => Err(error.failure("cannot log in")),
    }
}

fn credentials(arguments: &Arguments) -> Result<Credentials, Failure> {
    if arguments.token_stdin {
        return token(&stdin()?).map(Credentials::Token);
    }
    let user = match &arguments.user {
        Some(user) => user.clone(),
        None => ask::line("User name (empty to enter a token): ").ok_or_else(|| {
            Failure::usage("there is no terminal to ask on")
                .hint("use `--token-stdin`, or `--user` with `--password-stdin`")
        })?,
    };
    if user.is_empty() {
        return token(&ask::secret("Token: ")?).map(Credentials::Token);
    }
    let password = if arguments.password_stdin { stdin()? } else { ask::secret("Password: ")? };
    if password.is_empty() {
        return Err(Failure::usage("the password is empty"));
    }
    Ok(Credentials::Password { user, password })
}

fn token(text: &str) -> Result<Token, Failure> {
    Token::new(text).map_err(|error| Failure::usage("cannot use this token").because(&error))
}

/// The first line of stdin.
fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_STDIN).read_to_string(&mut text);
    read.map_err(|error| Failure::new("cannot read stdin").because(&error))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn refused(error: &ApiError, user: &str, base: &str) -> Failure {
    match error {
        ApiError::Refusal(Refusal::TokenNeeded) => Failure::new(format!("cannot log in as {user}"))
            .cause(format!("the Host at {base} says: wrong user name or password"))
            .hint("try again with `kohakuriver auth login`; the Host's admin can set a new password"),
        ApiError::Status { status: 403, detail, .. } => Failure::new(format!("cannot log in as {user}"))
            .cause(format!("the Host at {base} says: {detail}"))
            .hint("ask the Host's admin"),
        error => error.failure(format!("cannot log in as {user}")),
    }
}

/// The token's name in the Host's list.
fn token_name(machine: &str) -> String {
    format!("kohakuriver on {machine}").chars().take(MAX_TOKEN_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_name_names_the_machine_and_is_not_too_long_for_the_host() {
        assert_eq!(token_name("laptop"), "kohakuriver on laptop");
        let long = token_name(&"ä".repeat(200));
        assert_eq!(long.chars().count(), MAX_TOKEN_NAME);
    }

    #[test]
    fn an_empty_token_is_a_usage_error() {
        for text in ["", " ", "a b", "a\nb"] {
            assert_eq!(token(text).err().map(|failure| failure.exit_code()), Some(2.into()), "{text:?}");
        }
        assert!(token("5ekr1t").is_ok());
    }
}
