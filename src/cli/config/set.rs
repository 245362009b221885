//! `kohakuriver config set` and `unset`: change one setting in the configuration file, and keep all others.

use std::path::Path;

use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value};

use crate::cli::files::config::ConfigJson;
use crate::cli::host::in_messages;
use crate::cli::programs::route::home;
use crate::cli::ssh::files::Files;
use crate::cli::terminal::ui;
use crate::cluster::ClusterName;
use crate::failure::Failure;
use crate::settings::{self, CLUSTER_KEYS, Flags, Settings, Source, UpstreamSetting, read_host};
use crate::ssh::keys::expand_home;
use crate::sys;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
The settings are host, port, ssh_proxy_port, proxy, gateway_admin, ca_file, pinned_key, client_cert, client_key, \
upstream_proxy, proxy_auth_command, resume (auto, on or off), log_file and known_hosts. `-` reads the value from stdin, for an upstream_proxy with a \
password. A token is not a setting: `kohakuriver auth login` stores one. With `--cluster`, the setting is \
that cluster's.

Examples:
  kohakuriver config set host gpu-head
  kohakuriver config set ssh_proxy_port 9002
  kohakuriver config set upstream_proxy none")]
pub(crate) struct Arguments {
    /// Setting to change
    #[arg(value_name = "SETTING", value_parser = PossibleValuesParser::new(settings::keys()), hide_possible_values = true)]
    key: String,
    /// Its new value
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  kohakuriver config unset proxy")]
pub(crate) struct UnsetArguments {
    /// Setting to remove; one that this version doesn't know can be removed as well
    #[arg(value_name = "SETTING")]
    key: String,
}

pub(super) fn run(flags: &Flags, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { key, value } = arguments;
    let value = &typed(key, value)?;
    let mut file = ConfigJson::of_user()?;
    place(&mut file, flags, key)?.insert(key.clone(), stored(key, value));
    file.write(key)?;
    ui::remark(&format!("set `{key}` in {}", file.path().display()));
    warn_of_entries(flags, key);
    warn_if_overridden(flags, key, value);
    Ok(())
}

pub(super) fn unset(flags: &Flags, arguments: &UnsetArguments) -> Result<(), Failure> {
    let key = &arguments.key;
    let mut file = ConfigJson::of_user()?;
    if place(&mut file, flags, key)?.remove(key).is_none() {
        ui::remark(&format!("`{key}` is not set in {}", file.path().display()));
        return Ok(());
    }
    file.write(key)?;
    ui::remark(&format!("removed `{key}` from {}", file.path().display()));
    warn_of_entries(flags, key);
    Ok(())
}

/// The object that holds `key`: that of the cluster in `flags`, or of the default one, or the whole file.
fn place<'f>(file: &'f mut ConfigJson, flags: &Flags, key: &str) -> Result<&'f mut Map<String, Value>, Failure> {
    let named = flags.cluster.as_ref().map(ClusterName::to_string);
    if !CLUSTER_KEYS.contains(&key) && named.is_none() {
        return Ok(file.top());
    }
    let name = named.unwrap_or_else(|| file.default_name());
    file.keys_of(&name).ok_or_else(|| {
        Failure::usage(format!("there is no cluster `{name}`"))
            .hint(format!("`kohakuriver login HOST --cluster {name}` adds it"))
    })
}

/// The value, from stdin if it is `-`. A command line is readable for every user of this machine.
fn typed(key: &str, value: &str) -> Result<String, Failure> {
    let has_password = |text: &str| matches!(text.parse(), Ok(UpstreamSetting::Proxy(proxy)) if proxy.has_password());
    if key == "upstream_proxy" && has_password(value) {
        return Err(Failure::usage("a password on the command line is not accepted")
            .cause("other users of this machine can read it there, and your shell stores it in its history")
            .hint("give it on stdin: `kohakuriver config set upstream_proxy - < FILE`"));
    }
    if value != "-" {
        return Ok(value.to_owned());
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Failure::new("cannot read stdin").because(&error))?;
    Ok(line.trim().to_owned())
}

/// The value as the file holds it. Programs that an IDE starts have another working directory, and no shell.
fn stored(key: &str, value: &str) -> Value {
    match (key, value.parse::<u16>(), settings::home_dir()) {
        ("port" | "ssh_proxy_port", Ok(port), _) => port.into(),
        ("log_file" | "ca_file" | "client_cert" | "client_key", _, Some(home)) if !value.is_empty() => {
            let path = expand_home(Path::new(value), Some(&home));
            std::path::absolute(&path).unwrap_or(path).display().to_string().into()
        }
        _ => value.into(),
    }
}

/// The settings that entries of ssh_config hold.
const IN_ENTRIES: [&str; 9] = [
    "port",
    "ssh_proxy_port",
    "proxy",
    "ca_file",
    "pinned_key",
    "client_cert",
    "client_key",
    "upstream_proxy",
    "resume",
];

/// Entries of ssh_config override the file as well. A Host that has moved is the business of `login`.
fn warn_of_entries(flags: &Flags, key: &str) {
    let flags = Flags { cluster: flags.cluster.clone(), ..Flags::default() };
    let (Ok(settings), Ok(home)) = (Settings::load(flags), home()) else { return };
    let own = settings.cluster.to_string();
    let are_there = Files::of(&home).sections().is_ok_and(|all| all.iter().any(|section| section.cluster == own));
    if IN_ENTRIES.contains(&key) && are_there {
        let hint = "your ssh_config entries have the old value: `kohakuriver ssh config --write` renews them";
        ui::remark(&in_messages(&settings).hint(hint));
    }
}

/// The environment overrides the file, and a port of its own the one in the Host's URL.
fn warn_if_overridden(flags: &Flags, key: &str, value: &str) {
    let flags = Flags { cluster: flags.cluster.clone(), ..Flags::default() };
    let Ok(settings) = Settings::load(flags) else { return };
    let rows = super::show::rows(&settings);
    if let Some((_, _, Source::Env(name))) = rows.iter().find(|(name, ..)| *name == key) {
        ui::remark(&format!(
            "warning: {name} is set and overrides it; `{}` makes the file count",
            sys::users_shell().unset(name)
        ));
    }
    let in_url = read_host(value).filter(|_| key == "host").and_then(|host| host.port);
    let port = &settings.port;
    if port.source == Source::File && in_url.is_some_and(|in_url| in_url != port.value) {
        ui::remark(&format!(
            "warning: `port` is {}, which overrides the port of the URL; `kohakuriver config unset port` makes the URL count",
            port.value
        ));
    }
}
