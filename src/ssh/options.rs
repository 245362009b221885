//! The ssh options for the route to a VPS, the same for `vps connect` and for each stanza of `ssh config`.
//!
//! Pure: facts in, words out. Host keys stay checked: our known_hosts file has a VPS's keys under its task id ([`Cluster::alias`]),
//! and ssh refuses a key that changed. This is the only protection behind an older Host, whose SSH proxy has no
//! authentication. The user's own known_hosts is not changed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::settings::{Origin, Trust, UpstreamSetting};
use crate::ssh::quote::{self, PathValueError};
use crate::ssh::resume::Resume;
use crate::target::SSH_PORT;

/// The default login, which the images of VPSes are prepared for.
pub const DEFAULT_USER: &str = "root";

/// The interval of ssh's own keepalive, in seconds. An older Host does not report that a VPS's sshd is gone; only this
/// notices it.
pub const SERVER_ALIVE_INTERVAL: u32 = 30;

/// After so many intervals without an answer ssh ends the session: its own default.
pub const SERVER_ALIVE_COUNT_MAX: u32 = 3;

/// The number for a resumable tunnel, 20 minutes in all. A gateway keeps such a tunnel for 15 minutes without a
/// connection, and the helper ends the session then.
pub const SERVER_ALIVE_COUNT_MAX_RESUMABLE: u32 = 40;

/// A list of algorithms for keys: ssh's own list.
const ANY_KIND: &str = "+ssh-ed25519";

/// Our known_hosts file in a home directory. Its name begins with a dot, so that a glob of the user's
/// (`Include ~/.ssh/kohakuriver*`) does not match it: ssh would refuse every host.
pub fn known_hosts_path(home: &Path) -> PathBuf {
    home.join(".ssh").join(".kohakuriver_known_hosts")
}

/// The name of that file in earlier versions.
pub fn earlier_known_hosts_path(home: &Path) -> PathBuf {
    home.join(".ssh").join("kohakuriver_known_hosts")
}

/// The newest release of OpenSSH whose keywords and values an ssh surely knows. An older ssh refuses a whole file or
/// command line for one that it does not know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Release {
    /// The oldest one that is supported, the first with `Include`.
    V7_3,
    /// The first with `StrictHostKeyChecking accept-new` and `RemoteCommand`.
    V7_6,
    /// The first with `KnownHostsCommand` (8.5) and `SessionType`.
    V8_7,
}

