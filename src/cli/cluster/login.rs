//! `kohakuriver login`: from nothing to `ssh trainer.kohakuriver`. It logs in, remembers the Host and writes ssh_config
//! entries. Nothing is written before the Host has answered.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::cli::auth::login as auth;
use crate::cli::auth::logout::log_out;
use crate::cli::files::config::ConfigJson;
use crate::cli::files::tokens::Files;
use crate::cli::host::load_settings;
use crate::cli::ssh::config::write_entries;
use crate::cli::terminal::ask::{confirm, line};
use crate::cli::terminal::ui;
use crate::cluster::{ClusterName, InMessages};
use crate::failure::Failure;
use crate::settings::{
    CLUSTER_KEYS, CLUSTERS, ConfigFile, DEFAULT_PORT, DEFAULT_SSH_PROXY_PORT, Flags, Settings, Source, Trust,
};
use crate::sys;
use crate::tokens;

#[derive(clap::Args, Debug)]
#[group(skip)]
#[command(after_help = format!("\
The Host's address is stored in config.json, the token in a file of its own, and ssh_config gets entries for your VPSes. \
Ports and the gateway are stored as well: give them by their options. With --cluster, this is one more cluster beside the \
default one, and its VPSes are NAME.CLUSTER.kohakuriver.

Examples:
  kohakuriver login gpu-head
  kohakuriver login https://gpu.example.org --ca-file ca.pem
  kohakuriver login lab-head --cluster lab --port 9000
  {}",
    sys::with_stdin("kohakuriver login gpu-head --token-stdin", "token.txt")))]
pub(crate) struct Arguments {
    /// Name or address of the Host, or https://HOST[:PORT] [default: the one of the cluster]
    #[arg(value_name = "HOST")]
    at: Option<String>,
    #[command(flatten)]
    auth: auth::Arguments,
    /// The cluster has moved to this Host: don't ask
    #[arg(long, short = 'y')]
    yes: bool,
}

pub(in crate::cli) fn run(flags: Flags, arguments: &Arguments) -> Result<(), Failure> {
    let file = ConfigFile::load()?;
    let typed = flags.cluster.clone();
    let flags = place(flags, arguments, &file)?;
    let flags = super::key::pin_unknown(flags, typed.as_ref())?;
    let mut settings = load_settings(&flags)?;
    // Nothing is stored yet.
    InMessages { is_unstored: true, ..InMessages::get() }.set();
    let has_none = file.clusters.iter().all(|(_, keys)| keys.host.is_none());
    settings.is_default |= has_none;
    check_moved(&settings, arguments, &file)?;
    let had_token = matches!(tokens::stored(&settings.api()), Ok(Some(_)));
    let told = auth::log_in(&settings, &arguments.auth)?;
    // config.json stays locked until the entries, which are made from it, are written.
    let config = remember(&settings).inspect_err(|_| {
        if told.is_some() && !had_token {
            // Without a stored cluster the token would never be found, so it is removed. An error of the removal would
            // hide why the cluster can't be stored.
            let _ = log_out(&settings, false);
        }
    })?;
    ui::remark(
        &told.unwrap_or_else(|| format!("the Host at {} has no users, so no login is needed", settings.api_url())),
    );
    ui::remark(&format!(
        "the cluster {} at {} is stored in {}",
        settings.cluster,
        settings.host_as_typed(),
        config.path().display()
    ));
    // The settings are read again, as each later command reads them.
    let settings = load_settings(&Flags {
        cluster: settings.cluster.name().and_then(|name| name.parse().ok()),
        ..Flags::default()
    })?;
    let host =
        if settings.is_default { "NAME.kohakuriver".to_owned() } else { format!("NAME{}", settings.cluster.suffix()) };
    match write_entries(&settings) {
        Ok(()) => ui::remark(&format!("connect with `ssh {host}`; `kohakuriver vps list` shows the names")),
        Err(failure) => {
            ui::remark(failure.render("warning: no ssh_config entries").trim_end());
            ui::remark("connect with `kohakuriver vps connect NAME`; `kohakuriver vps list` shows the names");
        }
    }
    auth::warn_of_variable();
    Ok(())
}

/// Asks whether a cluster with another Host in the file has moved.
fn check_moved(settings: &Settings, arguments: &Arguments, file: &ConfigFile) -> Result<(), Failure> {
    let name = settings.cluster.name().and_then(|name| name.parse::<ClusterName>().ok());
    let has_host = |name: &ClusterName| file.keys_of(name.as_str()).is_some_and(|keys| keys.host.is_some());
    let Some(name) = name.filter(has_host) else { return Ok(()) };
    let of_before =
        Settings::resolve(Flags { cluster: Some(name.clone()), ..Flags::default() }, &|_| None, file.clone())?;
    let [before, now] = [of_before.api(), settings.api()].map(|api| api.as_typed());
    if before == now {
        return Ok(());
    }
    let question = format!("The Host of cluster {name} is {before}. Has it moved to {now}? Its token does not follow.");
    confirm(&question, arguments.yes).map_err(|failure| {
        failure.cause(format!("the Host of cluster {name} is {before}")).hint(format!(
            "add another cluster with `--cluster NAME`, or confirm with `--yes` that it has moved to {now}"
        ))
    })
}

