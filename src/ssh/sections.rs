//! The sections of our files: one for each cluster, which is written and removed without a change of the others.
//!
//! Pure: bytes in, bytes out. ssh takes the first value of an option, so the section whose wildcard matches the hosts of
//! other clusters as well comes last, and its patterns leave those hosts out: ssh would add its keys to theirs.

use std::collections::BTreeSet;

use crate::cluster::UNNAMED;
use crate::ssh::resume::resume_flag;
use crate::target::SUFFIX;

/// Start of the line that a section begins with.
const MARK: &[u8] = b"# Cluster: ";

/// Start of the line with the command that wrote a section.
pub(super) const MADE_BY: &str = "# Made by: ";

/// One section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// The cluster's name.
    pub cluster: String,
    /// Its lines.
    pub text: Vec<u8>,
}

impl Section {
    /// A section with these lines.
    pub fn new(cluster: &str, lines: &[u8]) -> Self {
        Self { cluster: cluster.to_owned(), text: [MARK, cluster.as_bytes(), b"\n", lines].concat() }
    }

    /// The Host API that it is for, as its command names it: `HOST:PORT`, or `https://HOST[:PORT]`.
    pub fn host_api(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.text);
        let command = text.lines().find_map(|line| line.strip_prefix(MADE_BY))?;
        let after = |flag: &str| command.split_once(flag).and_then(|(_, rest)| rest.split(' ').next());
        let (host, port) = (after(" --host ")?, after(" --port ")?);
        // A URL has its port.
        Some(if host.contains("://") { host.to_owned() } else { format!("{host}:{port}") })
    }

    /// The flag for tunnels in its command: `--resume` or `--no-resume`.
    pub fn resume(&self) -> Option<bool> {
        let text = String::from_utf8_lossy(&self.text);
        let last = text.lines().find_map(|line| line.strip_prefix(MADE_BY))?.split(' ').next_back();
        [true, false].into_iter().find(|&demand| last == Some(resume_flag(demand)))
    }

    /// Whether it has the hosts without a cluster in their names.
    pub fn is_of_default(&self) -> bool {
        let any = format!("*{SUFFIX}");
        let mut lines = self.text.split(|&byte| byte == b'\n').filter_map(|line| patterns(line));
        lines.any(|(_, patterns, separator)| patterns.split(separator).any(|pattern| pattern == any))
    }
}

/// The sections of a file of ours. One that was written before there were any is the unnamed cluster's.
pub fn split(text: &[u8]) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut before = Vec::new();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        if let Some(name) = line.strip_prefix(MARK) {
            let cluster = String::from_utf8_lossy(name).trim_end().to_owned();
            sections.push(Section { cluster, text: line.to_vec() });
            continue;
        }
        match sections.last_mut() {
            Some(section) => section.text.extend(with_others(line, &[])),
            None => before.push(line),
        }
    }
    let is_entry = |line: &&[u8]| line.starts_with(b"Host ") || line.starts_with(b"Match ");
    if let (true, Some(first)) = (sections.is_empty(), before.iter().position(is_entry)) {
        let made_by = before[..first].iter().filter(|line| line.starts_with(MADE_BY.as_bytes()));
        let lines: Vec<u8> = made_by.chain([&&b"\n"[..]]).chain(&before[first..]).copied().flatten().copied().collect();
        sections.push(Section::new(UNNAMED, &lines));
    }
    sections
}

/// A file with this start and these sections. A host name of one of the clusters `known` is no other one's, even if that
/// cluster has no section: anybody could give a VPS of the default cluster such a name.
pub fn join(head: &[u8], sections: &[Section], known: &[String]) -> Vec<u8> {
    let (default, others): (Vec<&Section>, Vec<&Section>) =
        sections.iter().partition(|section| section.is_of_default());
    let mut text = head.to_vec();
    for section in others.iter().chain(&default) {
        text.push(b'\n');
        let all: BTreeSet<&String> = sections.iter().map(|other| &other.cluster).chain(known).collect();
        let others = all.into_iter().filter(|name| **name != section.cluster && section.is_of_default());
        let left_out: Vec<String> = others.map(|name| format!(".{name}{SUFFIX}")).collect();
        for line in section.text.trim_ascii_end().split_inclusive(|&byte| byte == b'\n') {
            text.extend(with_others(line, &left_out));
        }
        text.push(b'\n');
    }
    text
}

