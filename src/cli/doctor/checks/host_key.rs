//! Whether the host key of the VPS is the stored one.

use std::path::Path;

use super::programs::FoundSsh;
use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::own_config::OwnConfig;
use crate::cli::doctor::session::{LOGIN_LIMIT, Login, Session};
use crate::cli::doctor::subject::Subject;
use crate::cli::ssh::host_key as ssh_host_key;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::options::Route;
use crate::sys;
use crate::target::TaskId;

pub(super) struct HostKey<'a> {
    pub(super) subject: &'a Subject,
    pub(super) settings: &'a Given<Settings>,
    /// The VPS, for messages.
    pub(super) name: &'a str,
    pub(super) id: Given<TaskId>,
    pub(super) banner: &'a Given<()>,
    pub(super) ssh: &'a Given<FoundSsh>,
    pub(super) route: &'a Given<Route>,
    pub(super) config: &'a Given<OwnConfig>,
}

impl Check for HostKey<'_> {
    const NAME: &'static str = "host-key";
    const NEEDS_VPS: bool = true;
    type Gives = Session;

    fn tried(&self) -> String {
        let ours = Path::new("~/.ssh/.kohakuriver_known_hosts");
        let file = self.route.as_ref().map_or(ours, |route| &route.known_hosts);
        format!("the host key of VPS {}, compared with {}", self.name, file.display())
    }

    fn examine(&self) -> Result<Examined<Session>, Verdict> {
        (*self.banner)?;
        let id = self.id?;
        let login = Login {
            id,
            user: self.subject.user.clone(),
            // The next check reports a key file that ssh would not use.
            key: self.subject.private_key(id).ok().flatten(),
            ssh: &self.ssh.as_ref()?.path,
            route: self.route.as_ref()?,
            home: self.subject.home.as_ref()?,
        };
        let session = Session::open(&login).map_err(|failure| Verdict::wrong(&failure, sys::list_ssh_folder()))?;
        let Some((kind, print)) = &session.log.host_key else {
            let said = format!("ssh said: {}", session.log.last);
            let of_config = session.problem_of(self.config, &self.subject.connect(self.name), &said);
            return Err(of_config.unwrap_or_else(|| none(id, &session)));
        };
        let text = match session.known.is_empty() {
            true => format!("{kind} {print}; no key is stored yet, so the first connection stores this one"),
            false if session.known_prints.contains(print) => format!("{kind} {print} is the stored one"),
            false => {
                let (settings, store) = (self.settings.as_ref()?, &self.route.as_ref()?.known_hosts);
                let failure = ssh_host_key::changed(settings, id, kind, &session.known, store);
                let stored = session.known_prints.join(" ");
                let failure = failure.cause(format!("the VPS showed {print}; stored is {stored}"));
                return Err(Verdict::wrong(&failure, format!("kohakuriver vps status {id}")));
            }
        };
        Ok(Examined::giving(Verdict::Fine(text), session))
    }
}

/// ssh saw no host key.
fn none(id: TaskId, session: &Session) -> Verdict {
    let why = match session.log.status {
        None => format!("ssh did not end within {} s", LOGIN_LIMIT.as_secs()),
        Some(_) => session.log.last.clone(),
    };
    let command = format!("kohakuriver vps connect {id} -- -v true");
    let failure = Failure::new(format!("ssh got no host key from VPS {id}")).cause(why);
    Verdict::wrong(&failure.hint(format!("see all messages of ssh: `{command}`")), command)
}
