//! The cluster of a VPS, as far as names are concerned: ids of two clusters may be the same, so whatever is kept for a VPS
//! on this machine (host keys, private keys, host names of ssh) has its cluster in its name.
//!
//! Pure. The names of today's only cluster stay as they are: that is [`Cluster::Unnamed`].

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock};

use crate::target::{SUFFIX, TaskId};

/// The name of a cluster whose settings stand at the top level of config.json and that nobody has named.
pub const UNNAMED: &str = "default";

/// Longest name, in bytes: a label of the DNS (RFC 1035 §2.3.4).
const MAX_NAME: usize = 63;

/// The name of a cluster, which is also a label of its VPSes' host names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClusterName(String);

impl ClusterName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text can't be the name of a cluster.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a cluster's name has lower-case letters, digits and `-` only, at most {MAX_NAME}, and begins and ends with a letter or \
     a digit"
)]
pub struct ClusterNameError;

impl FromStr for ClusterName {
    type Err = ClusterNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // ssh converts host names to lower case.
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(fits)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if is_name { Ok(Self(text.to_owned())) } else { Err(ClusterNameError) }
    }
}

/// The cluster whose VPSes a command is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Cluster {
    /// The cluster called [`UNNAMED`].
    Unnamed,
    /// A cluster with a name.
    Named(ClusterName),
    /// A Host that is none of the user's clusters: its address, `host:port`.
    Other(String),
}

impl Cluster {
    /// The cluster of this name.
    pub fn of(name: &ClusterName) -> Self {
        if name.as_str() == UNNAMED { Self::Unnamed } else { Self::Named(name.clone()) }
    }

    /// Its name, unless it is none of the user's clusters.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Unnamed => Some(UNNAMED),
            Self::Named(name) => Some(name.as_str()),
            Self::Other(_) => None,
        }
    }

    /// Its name, if things that are kept for its VPSes have it in theirs.
    fn word(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name.as_str()),
            Self::Unnamed | Self::Other(_) => None,
        }
    }

    /// The end of the host names of its VPSes that no other cluster's have: `.kohakuriver`, or `.lab.kohakuriver`.
    pub fn suffix(&self) -> String {
        self.word().map_or_else(|| SUFFIX.to_owned(), |name| format!(".{name}{SUFFIX}"))
    }

    /// All ends of the host names of its VPSes, the shortest first. Those of the default cluster need no name in them.
    pub fn suffixes(&self, is_default: bool) -> Vec<String> {
        let long = self.name().map(|name| format!(".{name}{SUFFIX}"));
        let short = is_default.then(|| SUFFIX.to_owned());
        short.into_iter().chain(long).collect()
    }

    /// The host name of a VPS that needs no look-up.
    pub fn host_name(&self, id: TaskId) -> String {
        format!("{id}{}", self.suffix())
    }

    /// The name that a VPS's host keys are stored under, whichever name the user typed.
    pub fn alias(&self, id: TaskId) -> String {
        // A name has no colon, so an address is no cluster's.
        match self.scope() {
            None => format!("kohakuriver-{id}"),
            Some(scope) => format!("kohakuriver-{id}.{scope}"),
        }
    }

    /// The names that a VPS's host keys are stored under: the alias, and the host name that a client without aliases looks
    /// up, if no other cluster's VPS has it.
    pub fn known_names(&self, id: TaskId) -> Vec<String> {
        let host_name = self.name().map(|_| self.host_name(id));
        [self.alias(id)].into_iter().chain(host_name).collect()
    }

    /// A name of a VPS's host keys as it is in the cluster `to`; `None` if it is no name of this cluster.
    pub fn renamed(&self, name: &str, to: &Self) -> Option<String> {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let start = name.strip_prefix("kohakuriver-").unwrap_or(name);
        let id = TaskId::parse(&start[..digits(start)])?;
        let at = self.known_names(id).iter().position(|own| own.eq_ignore_ascii_case(name))?;
        to.known_names(id).into_iter().nth(at)
    }

    /// The value of `ssh host-key --scope`, which tells its host names and the names of its host keys.
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::Unnamed => None,
            Self::Named(name) => Some(name.as_str()),
            Self::Other(address) => Some(address),
        }
    }

    /// The cluster of a [`Cluster::scope`].
    pub fn of_scope(scope: Option<&str>) -> Self {
        let Some(scope) = scope else { return Self::Unnamed };
        scope.parse().map_or_else(|_| Self::Other(scope.to_owned()), Self::Named)
    }

    /// The word of a VPS's private key before the id: `lab-`, or nothing.
    pub fn before_id(&self) -> String {
        self.word().map_or_else(String::new, |name| format!("{name}-"))
    }

    /// The host name without the cluster in it: `trainer.kohakuriver` for `trainer.lab.kohakuriver`. The helper and `ssh
    /// host-key` learn from their command line which cluster a host name is of, so nothing is guessed.
    pub fn without_name<'t>(&self, host: &'t str) -> Cow<'t, str> {
        match self.end_in(host) {
            Some(at) => Cow::Owned(format!("{}{SUFFIX}", &host[..at])),
            None => Cow::Borrowed(host),
        }
    }

    /// Whether a host name has this cluster's name in it.
    pub fn has(&self, host: &str) -> bool {
        self.end_in(host).is_some()
    }

    /// Where the end with this cluster's name begins.
    fn end_in(&self, host: &str) -> Option<usize> {
        let end = format!(".{}{SUFFIX}", self.name()?);
        let at = host.len().checked_sub(end.len()).filter(|&at| at > 0 && host.is_char_boundary(at))?;
        host[at..].eq_ignore_ascii_case(&end).then_some(at)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scope().unwrap_or(UNNAMED))
    }
}

