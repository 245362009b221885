//! The place of the target: the SSH proxy that leads to it, and the Host API that its names and tokens belong to.

use super::arguments::Arguments;
use super::journal::Journal;
use crate::cluster::ClusterName;
use crate::failure::Failure;
use crate::route::Route;
use crate::secret::Token;
use crate::settings::env_vars::KOHAKURIVER_CLUSTER;
use crate::settings::{self, ConfigFile, Flags, Origin, ProxyAddress, Settings, Trust};
use crate::target::{Target, VpsRef};
use crate::tokens::{self, Line};

/// Where the target is.
pub(super) struct Place {
    pub(super) settings: Settings,
    /// The Host API behind the proxy, if it is known: a proxy alone does not tell.
    pub(super) api: Option<Origin>,
}

/// The cluster that may be part of the host name: that of the arguments, or of an environment that no argument overrides.
pub(super) fn cluster(arguments: &Arguments) -> Option<ClusterName> {
    // Settings report a name that can't be one.
    let of_env = || settings::process_environment(KOHAKURIVER_CLUSTER)?.to_str()?.parse().ok();
    arguments.cluster.clone().or_else(|| if arguments.host_api.is_none() { of_env() } else { None })
}

/// The place that arguments, environment and configuration name. The file is read only if it can change something that is
/// needed.
pub(super) fn find(
    arguments: &Arguments,
    target: &Target,
    needs_token: bool,
    journal: &Journal,
) -> Result<Place, Failure> {
    let cluster = arguments.cluster.as_ref();
    let (host, port) = arguments.host_api.as_ref().map_or((None, None), |api| (Some(host_of(api)), api.port));
    let (proxy, trust) = (arguments.proxy.clone(), arguments.trust.clone());
    let upstream_proxy = arguments.upstream_proxy.clone();
    let flags = Flags { cluster: cluster.cloned(), host, port, proxy, trust, upstream_proxy, ..Flags::default() };
    let resolve = |flags: &Flags, file| Settings::resolve(flags.clone(), &settings::process_environment, file);
    let settings = resolve(&flags, ConfigFile::default())?;
    let needs_api = matches!(target, Target::Vps(VpsRef::Name(_)));
    // A proxy alone may be another cluster's than the one that the environment names.
    let is_proxy_alone = cluster.is_none() && arguments.host_api.is_none() && arguments.proxy.is_some();
    // The certificates that TLS trusts, and the login of a proxy on the way, may be in the file.
    let has_trust = !settings.ssh_proxy().scheme.has_tls() || arguments.trust != Trust::default();
    let route = Route::of(&settings, &settings.ssh_proxy())?;
    let is_whole = has_trust && route.upstream.is_none();
    if settings.names_ssh_proxy() && is_whole && (settings.names_api() && !is_proxy_alone || !needs_token) {
        let may_log_in = matches!(target, Target::Foreign { .. }) && route.own_login.is_none();
        let settings = if may_log_in { with_own_login(&flags) } else { None }.unwrap_or(settings);
        return Ok(Place { api: Some(settings.api()).filter(|_| settings.names_api()), settings });
    }
    let file = match ConfigFile::load() {
        Ok(file) => file,
        // An unusable file stops no login whose entry names all that it needs. A failure that can't be logged says so. What
        // TLS trusts is needed: the file may pin a key, and without it every CA of this machine would do.
        Err(failure) if has_trust && settings.names_ssh_proxy() && (settings.names_api() || !needs_api) => {
            journal.step(failure.what());
            return Ok(Place { api: Some(settings.api()).filter(|_| settings.names_api()), settings });
        }
        Err(failure) => {
            journal.set_configured_file(None);
            return Err(failure);
        }
    };
    journal.set_configured_file(file.log_file.as_deref());
    let mut settings = resolve(&flags, file.clone())?;
    let behind = behind(&settings, &file).filter(|_| is_proxy_alone);
    let names_host = !is_proxy_alone || behind.is_some() || settings.host.source.is_above_file();
    if let Some(api) = behind {
        let host = host_of(&ProxyAddress { scheme: api.scheme, host: api.host, port: None });
        settings = resolve(&Flags { host: Some(host), port: Some(api.port), ..flags }, file)?;
    }
    for warning in &settings.warnings {
        journal.line(&format!("warning: {warning}"));
    }
    Ok(Place { api: names_host.then(|| settings.api()), settings })
}

/// The settings with those of the file, if `upstream_proxy` there is the very proxy that leads to the target: it has its
/// login then. Nothing else in the file concerns such a proxy, so a file that can't be used stops nothing.
fn with_own_login(flags: &Flags) -> Option<Settings> {
    let file = ConfigFile::load().ok()?;
    let settings = Settings::resolve(flags.clone(), &settings::process_environment, file).ok()?;
    let route = Route::of(&settings, &settings.ssh_proxy()).ok()?;
    route.own_login.is_some().then_some(settings)
}

/// The address of a Host API, as the setting `host` takes it, without its port.
fn host_of(api: &ProxyAddress) -> String {
    ProxyAddress { port: None, ..api.clone() }.to_string()
}

/// The Host API of the cluster with the proxy of these settings: their own cluster, else the default one, else any other.
fn behind(settings: &Settings, file: &ConfigFile) -> Option<Origin> {
    let own = file.clusters.iter().map(|(name, _)| name).find(|name| settings.cluster.name() == Some(name.as_str()));
    let names = own.into_iter().chain(&file.default_cluster).chain(file.clusters.iter().map(|(name, _)| name));
    let of = |name: &_| {
        let flags = Flags { cluster: Some(Clone::clone(name)), ..Flags::default() };
        Settings::resolve(flags, &|_| None, file.clone()).ok()
    };
    let proxy = settings.ssh_proxy();
    names.filter_map(of).find(|settings| settings.ssh_proxy() == proxy).map(|settings| settings.api())
}

/// The token for the Host behind the proxy. One in the environment counts also where a person has named the proxy only.
pub(super) fn token(arguments: &Arguments, api: Option<&Origin>) -> Result<Option<Token>, Failure> {
    // A person writes no cluster beside the addresses.
    let is_generated = arguments.cluster.is_some() && arguments.host_api.is_some();
    let line = if is_generated { Line::Generated } else { Line::Typed };
    Ok(tokens::for_api(api, line)?.map(|found| found.token))
}
