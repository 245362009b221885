//! Settings, the same for all three programs: flag > environment > `config.json` > default.
//!
//! [`Settings::resolve`] is pure: flags, an [`Environment`] and a [`ConfigFile`] in, settings out. [`Settings::load`]
//! is the one place that reads the real environment and the real file.

mod address;
mod choice;
pub mod env_vars;
mod file;
mod host;
mod paths;
mod pick;
mod resume;
mod sources;
mod tls;
mod trust;
mod upstream;

use std::path::PathBuf;

pub use address::{AdminAddress, Origin, ProxyAddress, ProxyAddressError, Scheme, socket_path, without_credentials};
pub use file::{CLUSTER_KEYS, CLUSTERS, ClusterKeys, ConfigFile, ConfigFileError, DEFAULT_CLUSTER, keys, unknown_key};
pub use host::read_host;
pub use paths::{auth_path, config_path, home_dir};
pub use resume::ResumeSetting;
pub use sources::{DEFAULT_PORT, Environment, Flags, Setting, Source, process_environment};
pub use tls::TlsSettings;
pub use trust::{Pins, PinsError, Trust};
pub use upstream::{ProxyScheme, UpstreamProxy, UpstreamProxyError, UpstreamSetting, proxies_of, upstream_for};

use choice::Choice;
pub use choice::no_cluster;
use pick::{check_path, pick, pick_address, pick_optional, pick_upstream};
use sources::{env_port, env_text};

use crate::cluster::{Cluster, ClusterName, InMessages, UNNAMED};
use crate::failure::Failure;
use crate::secret::Token;
use crate::sys;

/// The Host when nothing names one.
pub const DEFAULT_HOST: &str = "localhost";
/// The TCP port of a Host's SSH proxy.
pub const DEFAULT_SSH_PROXY_PORT: u16 = 8002;

/// The TCP port of a gateway's admin address.
pub const DEFAULT_GATEWAY_ADMIN_PORT: u16 = 8003;

/// The form of a gateway's admin address.
pub const ADMIN_FORM: &str = if sys::HAS_LOCAL_SOCKETS {
    "write it as HOST[:PORT], http://HOST[:PORT] or unix:/PATH"
} else {
    "write it as HOST[:PORT] or http://HOST[:PORT]"
};