/// The cluster as messages of this process name it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct InMessages {
    /// Its name, where the user has several.
    pub name: Option<String>,
    /// The flags that a command needs to be about it, as words with a blank behind: empty for the default one.
    pub flags: String,
    /// The cluster is not stored, so its settings are the options of the command.
    pub is_unstored: bool,
}

/// A failure is made far from where the cluster is known, and commands stand in hints everywhere.
static IN_MESSAGES: RwLock<InMessages> =
    RwLock::new(InMessages { name: None, flags: String::new(), is_unstored: false });

/// Stands in hints behind the name of a setting.
pub const WHERE_SET: &str = "; `kohakuriver config show` shows where it is set";

/// How hints set a setting, and the same by its option.
const AS_OPTIONS: [(&str, &str); 4] = [
    ("`kohakuriver config set ca_file ", "`--ca-file "),
    ("`kohakuriver config set pinned_key ", "`--pinned-key "),
    ("`kohakuriver config set client_cert ", "`--client-cert "),
    ("`kohakuriver config set upstream_proxy none`", "`--upstream-proxy none`"),
];

impl InMessages {
    /// From now on, messages name this cluster.
    pub fn set(self) {
        *IN_MESSAGES.write().unwrap_or_else(PoisonError::into_inner) = self;
    }

