//! A login exactly as the user would make it: with their own ssh_config and the name that they type.
//!
//! Only what keeps it harmless differs: ssh asks nobody, stores no host key, and leaves no shared connection behind. All
//! else that ssh_config holds counts, for it may break the login: forwardings, a LocalCommand, a ControlPath.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::programs::FoundSsh;
use super::ssh_files::write_command;
use crate::cli::doctor::check::{Check, Examined, Given, Missing};
use crate::cli::doctor::culprit::{self, Attempt, Tried};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::own_config::OwnConfig;
use crate::cli::doctor::session::{LOGIN_LIMIT, Session, hidden_keys};
use crate::cli::doctor::subject::{Subject, Way};
use crate::cli::doctor::temporary::Folder;
use crate::cli::programs::route::unusable;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::command::SshCommand;
use crate::ssh::options::{Release, Route, UnusablePath};
use crate::ssh::quote::{first_word, path_value};
use crate::ssh::stanzas;
use crate::sys;
use crate::target::TaskId;

/// How much longer than the first login this one may take, besides [`MARGIN`].
const FACTOR: u32 = 3;
/// Time for what only the user's configuration does, such as a LocalCommand.
const MARGIN: Duration = Duration::from_secs(5);

/// The text before and behind the file of host keys in the KnownHostsCommand of our entries.
const BEFORE_FILE: &str = " --file ";
const BEHIND_FILE: &str = " %H %t %K";
/// The further text of newer entries.
const HOST: &str = " %h";

pub(super) struct OwnSsh<'a> {
    pub(super) subject: &'a Subject,
    pub(super) settings: &'a Given<Settings>,
    pub(super) ssh: &'a Given<FoundSsh>,
    pub(super) route: &'a Given<Route>,
    pub(super) id: Given<TaskId>,
    /// The VPS, for messages.
    pub(super) name: &'a str,
    pub(super) config: &'a Given<OwnConfig>,
    pub(super) session: &'a Given<Session>,
    pub(super) login: &'a Given<()>,
}

impl Check for OwnSsh<'_> {
    const NAME: &'static str = "own-ssh";
    const NEEDS_VPS: bool = true;
    type Gives = ();

    fn tried(&self) -> String {
        format!("{}, with your own ssh_config", self.shown(self.host().as_deref()))
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        (*self.login)?;
        let (config, session) = (self.config.as_ref()?, self.session.as_ref()?);
        let (id, ssh, host) = (self.id?, self.ssh.as_ref()?, self.host());
        let read;
        let config = match &host {
            // The entry of a VPS may have another name than the user typed.
            Some(host) if *host != self.subject.host() => {
                read = OwnConfig::of(&ssh.path, host).ok().and_then(Result::ok);
                read.as_ref().unwrap_or(config)
            }
            _ => config,
        };
        let folder = Folder::new().map_err(|_| Missing("there is no temporary directory"))?;
        let arguments = match &host {
            Some(host) => self.by_entry(config, host, folder.path()),
            None => self.by_connect(id, folder.path()),
        };
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(failure) => return Ok(Verdict::wrong(&failure, sys::list_ssh_folder()).into()),
        };
        let limit = (session.took * FACTOR + MARGIN).min(LOGIN_LIMIT);
        let login =
            Attempt { ssh: &ssh.path, arguments, limit, sockets: config.sockets(), plain_shell: host.is_none() };
        let began = Instant::now();
        let tried = match login.run(None, None) {
            Ok(tried) => tried,
            Err(error) => {
                let failure = Failure::new(format!("cannot run {}", ssh.path.display())).because(&error);
                return Ok(Verdict::wrong(&failure, sys::list_ssh_folder()).into());
            }
        };
        let with = |arguments: &str| self.command(host.as_deref(), arguments);
        let mut faults = host.as_ref().map(|_| self.faults(config)).unwrap_or_default();
        if tried.works {
            let shell = format!("`{}`", self.command(host.as_deref(), "").trim_end().trim_end_matches(" --"));
            if let Some(verdict) = culprit::problem_of_a_shell(config, &shell, with) {
                return Ok(verdict.into());
            }
            let text = format!("logged in, within {} ms", began.elapsed().as_millis());
            return Ok(match faults.first() {
                Some(fault) => Verdict::Note(format!("{text}; but {fault}")).into(),
                None => Verdict::Fine(text).into(),
            });
        }
        faults.extend(host.as_ref().and_then(|_| self.missing_key(config, id)));
        let (what, said) = (self.shown(host.as_deref()), said(&tried, login.limit));
        let of_line = culprit::problem(config, &login, (&what, &said), with);
        Ok(of_line.unwrap_or_else(|| self.unexplained(host.as_deref(), said, faults, config)).into())
    }
}