/// Every setting, ready to use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster that the other settings are of.
    pub cluster: Cluster,
    /// Whether a flag or a variable names it or its Host. The file, if it is one of all its clusters.
    pub cluster_source: Source,
    /// Whether it is the default one.
    pub is_default: bool,
    /// The names of all clusters, where there are several.
    pub clusters: Vec<ClusterName>,
    /// How a connection to the Host's API starts.
    pub scheme: Scheme,
    /// The Host's name or address, without brackets.
    pub host: Setting<String>,
    /// The TCP port of its API.
    pub port: Setting<u16>,
    /// The TCP port of its SSH proxy.
    pub ssh_proxy_port: Setting<u16>,
    /// The gateway, when a setting names one; else the Host's.
    pub proxy: Option<Setting<ProxyAddress>>,
    /// The gateway's admin address, when a setting names one.
    pub gateway_admin: Option<Setting<AdminAddress>>,
    /// The file that the helper appends its messages to.
    pub log_file: Option<Setting<PathBuf>>,
    /// The file with the host keys of VPSes, when a setting names one: absolute, or below `~`.
    pub known_hosts: Option<Setting<PathBuf>>,
    /// The certificates that connections with TLS trust.
    pub tls: TlsSettings,
    /// The proxy on the way, or that there is none, when a setting says so; else the environment's.
    pub upstream_proxy: Option<Setting<UpstreamSetting>>,
    /// The command that logs in to the proxy on the way.
    pub proxy_auth_command: Option<String>,
    /// Whether tunnels survive their connection.
    pub resume: Setting<ResumeSetting>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Resolves `flags` against the process's environment and the user's configuration file.
    ///
    /// # Errors
    /// When the file, or a variable of the environment, holds what no setting takes.
    pub fn load(flags: Flags) -> Result<Self, Failure> {
        Self::resolve(flags, &process_environment, ConfigFile::load()?)
    }

    /// [`Settings::load`] for a command that asks the Host's API and nothing else. The configuration file is read only if the API
    /// depends on it, so an unusable file stops no login whose ssh_config names the Host.
    ///
    /// # Errors
    /// The errors of [`Settings::load`].
    pub fn load_for_api(flags: Flags) -> Result<Self, Failure> {
        let settings = Self::resolve(flags.clone(), &process_environment, ConfigFile::default())?;
        if settings.names_api() { Ok(settings) } else { Self::load(flags) }
    }

    /// Resolves `flags` against an environment and a file that were read before.
    ///
    /// # Errors
    /// When one of them holds what no setting takes.
    pub fn resolve(flags: Flags, env: Environment<'_>, file: ConfigFile) -> Result<Self, Failure> {
        use env_vars::{
            KOHAKURIVER_CLUSTER, KOHAKURIVER_GATEWAY_ADMIN, KOHAKURIVER_HOST, KOHAKURIVER_KNOWN_HOSTS,
            KOHAKURIVER_LOG_FILE, KOHAKURIVER_PORT, KOHAKURIVER_SSH_PROXY_PORT,
        };
        // `--cluster` names a Host with its ports: the environment's are another's.
        let of_cluster = [KOHAKURIVER_HOST, KOHAKURIVER_PORT, KOHAKURIVER_SSH_PROXY_PORT, KOHAKURIVER_GATEWAY_ADMIN];
        let names_cluster = flags.cluster.is_some();
        let env: Environment<'_> = &|name| if names_cluster && of_cluster.contains(&name) { None } else { env(name) };
        let Choice { cluster, is_default, keys } = Choice::of(&flags, env, &file)?;
        let cluster_source = match (names_cluster || flags.host.is_some(), env(KOHAKURIVER_CLUSTER).is_some()) {
            (true, _) => Source::Flag,
            (false, true) => Source::Env(KOHAKURIVER_CLUSTER),
            (false, false) if env(KOHAKURIVER_HOST).is_some() => Source::Env(KOHAKURIVER_HOST),
            (false, false) => Source::Default,
        };
        let tls = TlsSettings::resolve(flags.trust, &keys)?;
        let upstream_proxy = pick_upstream(flags.upstream_proxy, keys.upstream_proxy, env)?;
        let host = pick(flags.host, env_text(env, KOHAKURIVER_HOST)?, keys.host, DEFAULT_HOST.to_owned());
        let proxy = pick_address("proxy", flags.proxy, None, keys.proxy, |error| error.to_string())?;
        let env_admin = env_text(env, KOHAKURIVER_GATEWAY_ADMIN)?;
        let form = |_| ADMIN_FORM.to_owned();
        let gateway_admin = pick_address("gateway_admin", flags.gateway_admin, env_admin, keys.gateway_admin, form)?;
        let env_keys = env(KOHAKURIVER_KNOWN_HOSTS).map(|value| (PathBuf::from(value), KOHAKURIVER_KNOWN_HOSTS));
        let known_hosts = pick_optional(None, env_keys, file.known_hosts);
        let known_hosts = known_hosts.map(|file| check_path("the file of host keys", file)).transpose()?;
        let env_log = env(KOHAKURIVER_LOG_FILE).map(|value| (PathBuf::from(value), KOHAKURIVER_LOG_FILE));
        let address = host::address_of(&host)?;
        let port = pick_optional(flags.port, env_port(env, KOHAKURIVER_PORT)?, keys.port);
        let in_url = address.port.map(|value| Setting { value, source: host.source.clone() });
        let port = host::api_port(in_url, port);
        let env_port = env_port(env, KOHAKURIVER_SSH_PROXY_PORT)?;
        let ssh_proxy_port = pick_optional(flags.ssh_proxy_port, env_port, keys.ssh_proxy_port);
        let clusters =
            if file.clusters.len() > 1 { file.clusters.into_iter().map(|(name, _)| name).collect() } else { vec![] };
        Ok(Self {
            cluster,
            cluster_source,
            is_default,
            clusters,
            scheme: address.scheme,
            host: Setting { value: address.host, source: host.source },
            ssh_proxy_port: ssh_proxy_port.unwrap_or_else(|| match address.scheme.is_in_address() {
                true => port.clone(),
                false => Setting { value: DEFAULT_SSH_PROXY_PORT, source: Source::Default },
            }),
            port,
            tls,
            upstream_proxy,
            proxy_auth_command: keys.proxy_auth_command,
            resume: pick(None, None, keys.resume, ResumeSetting::Auto),
            proxy,
            gateway_admin,
            log_file: pick_optional(flags.log_file, env_log, file.log_file),
            known_hosts,
            warnings: file.unknown.iter().map(|key| format!("config.json: {}", unknown_key(key))).collect(),
        })
    }

    /// Whether keys of VPSes without a cluster in their names are for its VPSes: for the cluster with that name of old if
    /// there is one, else for the default one.
    pub fn has_plain_keys(&self) -> bool {
        self.is_default && !self.clusters.iter().any(|name| name.as_str() == UNNAMED)
            || self.cluster == Cluster::Unnamed
    }

    /// Whether flags and environment name the SSH proxy, so that the configuration file can't change it.
    pub fn names_ssh_proxy(&self) -> bool {
        let has_port = |proxy: &ProxyAddress| proxy.port.is_some() || self.ssh_proxy_port.source.is_above_file();
        self.proxy.as_ref().is_some_and(|proxy| proxy.source.is_above_file() && has_port(&proxy.value))
    }

    /// Whether flags and environment name the Host's API.
    pub fn names_api(&self) -> bool {
        self.host.source.is_above_file() && self.port.source.is_above_file()
    }

    /// Whether nothing names the Host: its API is then the default one.
    pub fn names_no_host(&self) -> bool {
        self.host.source == Source::Default && self.port.source == Source::Default
    }

    /// Whether nothing names the SSH proxy: it is then the default one.
    pub fn names_no_ssh_proxy(&self) -> bool {
        let is_default = self.host.source == Source::Default && self.ssh_proxy_port.source == Source::Default;
        is_default && self.proxy.is_none()
    }

    /// The Host's API.
    pub fn api(&self) -> Origin {
        Origin { scheme: self.scheme, host: self.host.value.clone(), port: self.port.value }
    }

    /// The Host as the setting `host` takes it: with its port, if it is a URL and another than 443.
    pub fn host_as_typed(&self) -> String {
        match self.scheme.is_in_address() {
            true => self.api_url().trim_end_matches(":443").to_owned(),
            false => self.host.value.clone(),
        }
    }

    /// These settings, with a flag about tunnels that survive their connection if it was given.
    #[must_use]
    pub fn with_resume_flag(self, demand: Option<bool>) -> Self {
        let flag = demand.map(|demand| Setting { value: demand.into(), source: Source::Flag });
        Self { resume: flag.unwrap_or_else(|| self.resume.clone()), ..self }
    }

    /// The base of the Host's API, as `http://host:port`.
    pub fn api_url(&self) -> String {
        self.api().to_string()
    }

    /// The gateway's admin address, which lists all open tunnels, as `http://host:port` or `unix:/path`, when a setting names
    /// one.
    pub fn gateway_admin_url(&self) -> Option<String> {
        self.gateway_admin.as_ref().map(|admin| match &admin.value {
            AdminAddress::Unix(path) => format!("unix:{}", path.display()),
            AdminAddress::Http(address) => address.or_port(DEFAULT_GATEWAY_ADMIN_PORT).to_string(),
        })
    }

    /// The SSH proxy in force.
    pub fn ssh_proxy(&self) -> Origin {
        match &self.proxy {
            Some(proxy) => proxy.value.or_port(self.ssh_proxy_port.value),
            None => Origin { port: self.ssh_proxy_port.value, ..self.api() },
        }
    }
}