/// The route to VPSes: which programs ssh runs, and their arguments.
///
/// The command lines contain everything that the programs need, since an IDE without a shell environment may have started
/// ssh. They never contain a token.
#[derive(Clone, Debug)]
pub struct Route {
    /// The cluster of the VPSes.
    pub cluster: Cluster,
    /// Variables that the helper gets besides those of ssh.
    pub variables: Vec<(&'static str, String)>,
    /// The helper, an absolute path.
    pub proxy_program: PathBuf,
    /// The SSH proxy.
    pub proxy: Origin,
    /// The Host API, for the look-up of names and for the token.
    pub host_api: Origin,
    /// The certificates that connections with TLS trust.
    pub trust: Trust,
    /// The proxy on the way, if a setting names one. The password is not part of the options.
    pub upstream_proxy: Option<UpstreamSetting>,
    /// How long the helper waits for a VPS that is starting.
    pub wait: Option<Duration>,
    /// The known_hosts file for VPSes, an absolute path.
    pub known_hosts: PathBuf,
    /// More such files, whose keys count, and which nothing is added to.
    pub other_known_hosts: Vec<PathBuf>,
    /// `kohakuriver`, an absolute path, which stores host keys under task ids. With `None`, ssh stores them itself.
    pub known_hosts_program: Option<PathBuf>,
    /// The release that this machine's ssh is known to support.
    pub release: Release,
    /// Whether the helper passes its socket to ssh; otherwise it copies the bytes.
    pub fdpass: bool,
    /// Whether tunnels are resumable.
    pub resume: Resume,
}

#[cfg(test)]
impl Route {
    /// A route whose programs and files are in `folder`.
    pub(super) fn in_folder(folder: &str) -> Self {
        Self {
            cluster: Cluster::Unnamed,
            variables: Vec::new(),
            proxy_program: format!("{folder}/kohakuriver-proxy").into(),
            proxy: Origin::plain("gpu-head", 8002),
            host_api: Origin::plain("gpu-head", 8000),
            trust: Trust::default(),
            upstream_proxy: None,
            wait: None,
            known_hosts: format!("{folder}/kohakuriver_known_hosts").into(),
            other_known_hosts: Vec::new(),
            known_hosts_program: Some(format!("{folder}/kohakuriver").into()),
            release: Release::V8_7,
            fdpass: true,
            resume: Resume::Near,
        }
    }
}

/// A path that can't be the value of an ssh option.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("ssh can't use {}", path.display())]
pub struct UnusablePath {
    /// The path.
    pub path: PathBuf,
    /// Why not.
    pub source: PathValueError,
}

/// The name of an option and its value, quoted for both the command line and the configuration file of ssh.
pub type SshOption = (&'static str, OsString);

impl Route {
    /// The options for the route to VPSes and for the check of their host keys, for every supported ssh.
    ///
    /// # Errors
    /// When the path of known_hosts can't be the value of an ssh option.
    pub fn options(&self) -> Result<Vec<SshOption>, UnusablePath> {
        Ok(vec![
            ("ProxyCommand", self.proxy_command()),
            ("ProxyUseFdpass", if self.fdpass { "yes" } else { "no" }.into()),
            ("UserKnownHostsFile", self.files(" ")?),
            ("CheckHostIP", "no".into()),
            // That file has only VPSes, and people want to read which.
            ("HashKnownHosts", "no".into()),
        ])
    }

    /// The options about host keys that only an ssh of this release or later knows.
    ///
    /// # Errors
    /// When the path of a program or of known_hosts can't be the value of an ssh option.
    pub fn newer_options(&self, release: Release) -> Result<Vec<SshOption>, UnusablePath> {
        let mut options = Vec::new();
        if let Some(program) = self.known_hosts_program.as_ref().filter(|_| release >= Release::V8_7) {
            options.push(("KnownHostsCommand", self.known_hosts_command(program)?));
        }
        if release >= Release::V7_6 {
            options.push(("StrictHostKeyChecking", "accept-new".into()));
        }
        Ok(options)
    }

    /// The arguments of the helper that say where VPSes are.
    pub fn helper_arguments(&self) -> Vec<String> {
        let cluster = self.cluster.name().map(|name| ("--cluster", name.to_owned()));
        let all = [("--proxy", self.proxy.as_typed()), ("--host-api", self.host_api.as_typed())];
        let words = all.into_iter().chain(cluster).flat_map(|(flag, value)| [flag.to_owned(), value]);
        words.chain(self.more_words()).chain(self.resume.option().map(str::to_owned)).collect()
    }

    /// The options that few clusters need.
    fn more_words(&self) -> impl Iterator<Item = String> {
        self.trust.words().into_iter().chain(self.upstream_proxy.iter().flat_map(UpstreamSetting::words))
    }

    /// Options that keep a VPS reachable where the user's `Host *` has values for other machines.
    pub fn pins(&self) -> Vec<SshOption> {
        let count = match self.resume.is_on(self.fdpass) {
            true => SERVER_ALIVE_COUNT_MAX_RESUMABLE,
            false => SERVER_ALIVE_COUNT_MAX,
        };
        vec![
            ("Port", SSH_PORT.to_string().into()),
            ("CanonicalizeHostname", "no".into()),
            // A list of one kind may lack the kind of the VPS's key. `+` stands for ssh's own list.
            ("HostKeyAlgorithms", ANY_KIND.into()),
            // The output of a LocalCommand would land among the bytes of rsync, git and IDEs.
            ("PermitLocalCommand", "no".into()),
            ("ServerAliveInterval", SERVER_ALIVE_INTERVAL.to_string().into()),
            // With 0, which hardening baselines ask for, ssh would end each session that is idle for the interval.
            ("ServerAliveCountMax", count.to_string().into()),
        ]
    }

    fn proxy_command(&self) -> OsString {
        let mut words = OsString::new();
        for (number, (name, value)) in self.variables.iter().enumerate() {
            words.push(if number == 0 { "env " } else { "" });
            words.push(quote::proxy_command_word(format!("{name}={value}").as_ref()));
            words.push(" ");
        }
        words.push(quote::program_word(&self.proxy_program));
        if self.fdpass {
            words.push(" --fdpass");
        }
        for word in self.helper_arguments() {
            words.push(" ");
            words.push(quote::proxy_command_word(word.as_ref()));
        }
        if let Some(wait) = self.wait {
            words.push(format!(" --wait={}", wait.as_secs_f64()));
        }
        words.push(" %h %p");
        words
    }

    /// The files of host keys. ssh stores in the first one.
    fn files(&self, separator: &str) -> Result<OsString, UnusablePath> {
        let mut words = path_value(&self.known_hosts)?;
        for file in &self.other_known_hosts {
            words.push(separator);
            words.push(path_value(file)?);
        }
        Ok(words)
    }

    /// ssh runs this command without a shell, but splits and expands it like a path.
    fn known_hosts_command(&self, program: &Path) -> Result<OsString, UnusablePath> {
        let Origin { scheme, host, port } = &self.host_api;
        let mut words = path_value(program)?;
        // An IPv6 address may have a zone. ssh would read `%` and the name of the zone as one of its tokens.
        if scheme.is_in_address() {
            words.push(format!(" --host {} ", self.host_api.to_string().replace('%', "%%")));
        } else {
            words.push(format!(" --host {} --port {port} ", host.replace('%', "%%")));
        }
        for word in self.more_words() {
            let unusable = |source| UnusablePath { path: PathBuf::from(&word), source };
            words.push(quote::word_value(word.as_ref()).map_err(unusable)?);
            words.push(" ");
        }
        words.push("ssh host-key ");
        if let Some(scope) = self.cluster.scope() {
            words.push(format!("--scope {} ", scope.replace('%', "%%")));
        }
        words.push("--file ");
        words.push(self.files(" --file ")?);
        // The name in %H may be an alias of the user's own: only %h is always the VPS.
        words.push(" %H %t %K %h");
        Ok(words)
    }
}

/// The same as [`Route::pins`], for OpenSSH 8.7 and later.
pub fn newer_pins() -> Vec<SshOption> {
    let options = [("SessionType", "default"), ("ForkAfterAuthentication", "no"), ("StdinNull", "no")];
    options.map(|(name, value)| (name, value.into())).into()
}

/// The options for this private key and no other.
///
/// # Errors
/// When its path can't be the value of an ssh option.
pub fn identity(key: &Path) -> Result<Vec<SshOption>, UnusablePath> {
    Ok(vec![
        ("IdentityFile", path_value(key)?),
        // Else ssh first offers the agent's keys, and sshd closes the connection after a few wrong keys.
        ("IdentitiesOnly", "yes".into()),
        ("PubkeyAuthentication", "yes".into()),
        // The name that every ssh knows; since 8.5 it is PubkeyAcceptedAlgorithms.
        ("PubkeyAcceptedKeyTypes", ANY_KIND.into()),
    ])
}

/// An option that adds this private key to those that ssh offers.
///
/// # Errors
/// When its path can't be the value of an ssh option.
pub fn also(key: &Path) -> Result<SshOption, UnusablePath> {
    Ok(("IdentityFile", path_value(key)?))
}

fn path_value(path: impl AsRef<OsStr>) -> Result<OsString, UnusablePath> {
    let path = Path::new(path.as_ref());
    quote::path_value(path).map_err(|source| UnusablePath { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gateway's default: `--resume-window`.
    #[test]
    fn keepalives_leave_a_resumable_tunnel_its_time() {
        const { assert!(SERVER_ALIVE_INTERVAL * SERVER_ALIVE_COUNT_MAX_RESUMABLE > 900 + SERVER_ALIVE_INTERVAL) }
    }

    #[test]
    fn our_file_of_host_keys() {
        assert_eq!(known_hosts_path(Path::new("/home/u")), Path::new("/home/u/.ssh/.kohakuriver_known_hosts"));
    }

    /// ssh passes a ProxyCommand to a shell, in which `env` takes all variables at once.
    #[test]
    fn variables_stand_before_the_proxy_program() {
        let variables = vec![("KOHAKURIVER_TOKEN_FILE", "/a b".to_owned()), ("X", "1".to_owned())];
        let command = Route { variables, ..Route::in_folder("/opt") }.proxy_command().into_string().unwrap();
        let start = "env \"KOHAKURIVER_TOKEN_FILE=/a b\" X=1 /opt/kohakuriver-proxy --fdpass ";
        assert!(command.starts_with(start), "{command}");
    }
}
