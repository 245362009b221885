//! The ssh command that logs in to a VPS, for each verb that runs ssh or one of its companions.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::api::{Vps, refused};
use crate::cli::doctor::diagnose::Options;
use crate::cli::host::{ask_host, client, find, vps_ref};
use crate::cli::programs::host_keys;
use crate::cli::programs::route::{home, no_ssh, release, ssh_program, typed_route, unusable};
use crate::cli::programs::shell::plain_shell;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::names;
use crate::refusal::Refusal;
use crate::seconds;
use crate::settings::Settings;
use crate::ssh::command::SshCommand;
use crate::ssh::keys::{self, KeyNames};
use crate::ssh::options::Release;
use crate::ssh::quote::shell_line;
use crate::sys;
use crate::target::VpsRef;
use crate::text::printable;

#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct LoginFlags {
    /// Private key for the login
    #[arg(long, short = 'i', value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// User name on the VPS [default: root]
    #[arg(long, short = 'u', value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) user: Option<String>,
    /// Keep trying while the VPS is starting, for at most SECONDS (300 if omitted)
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = seconds::DEFAULT_WAIT,
          value_parser = seconds::parse)]
    wait: Option<Duration>,
}

impl LoginFlags {
    /// Whether a VPS that is starting is waited for.
    pub(crate) fn waits(&self) -> bool {
        self.wait.is_some()
    }

    /// The ssh command for `vps`, after the Host confirmed that it can be reached, and what ssh says of its options.
    pub(crate) fn command(
        &self,
        settings: &Settings,
        vps: &str,
        ssh_args: Vec<OsString>,
    ) -> Result<(SshCommand, Options), Failure> {
        let vps = vps_ref(&settings.cluster, vps)?;
        let (id, remarks) = ask_host(settings, async {
            let found = reached(settings, &vps, self.waits()).await?;
            let remarks = remarks(settings, &vps, &found).await;
            Ok((found.id, remarks))
        })?;
        remarks.iter().for_each(|remark| ui::remark(remark));
        let home = home()?;
        let ssh = ssh_program().ok_or_else(no_ssh)?;
        let mut command = SshCommand {
            route: typed_route(settings, &home, None, self.wait)?,
            ssh,
            id,
            user: self.user.clone(),
            key: keys::resolve(
                self.key.as_deref(),
                id,
                Some(&home),
                &KeyNames::of(&settings.cluster, settings.has_plain_keys()),
            )?,
            more_keys: Vec::new(),
            ssh_args,
        };
        let options = ask_ssh(&mut command)?;
        Ok((command, options))
    }
}

/// ssh's options for `command`. The same question tells which options ssh knows, and which keys it would offer, since each
/// question takes milliseconds.
fn ask_ssh(command: &mut SshCommand) -> Result<Options, Failure> {
    // Their own file counts as well, and ours would hide it.
    let ask = |command: &SshCommand| Ok(Options::of(&without_known_hosts(argv(command)?)));
    command.route.release = Release::V8_7;
    let options = match ask(command)? {
        Some(options) => options,
        None => {
            command.route.release = release(&command.ssh);
            ask(command)?.unwrap_or_default()
        }
    };
    let route = &mut command.route;
    let mut others = host_keys::of_user(&options.text);
    others.retain(|file| *file != route.known_hosts && !route.other_known_hosts.contains(file));
    route.other_known_hosts.append(&mut others);
    command.more_keys = keys::hidden_defaults(&options.text, &home()?);
    Ok(options)
}

fn without_known_hosts(mut argv: Vec<OsString>) -> Vec<OsString> {
    let ours = argv.iter().position(|word| word.as_encoded_bytes().starts_with(b"UserKnownHostsFile="));
    // With its `-o`.
    argv.drain(ours.map_or(0..0, |at| at - 1..at + 1));
    argv
}

pub(crate) fn argv(command: &SshCommand) -> Result<Vec<OsString>, Failure> {
    command.argv().map_err(|error| unusable(&error))
}

/// Looks the VPS up. A VPS that can't be reached is a failure with the reason. With `wait`, a VPS that is starting is
/// accepted, since the helper waits for it.
pub(crate) async fn reached(settings: &Settings, vps: &VpsRef, wait: bool) -> Result<Vps, Failure> {
    let client = client(settings)?;
    let found = find(&client, vps).await?;
    match found.reach {
        Err(Refusal::Starting(_)) if wait => Ok(found.vps),
        Err(refusal) => Err(refused(&refusal, &found.vps.id.to_string(), client.base())),
        Ok(_) => Ok(found.vps),
    }
}

/// A remark for the user about the VPS that a name means, before ssh starts: it is somebody else's, or another one than
/// the last time.
async fn remarks(settings: &Settings, named: &VpsRef, vps: &Vps) -> Vec<String> {
    let VpsRef::Name(name) = named else { return Vec::new() };
    let name = printable(name);
    let others = match &vps.owner {
        Some(owner) => match client(settings).map(|client| async move { client.user().await }) {
            Ok(user) => matches!(user.await, Ok(Some(user)) if !vps.belongs_to(&user.name))
                .then(|| format!("note: {name} is VPS {} of {}; you have none of this name", vps.id, printable(owner))),
            Err(_) => None,
        },
        None => None,
    };
    let moved = names::note(&settings.api_url(), &name, vps.id).remark(&name);
    others.into_iter().chain(moved).collect()
}

/// Becomes the program `argv`, which logs in. With `dry_run`, the command is printed instead.
pub(crate) fn become_or_show(argv: &[OsString], known_hosts: &Path, dry_run: bool) -> Result<ExitCode, Failure> {
    if dry_run {
        let plain = plain_shell().filter(|(name, plain)| env::var_os(name).is_some_and(|shell| shell != *plain));
        let shell: Vec<OsString> =
            plain.map(|(name, plain)| ["env".into(), format!("{name}={plain}").into()]).into_iter().flatten().collect();
        let words = shell.iter().chain(argv);
        let mut line = shell_line(words);
        line.push("\n");
        return ui::print(line.as_encoded_bytes()).map(|()| ExitCode::SUCCESS);
    }
    host_keys::prepare(known_hosts)?;
    let error = sys::become_program(Command::new(&argv[0]).args(&argv[1..]).envs(plain_shell()));
    Err(Failure::new(format!("cannot run {}", argv[0].display())).because(&error))
}