impl OwnSsh<'_> {
    /// The host name that the user types; `None` if ssh_config has no entry of ours, so that the user has `vps connect`.
    fn host(&self) -> Option<String> {
        let config = self.config.as_ref().ok().filter(|config| config.has_entry())?;
        if self.subject.way == Way::Connect {
            return None;
        }
        let entries =
            config.line("proxycommand").and_then(|line| sys::read_regular(&line.file).ok()).unwrap_or_default();
        let listed = self.id.ok().and_then(|id| stanzas::host_of(&entries, &self.subject.cluster, id));
        Some(listed.unwrap_or_else(|| self.subject.host()))
    }

    /// The user's command, for messages.
    fn shown(&self, host: Option<&str>) -> String {
        format!("`{}`", self.command(host, "true"))
    }

    /// The user's command with `arguments` for ssh.
    fn command(&self, host: Option<&str>, arguments: &str) -> String {
        let command = host.map_or_else(|| self.subject.connect(self.name), |host| self.subject.ssh(host));
        format!("{command} {arguments}")
    }

    /// The arguments of ssh for an entry in ssh_config.
    fn by_entry(&self, config: &OwnConfig, host: &str, folder: &Path) -> Result<Vec<OsString>, Failure> {
        let mut options: Vec<OsString> = harmless();
        let command = config.option("knownhostscommand").and_then(|command| command.split_once(BEFORE_FILE));
        let command = command.and_then(|(program, rest)| {
            Some((program, rest.strip_suffix(HOST).unwrap_or(rest).strip_suffix(BEHIND_FILE)?))
        });
        let ours = self.route.as_ref().map(|route| route.known_hosts.clone()).unwrap_or_default();
        let ours = command.map_or(ours, |(_, file)| first_word(file.as_bytes()).into());
        // A file of host keys that can't be used is left to the login.
        if let Ok(copy) = copy_of(&ours, config.option("userknownhostsfile"), folder) {
            let value = path_value(&copy).map_err(|source| unusable(&UnusablePath { path: copy, source }))?;
            if let Some((program, _)) = command {
                let mut option = OsString::from(format!("KnownHostsCommand={program}{BEFORE_FILE}"));
                option.push(&value);
                option.push(BEHIND_FILE);
                option.push(HOST);
                options.extend(["-o".into(), option]);
            }
            if config.option("userknownhostsfile").is_some() {
                let mut option = OsString::from("UserKnownHostsFile=");
                option.push(&value);
                options.extend(["-o".into(), option]);
            }
        }
        // An ssh that is too old for our KnownHostsCommand asks the user whether a new key is right.
        let asks = config.option("stricthostkeychecking") == Some("ask");
        if asks && self.route.as_ref().is_ok_and(|route| route.release >= Release::V7_6) {
            options.extend(["-o".into(), "StrictHostKeyChecking=accept-new".into()]);
        }
        options.extend(self.subject.user.iter().flat_map(|user| ["-l".into(), user.into()]));
        options.extend(self.subject.key.iter().flat_map(|key| ["-i".into(), key.into()]));
        options.extend([host.into(), "true".into()]);
        Ok(options)
    }

    /// The arguments of ssh as `vps connect` gives them.
    fn by_connect(&self, id: TaskId, folder: &Path) -> Result<Vec<OsString>, Failure> {
        let cannot = |why: &str| Failure::new("cannot try the login of `vps connect`").cause(why);
        let (route, ssh) = match (self.route, self.ssh) {
            (Ok(route), Ok(ssh)) => (route, ssh),
            (Err(Missing(why)), _) | (_, Err(Missing(why))) => return Err(cannot(why)),
        };
        // A login would create it.
        let none = folder.join("none");
        let stored = if route.known_hosts.exists() { &route.known_hosts } else { &none };
        let known_hosts = copy_of(stored, None, folder).map_err(|error| cannot(&error.to_string()))?;
        let mut ssh_args = harmless();
        ssh_args.push("true".into());
        let command = SshCommand {
            ssh: ssh.path.clone(),
            route: Route { known_hosts, ..route.clone() },
            id,
            user: self.subject.user.clone(),
            key: self.subject.private_key(id)?,
            more_keys: self
                .subject
                .home
                .as_deref()
                .map(|home| hidden_keys(&ssh.path, &self.subject.cluster.host_name(id), home))
                .unwrap_or_default(),
            ssh_args,
        };
        command.argv().map(|argv| argv[1..].to_vec()).map_err(|error| unusable(&error))
    }

    /// The parts of our entry that don't fit this machine and these settings.
    fn faults(&self, config: &OwnConfig) -> Vec<String> {
        let mut faults = Vec::new();
        for command in ["proxycommand", "knownhostscommand"].into_iter().filter_map(|name| config.option(name)) {
            let program = PathBuf::from(first_word(command.as_bytes()));
            if program.is_absolute() && !sys::is_executable(&program) {
                let what = if program.exists() { "is not executable" } else { "does not exist" };
                faults.push(format!("the entry runs {}, which {what}", program.display()));
            }
        }
        let command = config.option("proxycommand").unwrap_or_default();
        let after = |flag| {
            let (_, rest) = command.split_once(flag)?;
            Some(first_word(rest.as_bytes()).to_string_lossy().into_owned())
        };
        let Ok(settings) = self.settings else { return faults };
        let (here, cluster) = (settings.ssh_proxy().authority(), &settings.cluster);
        match (after(" --proxy "), after(" --cluster ")) {
            (Some(there), _) if there != here => {
                faults.push(format!("the entry leads to {there}, and your settings to {here}"));
            }
            (_, Some(other)) if cluster.name() != Some(&other) => {
                faults.push(format!("the entry is for the cluster {other}, and not for {cluster}"));
            }
            (None, None) if config.has_entry() && !settings.is_default => {
                faults
                    .push(format!("the entry names no cluster, so it leads to the default one, and not to {cluster}"));
            }
            _ => {}
        }
        faults
    }

    /// The key of the VPS that our entry doesn't name.
    fn missing_key(&self, config: &OwnConfig, id: TaskId) -> Option<String> {
        let key = self.subject.private_key(id).ok().flatten().filter(|_| self.subject.key.is_none())?;
        let name = key.file_name()?.to_string_lossy();
        let mut files = config.options.lines().filter(|line| line.starts_with("identityfile "));
        (!files.any(|line| line.ends_with(&*name)))
            .then(|| format!("the entry does not name the key {}", key.display()))
    }

    /// No line of the user's makes the login fail.
    fn unexplained(&self, host: Option<&str>, said: String, faults: Vec<String>, config: &OwnConfig) -> Verdict {
        let what = self.shown(host);
        if faults.is_empty() {
            let see = self.command(host, "-v");
            let failure =
                Failure::new(format!("{what} fails")).cause(said).cause("a login without your ssh_config works");
            return Verdict::wrong(&failure.hint(format!("see all messages of ssh: `{see}`")), see);
        }
        let failure = Failure::new(format!("{what} fails, although `kohakuriver vps connect {}` works", self.name));
        let failure = faults.into_iter().fold(failure, Failure::cause).cause(said);
        let ssh = self.ssh.as_ref().ok();
        let write = write_command(ssh.is_none_or(|ssh| ssh.reads_home(config, self.subject)));
        Verdict::wrong(&failure.hint(format!("write the entries again: `{write}`")), write)
    }
}

