//! What is known so far: each check reads what those before it found out, and adds its own.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::conceal::Conceal;
use super::session::Session;
use crate::api::{Client, Node, Vps};
use crate::cli::host::{block_on, client_with};
use crate::cli::programs::route;
use crate::dial::Watch;
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::{self, Flags, Settings, env_vars};
use crate::ssh::options::Route;
use crate::target::{TaskId, VpsRef, authority};

/// The way to one VPS, or to none in particular, as far as it has been walked.
pub(super) struct Case {
    /// As typed on the command line.
    pub(super) flags: Flags,
    /// The VPS that was named.
    pub(super) asked: Option<VpsRef>,
    /// `--key`
    pub(super) key_flag: Option<PathBuf>,
    /// `--user`
    pub(super) user_flag: Option<String>,
    /// The user's home directory.
    pub(super) home: Option<PathBuf>,
    /// The same by the user database, which ssh goes by.
    pub(super) ssh_home: Option<PathBuf>,
    /// Every token that lies about here, whether or not it is the one in force.
    tokens: Vec<Token>,
    /// The settings in force, unless they can't be read.
    pub(super) settings: Option<Settings>,
    /// The first ssh on PATH.
    pub(super) ssh: Option<PathBuf>,
    /// What ssh is told of this machine.
    pub(super) route: Option<Route>,
    /// The token, unless there is none or it can't be used.
    pub(super) token: Option<Token>,
    /// The Host API answers.
    pub(super) api: bool,
    /// The VPS as the Host describes it.
    pub(super) vps: Option<Vps>,
    /// Its Runner as the Host describes it.
    pub(super) node: Option<Node>,
    /// The VPS can be reached, by the Host's word.
    pub(super) reachable: bool,
    /// The SSH proxy's port accepts.
    pub(super) proxy_port: bool,
    /// Something that opens tunnels answers.
    pub(super) gateway: bool,
    /// What the VPS's sshd said first, or why nothing came. `None` before a tunnel was tried.
    pub(super) banner: Option<Result<String, Failure>>,
    /// What ssh made of the VPS. `None` before it was run.
    pub(super) session: Option<Result<Session, Failure>>,
    /// The host key is the one that is known, or the first.
    pub(super) host_key: bool,
    /// The private key for the VPS, where there is one of its own.
    pub(super) key: Option<PathBuf>,
    /// Nothing is known that keeps the keys from being offered.
    pub(super) keys: bool,
    /// A login works.
    pub(super) login: bool,
    /// Stands for ssh where something watches whether that has gone.
    ends: Option<(UnixStream, UnixStream)>,
}

impl Case {
    pub(super) fn new(flags: Flags, asked: Option<VpsRef>, key: Option<PathBuf>, user: Option<String>) -> Self {
        Self {
            flags,
            asked,
            key_flag: key,
            user_flag: user,
            home: route::home().ok(),
            ssh_home: None,
            tokens: tokens(),
            settings: None,
            ssh: None,
            route: None,
            token: None,
            api: false,
            vps: None,
            node: None,
            reachable: false,
            proxy_port: false,
            gateway: false,
            banner: None,
            session: None,
            host_key: false,
            key: None,
            keys: false,
            login: false,
            ends: UnixStream::pair().ok(),
        }
    }

    /// The VPS's task id, as soon as it is known.
    pub(super) fn id(&self) -> Option<TaskId> {
        match (&self.vps, &self.asked) {
            (Some(vps), _) => Some(vps.id),
            (None, Some(VpsRef::Id(id))) => Some(*id),
            _ => None,
        }
    }

    /// The VPS as messages name it.
    pub(super) fn vps_name(&self) -> String {
        self.id().map(|id| id.to_string()).or_else(|| self.asked.as_ref().map(VpsRef::to_string)).unwrap_or_default()
    }

    /// `host:port` of the SSH proxy in force.
    pub(super) fn proxy(&self) -> Option<String> {
        let (host, port) = self.settings.as_ref()?.ssh_proxy();
        Some(authority(&host, port))
    }

    /// The base of the Host API in force.
    pub(super) fn base(&self) -> Option<String> {
        self.settings.as_ref().map(Settings::api_url)
    }

    /// What keeps a wait from lasting longer than `limit`.
    pub(super) fn watch(&self, limit: Duration) -> Option<Watch<'_>> {
        let (ssh, _) = self.ends.as_ref()?;
        Some(Watch { ssh: ssh.as_fd(), signal: None, deadline: Instant::now() + limit, beside: None })
    }

    /// Asks the Host, as the user whose token is in force.
    pub(super) fn ask<T, F>(&self, work: impl FnOnce(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let settings = self.settings.as_ref().ok_or_else(|| Failure::new("there are no settings to ask a Host by"))?;
        let client = client_with(settings, self.token.clone())?;
        block_on(work(client))
    }

    /// `path` as it is found from the home directory.
    pub(super) fn in_home(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(path))
    }

    /// Takes out of texts what is private here.
    pub(super) fn conceal(&self) -> Conceal {
        Conceal::new(self.home.as_deref(), self.ssh_home.as_deref(), &self.tokens)
    }

    /// `config.json`, where there is one.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        settings::config_path().filter(|path| path.exists())
    }
}

/// Those that can't be used are quoted nowhere.
fn tokens() -> Vec<Token> {
    let variable = settings::process_environment(env_vars::KOHAKURIVER_TOKEN);
    let named = variable.and_then(|value| Token::new(&value.to_string_lossy()).ok());
    let stored = settings::auth_path().and_then(|path| Token::from_auth_file(&path).ok().flatten());
    named.into_iter().chain(stored).collect()
}
