//! The proxy on the way, and its place in a message.

use crate::settings::{ProxyScheme, Source, UpstreamProxy};
use crate::sys;

/// The proxy on the way to a cluster.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The proxy.
    pub proxy: UpstreamProxy,
    /// Its source: a flag, a variable such as `HTTPS_PROXY`, or config.json.
    pub source: Source,
    /// A command that logs in (`proxy_auth_command`). The user of the proxy is not sent then.
    pub auth_command: Option<String>,
}

impl Upstream {
    /// The proxy and its source, as in messages.
    pub fn named(&self) -> String {
        format!("the upstream proxy at {}", self.proxy.authority())
    }

    /// Its place in the settings.
    pub(super) fn place(&self) -> String {
        match &self.source {
            Source::Env(name) => format!("set by {name}"),
            Source::Flag => "set by `--upstream-proxy`".to_owned(),
            source => format!("set by `upstream_proxy` in {source}"),
        }
    }

    /// How to connect to `host` without it.
    pub(super) fn without(&self, host: &str) -> String {
        match &self.source {
            Source::Flag => "`--upstream-proxy none`".to_owned(),
            Source::Env(_) => format!(
                "`{}`, or `kohakuriver config set upstream_proxy none`",
                sys::users_shell().set("NO_PROXY", host)
            ),
            _ => "`kohakuriver config set upstream_proxy none`".to_owned(),
        }
    }

    /// The cause of a message about a server that gave a strange answer: the proxy may have given it.
    pub fn suspicion(&self) -> String {
        format!("{} ({}) may have answered in its place", self.named(), self.place())
    }

    /// Whether the proxy, and not this machine, resolves the name of the server.
    pub fn resolves(&self) -> bool {
        self.proxy.scheme != ProxyScheme::Socks5
    }

    /// The kind of credentials that is sent.
    pub(super) fn sent(&self) -> Sent {
        match (&self.auth_command, &self.proxy.user) {
            (Some(_), _) if self.proxy.scheme.is_http() => Sent::Command,
            (_, Some(user)) => Sent::Password(user.clone()),
            _ => Sent::Nothing,
        }
    }
}

/// The kind of credentials that was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// Nothing.
    Nothing,
    /// This user, with a password.
    Password(String),
    /// The output of the command.
    Command,
}