/// Options that keep a login from asking, and from leaving something behind. They hide nothing that breaks it.
fn harmless() -> Vec<OsString> {
    let options = ["BatchMode=yes", "ControlPersist=no", "UpdateHostKeys=no"];
    let options = options.into_iter().flat_map(|option| ["-o".into(), option.into()]);
    options.chain(["-v".into()]).collect()
}

/// A copy of our known_hosts file, with the keys of the user's `other` files, which ssh may add to.
fn copy_of(ours: &Path, others: Option<&str>, folder: &Path) -> io::Result<PathBuf> {
    let mut keys = match sys::read_regular(ours) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && ours.parent().is_some_and(Path::is_dir) => Vec::new(),
        keys => keys?,
    };
    // ssh prints several paths without quotes.
    let others = others.into_iter().flat_map(|others| [others].into_iter().chain(others.split(' ')));
    for other in others.filter(|other| Path::new(other) != ours) {
        keys.push(b'\n');
        keys.extend(sys::read_regular(Path::new(other)).unwrap_or_default());
    }
    let copy = folder.join("known_hosts");
    fs::write(&copy, keys)?;
    Ok(copy)
}

/// Why a login failed.
fn said(tried: &Tried, limit: Duration) -> String {
    match tried.log.status {
        None => format!("ssh did not end within {} s", limit.as_secs()),
        Some(_) if tried.log.last.is_empty() => "ssh failed without a message".to_owned(),
        Some(_) => format!("ssh said: {}", tried.log.last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_keys_of_all_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let temporary = tempfile::tempdir().unwrap();
        let copy = |others: Option<&str>| {
            copy_of(&at("ours"), others, temporary.path()).map(|copy| fs::read_to_string(copy).unwrap())
        };
        assert_eq!(copy(None).unwrap(), "");
        fs::write(at("ours"), "a").unwrap();
        fs::write(at("one"), "b").unwrap();
        fs::write(at("two 2"), "c").unwrap();
        let path = |name: &str| at(name).display().to_string();
        assert_eq!(copy(Some(&path("ours"))).unwrap(), "a");
        assert_eq!(copy(Some(&path("two 2"))).unwrap().trim_end(), "a\nc");
        let both = copy(Some(&format!("{} {}", path("ours"), path("one")))).unwrap();
        assert_eq!(both.split_whitespace().collect::<Vec<_>>(), ["a", "b"]);
        fs::remove_file(at("ours")).unwrap();
        fs::create_dir(at("ours")).unwrap();
        assert!(copy(None).is_err());
        assert!(copy_of(&at("none/ours"), None, temporary.path()).is_err());
    }
}
