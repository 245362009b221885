//! `kohakuriver cluster use`, `rename` and `remove`: what they change in config.json, and what follows from it.
//!
//! config.json comes first, since all else is made from it: entries of ssh_config, names of host keys and of private keys.
//! The file is locked to the end, so that of two commands each makes all of it from its own.
//! Only the logout of `remove` comes before, while config.json tells whose the Python CLI's token is.

use crate::cli::auth;
use crate::cli::files::config::ConfigJson;
use crate::cli::files::tokens::Files;
use crate::cli::host::{every_cluster, vps_cache};
use crate::cli::programs::host_keys::HostKeys;
use crate::cli::programs::route::home;
use crate::cli::ssh::config::rewrite;
use crate::cli::terminal::ui;
use crate::cluster::{Cluster, ClusterName};
use crate::failure::Failure;
use crate::settings::{CLUSTERS, ClusterKeys, ConfigFile, Flags, Settings, no_cluster};
use crate::ssh::keys;
use crate::ssh::known_hosts::KnownHosts;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
`ssh NAME.kohakuriver`, and each command without --cluster, goes to the default cluster.

Examples:
  kohakuriver cluster use lab")]
pub(crate) struct UseArguments {
    /// The cluster
    #[arg(value_name = "NAME", add = vps_cache::clusters())]
    name: ClusterName,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Stored host keys and keys of VPSes get the new name, too.

Examples:
  kohakuriver cluster rename default work")]
pub(crate) struct RenameArguments {
    /// Its name now
    #[arg(value_name = "OLD", add = vps_cache::clusters())]
    old: ClusterName,
    /// Its new name
    #[arg(value_name = "NEW")]
    new: ClusterName,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Its token is removed, and revoked on the Host if a login made it. Nothing else changes on the Host. Keys of VPSes and their \
host keys stay in ~/.ssh.

Examples:
  kohakuriver cluster remove lab")]
pub(crate) struct RemoveArguments {
    /// The cluster
    #[arg(value_name = "NAME", add = vps_cache::clusters())]
    name: ClusterName,
}

pub(super) fn make_default(arguments: &UseArguments) -> Result<(), Failure> {
    let name = &arguments.name;
    let file = ConfigFile::load()?;
    there(&file, name)?;
    if file.default_cluster.as_ref() == Some(name) {
        ui::remark(&format!("{name} is the default cluster already"));
        return Ok(());
    }
    let next = Settings::load(Flags { cluster: Some(name.clone()), ..Flags::default() })?;
    Files::of_user()?.keep_from(&next.api())?;
    let mut config = ConfigJson::of_user()?;
    config.set_default(name.as_str())?;
    config.write(CLUSTERS)?;
    ui::remark(&format!("{name} is the default cluster now"));
    rewrite(&every_cluster(&Flags::default())?, None, None)
}

pub(super) fn rename(arguments: &RenameArguments) -> Result<(), Failure> {
    let RenameArguments { old, new } = arguments;
    let file = ConfigFile::load()?;
    there(&file, old)?;
    if file.keys_of(new.as_str()).is_some() {
        return Err(Failure::usage(format!("there is a cluster `{new}` already"))
            .hint("see your clusters with `kohakuriver cluster list`"));
    }
    if file.keys_of(old.as_str()) == Some(&ClusterKeys::default()) {
        return Err(Failure::usage(format!("config.json says nothing about a cluster `{old}`"))
            .hint(format!("`kohakuriver login HOST --cluster {new}` adds one")));
    }
    let (before, after) = (Cluster::of(old), Cluster::of(new));
    let home = home()?;
    let store = HostKeys::of(&Settings::load(Flags { cluster: Some(old.clone()), ..Flags::default() })?, &home).store;
    let mut config = ConfigJson::of_user()?;
    config.rename(old.as_str(), new.as_str())?;
    config.write(CLUSTERS)?;
    ui::remark(&format!("the cluster {old} is called {new} now"));
    KnownHosts::at(&store, &before).rename(&after).map_err(|error| {
        Failure::new(format!("the host keys of VPSes keep the name of cluster {old}"))
            .because(&error)
            .hint(format!("rename it back, and try again: `kohakuriver cluster rename {new} {old}`"))
    })?;
    // The names that the Python CLI looks for stay.
    let end = if before == Cluster::Unnamed { ", too" } else { " now" };
    for (from, to) in keys::rename(&home, &before, &after) {
        ui::remark(&format!("{} is called {}{end}", from.display(), to.display()));
    }
    rewrite(&every_cluster(&Flags::default())?, Some(old.as_str()), Some(new.as_str()))
}

pub(super) fn remove(arguments: &RemoveArguments) -> Result<(), Failure> {
    let name = &arguments.name;
    let file = ConfigFile::load()?;
    there(&file, name)?;
    let is_default = file.default_cluster.as_ref() == Some(name);
    if is_default && file.clusters.len() > 1 {
        return Err(Failure::usage(format!("{name} is the default cluster"))
            .cause("`ssh NAME.kohakuriver` and each command without --cluster go there")
            .hint("make another one the default first: `kohakuriver cluster use NAME`"));
    }
    let settings = Settings::load(Flags { cluster: Some(name.clone()), ..Flags::default() })?;
    // Two clusters may have one Host, and with it one token.
    let api = settings.api();
    let is_shared = every_cluster(&Flags::default())?.iter().filter(|other| other.api() == api).count() > 1;
    if !is_shared && let Some(told) = auth::logout::log_out(&settings, false)? {
        ui::remark(&told);
    }
    let mut config = ConfigJson::of_user()?;
    config.remove(name.as_str())?;
    config.write(CLUSTERS)?;
    ui::remark(&format!("removed the cluster {name}"));
    rewrite(&[], Some(name.as_str()), None)
}

/// Fails if there is no such cluster.
fn there(file: &ConfigFile, name: &ClusterName) -> Result<(), Failure> {
    file.keys_of(name.as_str()).map(|_| ()).ok_or_else(|| no_cluster(name, file))
}
