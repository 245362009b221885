//! `kohakuriver auth login`: a token of the user's own, or one that the Host makes for a name and a password.
//!
//! A Host takes a wrong token for that of an anonymous user, so it is asked who we are before anything is stored.
//! Neither token nor password is ever on a command line.

use std::io::Read;

use crate::api::{ApiError, Client, NewToken, Session, User};
use crate::cli::auth::file::AuthFile;
use crate::cli::host::{ask_host, client_with};
use crate::cli::terminal::ask;
use crate::cli::terminal::interrupt;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::settings::{Settings, env_vars, process_environment};

/// Most bytes of stdin that are read.
const MAX_STDIN: u64 = 16 * 1024;

/// Longest name that a Host takes for a token, in characters.
const MAX_TOKEN_NAME: usize = 100;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Without an option it asks for a user name and a password, and has the Host make a token; with no user name, for a token \
that you have. The token is kept in ~/.kohakuriver/auth.json, which KohakuRiver's Python CLI uses too.

  kohakuriver auth login
  kohakuriver auth login --token-stdin < token.txt")]
pub(crate) struct Arguments {
    /// Read the token from stdin
    #[arg(long, conflicts_with_all = ["user", "password_stdin"])]
    token_stdin: bool,
    /// Log in with a password as this user
    #[arg(long, short = 'u', value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Read the password from stdin
    #[arg(long, requires = "user")]
    password_stdin: bool,
}

/// What the user shows.
enum Credentials {
    Token(Token),
    Password { user: String, password: String },
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let base = settings.api_url();
    let file = AuthFile::of_user()?;
    let client = client_with(settings, None)?;
    // Nobody types a password for a Host that has no use for it.
    if ask_host(settings, has_no_users(&client))? {
        ui::remark(&format!("the Host at {base} has no users: everything is allowed without a login"));
        return Ok(());
    }
    let user = match credentials(arguments)? {
        Credentials::Token(token) => {
            let user = ask_host(settings, whose(&client, &token))?;
            file.store(&token, &user)?;
            user
        }
        Credentials::Password { user, password } => {
            let session = ask_host(settings, async {
                client.log_in(&user, &password).await.map_err(|error| refused(&error, &user, &base))
            })?;
            let token = ask_host(settings, new_token(&client, &session))?;
            if let Err(failure) = file.store_new(&token, &session.user) {
                // Nobody could use it, or ever revoke it.
                let client = client.with_token(Some(token.token));
                let revoked = ask_host(settings, async { Ok(client.revoke(token.id).await) })?;
                let fate = if revoked.is_ok() { "is revoked again" } else { "could not be revoked again" };
                return Err(failure
                    .cause(format!("the token that the Host has made, `{}`, {fate}", token.name))
                    .hint("make that file writable, then log in again with `kohakuriver auth login`"));
            }
            session.user
        }
    };
    ui::remark(&format!(
        "logged in to {base} as {} ({}); the token is in {}",
        user.name,
        user.role,
        file.path().display()
    ));
    if process_environment(env_vars::KOHAKURIVER_TOKEN).is_some() {
        ui::remark(&format!("warning: {0} is set, and wins over it; `unset {0}`", env_vars::KOHAKURIVER_TOKEN));
    }
    Ok(())
}

async fn has_no_users(client: &Client) -> Result<bool, Failure> {
    match client.user().await {
        // Whatever knows nothing of users may be no Host at all.
        Ok(None) => client.nodes().await.map(|_| true).map_err(|error| error.failure("cannot log in")),
        Ok(Some(_)) | Err(ApiError::Refusal(Refusal::TokenNeeded)) => Ok(false),
        Err(error) => Err(error.failure("cannot log in")),
    }
}

/// A token for whoever opened `session`.
async fn new_token(client: &Client, session: &Session) -> Result<NewToken, Failure> {
    let name = token_name();
    let unknown = |failure: Failure| {
        let failure = failure.cause(format!("whether it has made one is unknown; it would be called `{name}`"));
        failure.hint("nothing is stored; make another with `kohakuriver auth login`")
    };
    match interrupt::unless_raised(client.new_token(session, &name)).await {
        None => Err(unknown(Failure::interrupted("no longer waiting for the Host's token"))),
        Some(made) => made.map_err(|error| {
            let failure = error.failure("the Host makes no token for you");
            if error.was_not_heard() { failure } else { unknown(failure) }
        }),
    }
}

async fn whose(client: &Client, token: &Token) -> Result<User, Failure> {
    match client.with_token(Some(token.clone())).user().await {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(Failure::new("cannot log in").cause("the Host has no users any more")),
        Err(ApiError::Refusal(Refusal::TokenNeeded)) => Err(Failure::new("the Host does not know this token")
            .cause(format!("to the Host at {} whoever shows it is anonymous", client.base()))
            .hint("make a new one with `kohakuriver auth login` and your password, or on the Host's web page")),
        Err(error) => Err(error.failure("cannot log in")),
    }
}

fn credentials(arguments: &Arguments) -> Result<Credentials, Failure> {
    if arguments.token_stdin {
        return token(&stdin()?).map(Credentials::Token);
    }
    let user = match &arguments.user {
        Some(user) => user.clone(),
        None => ask::line("User name (none to give a token): ").ok_or_else(|| {
            Failure::usage("there is no terminal to ask on")
                .hint("give a token with `--token-stdin`, or `--user` and `--password-stdin`")
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

/// One line, without its end.
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
            .hint("try again with `kohakuriver auth login`; who runs the Host can set a new password"),
        ApiError::Status { status: 403, detail, .. } => Failure::new(format!("cannot log in as {user}"))
            .cause(format!("the Host at {base} says: {detail}"))
            .hint("ask who runs the Host"),
        error => error.failure(format!("cannot log in as {user}")),
    }
}

/// What the token is listed under on the Host.
fn token_name() -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("kohakuriver on {machine}").chars().take(MAX_TOKEN_NAME).collect()
}
