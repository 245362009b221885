//! The rules that an admin may change while the gateway runs: which clients it serves, which Runners it dials, the token
//! with which it serves the line protocol, the token of the admin, and whose the clients' certificates are.
//!
//! [`Rules`] is one consistent set; [`RuleBook`] holds the set in force. [`RuleBook::reload`] reads the files again and
//! replaces the whole set, or reports the fault and keeps it. Values on the command line itself can't change.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;

use crate::failure::Failure;
use crate::gateway::decide::line_protocol::{LineAccess, LineProtocol};
use crate::gateway::decide::list_file::ListError;
use crate::gateway::decide::networks::Networks;
use crate::gateway::decide::users::Users;
use crate::gateway::watch::notices::Notices;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::text::excerpt;

/// One set of rules.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The networks whose clients are served; `None` serves all clients.
    pub(crate) clients: Option<Networks>,
    /// The networks whose Runners are dialled; `None` dials all but the addresses that are never dialled.
    pub(crate) runners: Option<Networks>,
    /// Clients of the line protocol.
    pub(crate) line: LineAccess,
    /// The token that a request over TCP needs to change something at the admin's address. Without it, none may.
    pub(crate) admin_token: Option<Token>,
    /// The users that certificates stand for; `None` takes each name for a user.
    users: Option<Users>,
}

impl Rules {
    /// Refuses a client whose address is not served.
    pub(crate) fn check_served(&self, from: IpAddr) -> Result<(), Refusal> {
        let is_served = self.clients.as_ref().is_none_or(|clients| clients.contains(from));
        if is_served { Ok(()) } else { Err(Refusal::AddressNotServed(from.to_string())) }
    }

    /// The user whose certificate has this name.
    pub(crate) fn user_of_certificate(&self, name: &str) -> Option<Arc<str>> {
        match &self.users {
            Some(users) => users.named(name),
            None => Some(excerpt(name).into()),
        }
    }
}

/// The flags that hold the rules.
#[derive(Clone, Default, Debug)]
pub(crate) struct Sources {
    /// `--allow`
    pub(crate) allow: Vec<IpNet>,
    /// `--allow-file`
    pub(crate) allow_file: Option<PathBuf>,
    /// `--allow-runner`
    pub(crate) allow_runner: Vec<IpNet>,
    /// `--allow-runner-file`
    pub(crate) allow_runner_file: Option<PathBuf>,
    /// `--line-protocol`
    pub(crate) line_protocol: LineProtocol,
    /// `--admin-token-file`
    pub(crate) admin_token_file: Option<PathBuf>,
    /// `--tls-user-map`
    pub(crate) tls_user_map: Option<PathBuf>,
}

/// The rules in force.
pub(crate) struct RuleBook {
    sources: Sources,
    current: RwLock<Arc<Rules>>,
}

impl RuleBook {
    /// Reads the rules.
    pub(crate) fn open(sources: Sources) -> Result<Self, Failure> {
        let rules = sources.read()?;
        Ok(Self { sources, current: RwLock::new(Arc::new(rules)) })
    }

    /// The set in force now. The returned set stays the same during a reload.
    pub(crate) fn current(&self) -> Arc<Rules> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again, and reports the outcome. When one of them can't be used, all rules stay as they were.
    /// Open tunnels stay open even if the new rules would refuse them.
    pub(crate) fn reload(&self, notices: &Notices) {
        match self.sources.read() {
            Ok(rules) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
                if self.sources.have_files() {
                    notices.say("the new rules are in force");
                }
            }
            Err(failure) => notices.fault(&failure.cause("all rules stay as they were")),
        }
    }
}

impl Sources {
    fn have_files(&self) -> bool {
        let files = [&self.allow_file, &self.allow_runner_file, &self.admin_token_file, &self.tls_user_map];
        files.iter().any(|file| file.is_some()) || matches!(self.line_protocol, LineProtocol::TokenFile(_))
    }

    fn read(&self) -> Result<Rules, Failure> {
        Ok(Rules {
            clients: networks("--allow-file", &self.allow, self.allow_file.as_ref())?,
            runners: networks("--allow-runner-file", &self.allow_runner, self.allow_runner_file.as_ref())?,
            line: self.line_protocol.access()?,
            admin_token: self.admin_token_file.as_deref().map(admin_token).transpose()?,
            users: self.tls_user_map.as_deref().map(users).transpose()?,
        })
    }
}