/// Stores the cluster in config.json.
fn remember(settings: &Settings) -> Result<ConfigJson, Failure> {
    if settings.is_default {
        Files::of_user()?.keep_from(&settings.api())?;
    }
    let mut config = ConfigJson::of_user()?;
    config.put(&settings.cluster.to_string(), stored(settings))?;
    config.write(CLUSTERS)?;
    Ok(config)
}

/// The cluster and the Host that this login is about.
fn place(flags: Flags, arguments: &Arguments, file: &ConfigFile) -> Result<Flags, Failure> {
    let host = match (&arguments.at, &flags.host) {
        (Some(_), Some(_)) => return Err(Failure::usage("two Hosts were named").hint("leave `--host` out")),
        (at, host) => at.as_ref().or(host.as_ref()).cloned(),
    };
    let flags = Flags { host, ..flags };
    if let Some(name) = &flags.cluster {
        let is_known = file.keys_of(name.as_str()).is_some_and(|keys| keys.host.is_some());
        return if flags.host.is_some() || is_known { Ok(flags) } else { Ok(Flags { host: Some(ask()?), ..flags }) };
    }
    let mut settings = Settings::load(flags.clone())?;
    if settings.host.source == Source::Default {
        settings = Settings::load(Flags { host: Some(ask()?), ..flags.clone() })?;
    }
    let Some(name) = settings.cluster.name() else { return Err(none_of_yours(&settings.host_as_typed(), file)) };
    // A cluster that a flag names takes no Host and ports from the environment, so these become flags, too.
    Ok(Flags {
        cluster: name.parse().ok(),
        host: Some(settings.host_as_typed()),
        port: Some(settings.port.value),
        ssh_proxy_port: Some(settings.ssh_proxy_port.value),
        ..flags
    })
}

fn ask() -> Result<String, Failure> {
    let asked = line("Name or address of the Host: ").filter(|host| !host.is_empty());
    asked.ok_or_else(|| Failure::usage("no Host was named").hint("name it: `kohakuriver login HOST`"))
}

/// The failure for a Host that no cluster has.
fn none_of_yours(host: &str, file: &ConfigFile) -> Failure {
    let failure = Failure::usage(format!("the Host {host} is none of your clusters"));
    let adds = format!("`kohakuriver login {host} --cluster NAME` adds it");
    let default =
        file.default_cluster.as_ref().and_then(|name| Some((name, file.keys_of(name.as_str())?.host.as_ref()?)));
    match default {
        None => failure.hint(adds),
        Some((name, at)) => failure
            .cause(format!("the default cluster, {name}, is at {at}"))
            .hint(format!("{adds}; if {name} has moved there, `kohakuriver login {host} --cluster {name}`")),
    }
}

/// The members of config.json for this cluster. Null removes a member.
fn stored(settings: &Settings) -> Map<String, Value> {
    let port = |port: u16, default: u16| if port == default { Value::Null } else { port.into() };
    // The port of a URL is in the URL, and the gateway's is the same.
    let own = settings.port.value;
    let (api, ssh_proxy) =
        if settings.scheme.is_in_address() { (own, own) } else { (DEFAULT_PORT, DEFAULT_SSH_PROXY_PORT) };
    let Trust { ca_file, pins, client_cert, client_key } = settings.tls.trust();
    let path = |path: Option<PathBuf>| path.map(|path| path.display().to_string()).into();
    let values = [
        settings.host_as_typed().into(),
        port(own, api),
        port(settings.ssh_proxy_port.value, ssh_proxy),
        settings.proxy.as_ref().map(|proxy| proxy.value.to_string()).into(),
        settings.gateway_admin_url().into(),
        path(ca_file),
        pins.map(|pins| pins.to_string()).into(),
        path(client_cert),
        path(client_key),
    ];
    // Only a flag's proxy is written: it has no password. A stored one may have a password, and must stay as it is.
    let of_flag = settings.upstream_proxy.iter().filter(|setting| setting.source == Source::Flag);
    let upstream = of_flag.map(|setting| ("upstream_proxy".to_owned(), setting.value.to_string().into()));
    CLUSTER_KEYS.into_iter().map(str::to_owned).zip(values).chain(upstream).collect()
}