/// The line, whose patterns leave out the host names with these ends and no other ones.
fn with_others(line: &[u8], left_out: &[String]) -> Vec<u8> {
    let Some((head, list, separator)) = patterns(line) else { return line.to_vec() };
    let own: Vec<&str> = list.split(separator).filter(|pattern| !pattern.starts_with('!')).collect();
    let may_match = |end: &&String| own.iter().any(|pattern| pattern.contains('*') || pattern.ends_with(end.as_str()));
    let not = left_out.iter().filter(may_match).map(|end| format!("!*{end}"));
    let all: Vec<String> = own.iter().map(|pattern| (*pattern).to_owned()).chain(not).collect();
    let end = if line.ends_with(b"\n") { "\n" } else { "" };
    format!("{head}{}{end}", all.join(separator)).into_bytes()
}

/// The patterns of a line that begins an entry: what is before them, they themselves, and what is between them.
fn patterns(line: &[u8]) -> Option<(&'static str, &str, &'static str)> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let heads = [("Host ", " "), ("Match originalhost ", ",")];
    heads.into_iter().find_map(|(head, separator)| Some((head, line.strip_prefix(head)?, separator)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(cluster: &str, lines: &str) -> Section {
        Section::new(cluster, lines.as_bytes())
    }

    fn text(sections: &[Section]) -> String {
        String::from_utf8(join(b"# head\n", sections, &[])).unwrap()
    }

    #[test]
    fn the_default_clusters_section_is_last_and_leaves_the_others_hosts_out() {
        let work = section(
            "work",
            "\nHost a.kohakuriver\n    X 1\n\nMatch originalhost a.kohakuriver,a*.kohakuriver\n\nHost *.kohakuriver\n    X 2\n",
        );
        let lab = section("lab", "\nHost *.lab.kohakuriver\n    X 3\n");
        let alone = "# head\n\n# Cluster: work\n\nHost a.kohakuriver\n    X 1\n\nMatch originalhost a.kohakuriver,a*.kohakuriver\n\nHost *.kohakuriver\n    X 2\n";
        assert_eq!(text(std::slice::from_ref(&work)), alone);
        let both = text(&[work.clone(), lab.clone()]);
        assert_eq!(
            both,
            "# head\n\n# Cluster: lab\n\nHost *.lab.kohakuriver\n    X 3\n\n# Cluster: work\n\nHost a.kohakuriver\n    X 1\n\n\
             Match originalhost a.kohakuriver,a*.kohakuriver,!*.lab.kohakuriver\n\n\
             Host *.kohakuriver !*.lab.kohakuriver\n    X 2\n"
        );
        // A cluster without a section keeps its names.
        let known = ["home".to_owned(), "work".to_owned()];
        let text_of = |sections: &[Section]| String::from_utf8(join(b"# head\n", sections, &known)).unwrap();
        let beside = text_of(&[work.clone(), lab.clone()]);
        assert!(beside.contains("\nHost *.kohakuriver !*.home.kohakuriver !*.lab.kohakuriver\n"), "{beside}");
        assert!(beside.contains("\nHost *.lab.kohakuriver\n"), "{beside}");
        // A section is the same whatever stands beside it.
        let mut read = split(both.as_bytes());
        assert_eq!(read.iter().map(|section| section.cluster.as_str()).collect::<Vec<_>>(), ["lab", "work"]);
        read.remove(0);
        assert_eq!(text(&read), alone);
    }

    #[test]
    fn a_file_of_an_earlier_version_is_the_unnamed_clusters() {
        let old = "# head\n# Made by: kohakuriver --host a\n# More.\n\nInclude x\n\nHost *.kohakuriver\n    X 1\n";
        assert_eq!(
            split(old.as_bytes()),
            [section("default", "# Made by: kohakuriver --host a\n\nHost *.kohakuriver\n    X 1\n")]
        );
        assert_eq!(split(b"# head\n# Made by: x\n"), []);
        let of = |command: &str| section("lab", &format!("# Made by: {command}\n")).host_api();
        assert_eq!(of("kohakuriver --cluster lab --host a --port 8000 --proxy b:1 ssh").as_deref(), Some("a:8000"));
        assert_eq!(of("kohakuriver --host https://a:8443 --port 8443 ssh").as_deref(), Some("https://a:8443"));
        assert_eq!(of("kohakuriver --host a"), None);
        let resume = |end: &str| section("lab", &format!("# Made by: k ssh config --write{end}\n")).resume();
        assert_eq!([" --resume", " --no-resume", ""].map(resume), [Some(true), Some(false), None]);
    }

    #[test]
    fn a_literal_that_is_another_clusters_is_left_out() {
        let ends = [".lab.kohakuriver".to_owned()];
        let line = |line: &str| String::from_utf8(with_others(line.as_bytes(), &ends)).unwrap();
        assert_eq!(
            line("Match originalhost x.lab.kohakuriver\n"),
            "Match originalhost x.lab.kohakuriver,!*.lab.kohakuriver\n"
        );
        assert_eq!(line("Host 4.kohakuriver"), "Host 4.kohakuriver");
        assert_eq!(line("    HostName a*\n"), "    HostName a*\n");
    }
}