/// The failure of a user who has set no Host, on a machine that is none: nothing answers at the default `address`, and
/// `why` says how.
pub fn no_host(address: &str, why: &str) -> Failure {
    Failure::new("no Host is set").cause(format!("nothing answers at the default, {address}: {why}")).hint(format!(
        "name the Host with `kohakuriver login HOST`, or with `{}`",
        sys::users_shell().set(env_vars::KOHAKURIVER_HOST, "HOST")
    ))
}

/// The Host that a token without a Host belongs to, such as the one in the Python CLI's file: the default cluster's, or
/// else the one that environment or file name. No flag changes it.
///
/// # Errors
/// The errors of [`Settings::load`].
pub fn home_api(file: &ConfigFile, env: Environment<'_>) -> Result<Origin, Failure> {
    let has_host = file.default_cluster.as_ref().and_then(|name| file.keys_of(name.as_str())?.host.as_ref()).is_some();
    let flags = Flags { cluster: file.default_cluster.clone().filter(|_| has_host), ..Flags::default() };
    Settings::resolve(flags, env, file.clone()).map(|settings| settings.api())
}

/// Makes messages name the cluster, where the user has several. For programs that need no file until something fails.
pub fn name_in_messages(cluster: &str) {
    let file = ConfigFile::load().unwrap_or_default();
    if file.clusters.len() > 1 {
        let is_default = file.default_cluster.as_ref().is_some_and(|name| name.as_str() == cluster);
        let flags = if is_default { String::new() } else { format!("--cluster {cluster} ") };
        InMessages { name: Some(cluster.to_owned()), flags, is_unstored: false }.set();
    }
}

/// The token in the environment variable `name`, if it is set.
///
/// # Errors
/// When its value can't be a token. The message doesn't quote it.
pub fn token_in(name: &str) -> Result<Option<Token>, Failure> {
    let Some(value) = process_environment(name) else { return Ok(None) };
    Token::new(&value.to_string_lossy()).map(Some).map_err(|error| {
        let failure = Failure::usage(format!("cannot use {name}")).because(&error);
        failure.hint(sources::set_again_or_unset(name))
    })
}

#[cfg(test)]
mod tests;