fn admin_token(path: &Path) -> Result<Token, Failure> {
    Token::from_file(path).map_err(|error| error.failure(path, "your choice"))
}

fn users(path: &Path) -> Result<Users, Failure> {
    Users::read(path).map_err(|error| {
        Failure::usage(format!("cannot use {} as --tls-user-map", path.display()))
            .because(&error)
            .hint("write one `NAME USER` a line, the name in the certificate first; a # begins a comment")
    })
}

/// The networks of the flags; `None` when no flag is given. An empty file is a list as well, with no networks.
fn networks(flag: &str, given: &[IpNet], file: Option<&PathBuf>) -> Result<Option<Networks>, Failure> {
    if given.is_empty() && file.is_none() {
        return Ok(None);
    }
    let failed = |error: ListError| {
        let path = file.map_or_else(String::new, |path| path.display().to_string());
        Failure::usage(format!("cannot use {path} as {flag}"))
            .because(&error)
            .hint("write one network a line, as 10.0.0.0/8; a # begins a comment")
    };
    Networks::read(given, file.map(PathBuf::as_path)).map(Some).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::decide::networks::network;
    use crate::gateway::watch::notices::tests::Heard;

    fn serves(rules: &RuleBook, ip: &str) -> bool {
        rules.current().check_served(ip.parse().unwrap()).is_ok()
    }

    #[test]
    fn a_reload_replaces_all_rules_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let (clients, runners) = (folder.path().join("clients"), folder.path().join("runners"));
        std::fs::write(&clients, "10.0.0.0/8\n").unwrap();
        std::fs::write(&runners, "").unwrap();
        let rules = RuleBook::open(Sources {
            allow: vec![network("192.168.0.0/16").unwrap()],
            allow_file: Some(clients.clone()),
            allow_runner_file: Some(runners.clone()),
            ..Sources::default()
        })
        .unwrap();
        let heard = Heard::default();
        let notices = Notices::to(heard.clone());
        let before = rules.current();
        assert!(serves(&rules, "10.0.0.1") && serves(&rules, "192.168.0.1") && !serves(&rules, "172.16.0.1"));
        assert_eq!(before.runners, Some(Networks::default()));

        std::fs::write(&clients, "172.16.0.0/12 # moved\n").unwrap();
        rules.reload(&notices);
        assert_eq!(heard.text().matches("the new rules are in force").count(), 1);
        assert!(!serves(&rules, "10.0.0.1") && serves(&rules, "192.168.0.1") && serves(&rules, "172.16.0.1"));
        assert!(before.check_served("10.0.0.1".parse().unwrap()).is_ok());

        std::fs::write(&clients, "10.0.0.0/8\n").unwrap();
        std::fs::write(&runners, "10.0.0.0/8\nnode1\n").unwrap();
        rules.reload(&notices);
        let text = heard.text();
        assert!(text.contains("runners as --allow-runner-file cause=") && text.contains("line 2: `node1`"), "{text}");
        assert!(serves(&rules, "172.16.0.1") && !serves(&rules, "10.0.0.1"), "half of a broken reload counts");

        folder.close().unwrap();
        rules.reload(&notices);
        assert!(heard.text().contains("it can't be read") && serves(&rules, "172.16.0.1"));
    }

    #[test]
    fn without_lists_all_clients_are_served() {
        let rules = RuleBook::open(Sources::default()).unwrap();
        assert!(serves(&rules, "203.0.113.9") && rules.current().runners.is_none());
        let heard = Heard::default();
        rules.reload(&Notices::to(heard.clone()));
        assert_eq!(heard.text(), "", "there is no file to read again");
    }

    #[test]
    fn a_token_that_can_not_be_used_comes_with_its_remedy() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (mode, text, hint) in
            [(0o604, "sekrit", "chmod 600 "), (0o600, "sek rit", "write a token of the Host into it")]
        {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let sources = Sources { line_protocol: LineProtocol::TokenFile(path.clone()), ..Sources::default() };
            let text = RuleBook::open(sources).err().unwrap().render("p");
            assert!(text.contains(&format!("hint: {hint}")) && !text.contains("sek"), "{text}");
        }
    }
}