    /// The value that was set last.
    pub fn get() -> Self {
        IN_MESSAGES.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A message about a VPS or a Host of this cluster.
    pub fn message(&self, text: &str) -> String {
        // `--cluster lab` in a command is not enough.
        let is_there = |named: &str| text.starts_with(named) || text.contains(&format!(" {named}"));
        match self.name.as_ref().map(|name| format!("cluster {name}")) {
            Some(named) if !is_there(&named) => format!("{named}: {text}"),
            _ => text.to_owned(),
        }
    }

    /// A hint, whose commands get the flags.
    pub fn hint(&self, text: &str) -> String {
        if self.is_unstored {
            let option = |text: String, (setting, option): (&str, &str)| text.replace(setting, option);
            let text = AS_OPTIONS.into_iter().fold(text.to_owned(), option);
            return Self { is_unstored: false, ..self.clone() }.hint(&text.replace(WHERE_SET, ""));
        }
        if self.flags.is_empty() {
            return text.to_owned();
        }
        let group = |text: String, group| {
            let with = |text: String, end| {
                text.replace(&format!("kohakuriver {group}{end}"), &format!("kohakuriver {}{group}{end}", self.flags))
            };
            [" ", "`"].into_iter().fold(text, with)
        };
        ["vps", "ssh", "auth", "node", "config", "doctor"].into_iter().fold(text.to_owned(), group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Cluster {
        Cluster::of(&name.parse().unwrap())
    }

    #[test]
    fn names_are_labels_of_host_names() {
        for name in ["lab", "a", "7", "gpu-2", &"x".repeat(63)] {
            assert_eq!(name.parse::<ClusterName>().unwrap().as_str(), name);
        }
        for text in ["", "..", ".", "a.b", "a b", "Lab", "-a", "a-", "a_b", "größe", "a/b", "a\n", &"x".repeat(64)] {
            assert_eq!(text.parse::<ClusterName>(), Err(ClusterNameError), "{text:?}");
        }
    }

    #[test]
    fn each_cluster_has_names_of_its_own() {
        let id = TaskId::parse("42").unwrap();
        let other = Cluster::Other("homelab:8000".into());
        for (cluster, alias, host_name, before_id) in [
            (named("default"), "kohakuriver-42", "42.kohakuriver", ""),
            (named("lab"), "kohakuriver-42.lab", "42.lab.kohakuriver", "lab-"),
            (other, "kohakuriver-42.homelab:8000", "42.kohakuriver", ""),
        ] {
            assert_eq!((cluster.alias(id).as_str(), cluster.host_name(id).as_str()), (alias, host_name));
            assert_eq!(cluster.before_id(), before_id);
        }
        assert_eq!(named("lab").suffixes(false), [".lab.kohakuriver"]);
        assert_eq!(named("lab").suffixes(true), [".kohakuriver", ".lab.kohakuriver"]);
        assert_eq!(named("default").suffixes(true), [".kohakuriver", ".default.kohakuriver"]);
    }

    #[test]
    fn names_of_host_keys_follow_a_new_name() {
        let (unnamed, lab) = (named("default"), named("lab"));
        for (from, to, name, renamed) in [
            (&unnamed, &lab, "kohakuriver-42", Some("kohakuriver-42.lab")),
            (&unnamed, &lab, "42.kohakuriver", Some("42.lab.kohakuriver")),
            (&lab, &unnamed, "42.LAB.kohakuriver", Some("42.kohakuriver")),
            (&lab, &named("home"), "kohakuriver-42.lab", Some("kohakuriver-42.home")),
            (&unnamed, &lab, "kohakuriver-42.home", None),
            (&lab, &unnamed, "kohakuriver-42", None),
            (&unnamed, &lab, "github.com", None),
            (&unnamed, &lab, "*", None),
        ] {
            assert_eq!(from.renamed(name, to).as_deref(), renamed, "{name}");
        }
    }

    #[test]
    fn only_the_clusters_own_name_is_taken_off() {
        for (cluster, host, bare) in [
            ("lab", "trainer.lab.kohakuriver", "trainer.kohakuriver"),
            ("lab", "trainer.LAB.KohakuRiver", "trainer.kohakuriver"),
            ("lab", "42.lab.kohakuriver", "42.kohakuriver"),
            ("lab", "trainer.lab.lab.kohakuriver", "trainer.lab.kohakuriver"),
            ("lab", "trainer.work.kohakuriver", "trainer.work.kohakuriver"),
            ("lab", "trainer.kohakuriver", "trainer.kohakuriver"),
            ("lab", ".lab.kohakuriver", ".lab.kohakuriver"),
            ("lab", "ö.lab.kohakuriver", "ö.kohakuriver"),
            ("default", "trainer.default.kohakuriver", "trainer.kohakuriver"),
            ("default", "trainer.kohakuriver", "trainer.kohakuriver"),
        ] {
            assert_eq!(named(cluster).without_name(host), bare, "{cluster} {host}");
        }
    }

    #[test]
    fn messages_name_the_cluster_and_their_commands_its_flags() {
        let lab = InMessages { name: Some("lab".into()), flags: "--cluster lab ".into(), is_unstored: false };
        assert_eq!(lab.message("VPS 42 is paused"), "cluster lab: VPS 42 is paused");
        assert_eq!(lab.message("the cluster lab is stored"), "the cluster lab is stored");
        assert_eq!(lab.message("see `x --cluster lab y`"), "cluster lab: see `x --cluster lab y`");
        assert_eq!(
            lab.hint("run `kohakuriver vps resume 42`, or `kohakuriver config show`"),
            "run `kohakuriver --cluster lab vps resume 42`, or `kohakuriver --cluster lab config show`"
        );
        assert_eq!(lab.hint("`kohakuriver doctor` tells"), "`kohakuriver --cluster lab doctor` tells");
        let only = InMessages::default();
        assert_eq!(
            (only.message("x"), only.hint("`kohakuriver vps list`")),
            ("x".into(), "`kohakuriver vps list`".into())
        );
    }
}
