//! Our configuration files: one entry for each VPS, what matches its other spellings, and a wildcard for all others.
//!
//! Pure: facts in, text out. The host lists of IDEs show literal hosts only, so each VPS has a `Host`. It has the task id,
//! so nothing needs a look-up. `Host` compares with case, and `Match originalhost` without. There is no `Match exec`: IDEs
//! would run it while they list hosts.
//!
//! ssh refuses a whole file for one keyword or value that it doesn't know, also in a block that doesn't apply. So the main
//! file has nothing newer than `Include` (OpenSSH 7.3), and the rest is in a second file.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::cluster::Cluster;
use crate::ssh::ends::Ends;
use crate::ssh::labels::{Label, Remark};
use crate::ssh::options::{DEFAULT_USER, Release, Route, SshOption, UnusablePath, also, identity, newer_pins};
use crate::ssh::own_files::{Includes, OVERRIDES};
use crate::ssh::quote::first_word;
use crate::ssh::sections::{MADE_BY, Section};
use crate::ssh::spellings::{self, Beginning};
use crate::sys;
use crate::sys::Shell;
use crate::target::TaskId;

/// Start of the first line of our files. A file without it is not ours.
const HEADER: &str = "# Do not edit: written by `kohakuriver ssh config`";

/// One VPS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its host name in the file.
    pub label: Label,
    /// Its private key; with `None`, ssh uses its agent and defaults.
    pub key: Option<PathBuf>,
}

/// The entries that the files list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entries {
    /// The ends of their host names.
    pub ends: Ends,
    /// The VPSes of the user.
    pub listed: Vec<Entry>,
    /// The names of these VPSes and their beginnings.
    pub beginnings: Vec<Beginning>,
    /// Other VPSes with a key of their own.
    pub unlisted: Vec<(TaskId, PathBuf)>,
    /// ssh's default keys, which it leaves out where another key is named.
    pub defaults: Vec<PathBuf>,
    /// Keys that ssh offers to each VPS as well ([`crate::ssh::keys::hidden_defaults`]).
    pub more_keys: Vec<PathBuf>,
}

impl Entries {
    /// No VPS.
    pub fn none(ends: Ends) -> Self {
        let (listed, beginnings, unlisted) = (Vec::new(), Vec::new(), Vec::new());
        Self { ends, listed, beginnings, unlisted, defaults: Vec::new(), more_keys: Vec::new() }
    }
}

/// The start of the main file, before its sections. Without `includes`, a section has all that this machine's ssh knows;
/// with them, that is in the sections of the second file.
pub fn head(includes: Option<&Includes>) -> Vec<u8> {
    let mut text = header();
    text.push(
        "# Any VPS by its task id or name, and one entry for each of yours that had SSH when this was written.\n",
    );
    if let Some(Includes { overrides, newer }) = includes {
        text.push(format!(
            "\n# {OVERRIDES} is yours, and nothing changes it: what it says about VPSes comes first.\nInclude "
        ));
        text.push(overrides);
        text.push("\n\n# For OpenSSH 8.7 and later. An older ssh takes the quotes for letters, and finds no file of that name.\n");
        text.push("Include '");
        text.push(newer);
        text.push("'\n");
    }
    text.into_encoded_bytes()
}

/// The start of the second file.
pub fn head_of_newer() -> Vec<u8> {
    let mut text = header();
    text.push("# For OpenSSH 8.7 and later; kohakuriver.conf includes this file.\n");
    text.into_encoded_bytes()
}

/// A cluster's section of the main file. `made_by` is the command that writes it. One that is `whole` needs no second file.
///
/// # Errors
/// When a path can't be the value of an ssh option.
pub fn section(
    route: &Route,
    made_by: &[OsString],
    entries: &Entries,
    is_whole: bool,
) -> Result<Section, UnusablePath> {
    let mut text = sys::os_string(made_by_line(made_by));
    text.push(format!("\n# T{}.\n", &route.resume.explained(route.fdpass)[1..]));
    let ends = &entries.ends;
    let of_vps = |id| of_vps(&route.cluster, id);
    for Entry { label, key } in &entries.listed {
        let mut options = of_vps(label.id);
        options.push(("User", DEFAULT_USER.into()));
        let identity = key.as_deref().map(identity).transpose()?.unwrap_or_default();
        stanza(&mut text, &format!("Host {}", label.host), &[options, identity.clone()].concat());
        // The Host can't look up a label that is not the VPS's name, so each spelling of it needs the task id here.
        if key.is_some() || label.remark == Some(Remark::Shared) {
            let mut spellings = spellings::of_id(label.id, ends);
            if !spellings.contains(&label.host) {
                spellings.insert(0, label.host.clone());
            }
            matching(&mut text, &spellings, &[of_vps(label.id), identity].concat());
        }
    }
    for (id, key) in &entries.unlisted {
        matching(&mut text, &spellings::of_id(*id, ends), &[of_vps(*id), identity(key)?].concat());
    }
    for Beginning { patterns, ids } in &entries.beginnings {
        // Keys only, and the default ones as well: another VPS may be created whose name begins so.
        let has_id = |entry: &&Entry| ids.contains(&entry.label.id);
        let keys = entries.listed.iter().filter(has_id).filter_map(|entry| entry.key.as_deref());
        let options = keys.map(identity).collect::<Result<Vec<_>, _>>()?;
        // All options but the keys are the same for each VPS: once is enough.
        let mut options: Vec<SshOption> = options.concat().into_iter().fold(Vec::new(), |mut kept, option| {
            if !kept.contains(&option) {
                kept.push(option);
            }
            kept
        });
        if !options.is_empty() {
            for key in &entries.defaults {
                options.push(also(key)?);
            }
            matching(&mut text, patterns, &options);
        }
    }
    let mut options: Vec<SshOption> = vec![("User", DEFAULT_USER.into())];
    options.extend(route.options()?);
    options.extend(route.pins());
    if is_whole {
        options.extend(newer_options(route, route.release)?);
    }
    for key in &entries.more_keys {
        options.push(also(key)?);
    }
    let any = ends.host("*");
    stanza(&mut text, &format!("Host {any}"), &options);
    // The name as the user typed it, instead of the HostName of a `Host *`.
    options.insert(0, ("HostName", "%h".into()));
    matching(&mut text, &[any], &options);
    Ok(Section::new(&route.cluster.to_string(), &text.into_encoded_bytes()))
}

/// A cluster's section of the file that the main file includes for OpenSSH 8.7 and later.
///
/// # Errors
/// When a path can't be the value of an ssh option.
pub fn newer_section(route: &Route, made_by: &[OsString], ends: &Ends) -> Result<Section, UnusablePath> {
    let mut text = sys::os_string(made_by_line(made_by));
    text.push("\n");
    matching(&mut text, &[ends.host("*")], &newer_options(route, Release::V8_7)?);
    Ok(Section::new(&route.cluster.to_string(), &text.into_encoded_bytes()))
}

fn newer_options(route: &Route, release: Release) -> Result<Vec<SshOption>, UnusablePath> {
    let mut options = route.newer_options(release)?;
    if release >= Release::V8_7 {
        options.extend(newer_pins());
    }
    Ok(options)
}

fn of_vps(cluster: &Cluster, id: TaskId) -> Vec<SshOption> {
    vec![("HostName", cluster.host_name(id).into()), ("HostKeyAlias", cluster.alias(id).into())]
}

fn header() -> OsString {
    format!("{HEADER}, which will write it anew.\n").into()
}

/// Whether this program wrote the file, which may have been edited since.
pub fn is_ours(text: &[u8]) -> bool {
    text.starts_with(HEADER.as_bytes())
}

/// Whether this very command wrote a section of the file: for the same Host and the same programs.
pub fn was_made_by(text: &[u8], made_by: &[OsString]) -> bool {
    let line = made_by_line(made_by);
    is_ours(text) && text.split(|&byte| byte == b'\n').any(|found| found == line.as_slice())
}

/// The host name of a VPS's entry in a file of ours; `None` if it has none.
pub fn host_of(text: &[u8], cluster: &Cluster, id: TaskId) -> Option<String> {
    let host_name = format!("    HostName {}", cluster.host_name(id));
    let mut host = None;
    for line in String::from_utf8_lossy(text).lines() {
        if line.starts_with("Host ") || line.starts_with("Match ") {
            host = line.strip_prefix("Host ").map(str::to_owned);
        } else if line == host_name {
            return host;
        }
    }
    None
}

/// The programs that ssh runs for our entries.
pub fn programs(text: &[u8]) -> Vec<PathBuf> {
    let commands = text.split(|&byte| byte == b'\n').filter_map(|line| {
        ["    ProxyCommand ", "    KnownHostsCommand "].iter().find_map(|name| line.strip_prefix(name.as_bytes()))
    });
    let mut programs: Vec<PathBuf> = commands.map(|command| first_word(command).into()).collect();
    programs.sort();
    programs.dedup();
    programs
}

/// The command as a comment, to read and to compare. A word may contain a line end, so each control character becomes `?`.
fn made_by_line(made_by: &[OsString]) -> Vec<u8> {
    let command = Shell::Posix.line(made_by).into_encoded_bytes();
    let printable = command.iter().map(|&byte| if byte.is_ascii_control() { b'?' } else { byte });
    MADE_BY.bytes().chain(printable).collect()
}

fn matching(text: &mut OsString, patterns: &[String], options: &[SshOption]) {
    stanza(text, &format!("Match originalhost {}", patterns.join(",")), options);
}

fn stanza(text: &mut OsString, head: &str, options: &[SshOption]) {
    text.push(format!("\n{head}\n"));
    for (name, value) in options {
        text.push(format!("    {name} "));
        text.push::<&OsStr>(value);
        text.push("\n");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::settings::Origin;
    use crate::ssh::ends::tests::short;
    use crate::ssh::labels::labels;
    use crate::ssh::sections::join;

    fn entries(key: Option<&str>) -> Entries {
        let id = TaskId::parse("7323718749301768192").unwrap();
        let labels = labels([(id, Some("trainer"))], &short());
        Entries {
            ends: short(),
            listed: labels.into_iter().map(|label| Entry { label, key: key.map(Into::into) }).collect(),
            beginnings: spellings::beginnings([(id, "trainer")], ["trainer"], &short()),
            unlisted: key.map(|key| (TaskId::parse("42").unwrap(), format!("{key}42").into())).into_iter().collect(),
            defaults: vec!["/home/u/.ssh/id_ed25519".into()],
            more_keys: Vec::new(),
        }
    }

    fn whole(route: &Route, made_by: &[OsString], entries: &Entries) -> Vec<u8> {
        join(&head(None), &[section(route, made_by, entries, true).unwrap()], &[])
    }

    fn both(route: &Route, entries: &Entries) -> [String; 2] {
        let main = join(&head(Some(&includes())), &[section(route, &made_by(), entries, false).unwrap()], &[]);
        let newer = join(&head_of_newer(), &[newer_section(route, &made_by(), &entries.ends).unwrap()], &[]);
        [main, newer].map(|text| String::from_utf8(text).unwrap())
    }

    fn made_by() -> Vec<OsString> {
        ["kohakuriver", "--host", "gpu-head", "ssh", "config", "--write"].map(OsString::from).into()
    }

    fn includes() -> Includes {
        Includes::of(std::path::Path::new("/h"))
    }

    #[test]
    fn both_files() {
        let [text, newer] = both(&Route::in_folder("/opt"), &entries(Some("/home/u/.ssh/k")));
        let own = |key: &str| {
            format!(
                "    IdentityFile /home/u/.ssh/{key}\n    IdentitiesOnly yes\n    PubkeyAuthentication yes\n    \
                 PubkeyAcceptedKeyTypes +ssh-ed25519\n"
            )
        };
        let (own, other) = (own("k"), own("k42"));
        let wildcard = "    User root
    ProxyCommand /opt/kohakuriver-proxy --fdpass --proxy gpu-head:8002 --host-api gpu-head:8000 --cluster default %h %p
    ProxyUseFdpass yes
    UserKnownHostsFile /opt/kohakuriver_known_hosts
    CheckHostIP no
    HashKnownHosts no
    Port 22
    CanonicalizeHostname no
    HostKeyAlgorithms +ssh-ed25519
    PermitLocalCommand no
    ServerAliveInterval 30
    ServerAliveCountMax 3
";
        assert_eq!(
            text,
            format!(
                "\
# Do not edit: written by `kohakuriver ssh config`, which will write it anew.
# Any VPS by its task id or name, and one entry for each of yours that had SSH when this was written.

# kohakuriver.local.conf is yours, and nothing changes it: what it says about VPSes comes first.
Include /h/kohakuriver.local.conf

# For OpenSSH 8.7 and later. An older ssh takes the quotes for letters, and finds no file of that name.
Include '/h/.kohakuriver-openssh-8.7.conf'

# Cluster: default
# Made by: kohakuriver --host gpu-head ssh config --write
# Tunnels are not resumable: the gateway is in a private network, and ssh gets the socket itself, which is fastest.

Host trainer.kohakuriver
    HostName 7323718749301768192.kohakuriver
    HostKeyAlias kohakuriver-7323718749301768192
    User root
{own}
Match originalhost trainer.kohakuriver,7323718749301768192.kohakuriver,kohakuriver-7323718749301768192.kohakuriver,\
kohakuriver-vps-7323718749301768192.kohakuriver
    HostName 7323718749301768192.kohakuriver
    HostKeyAlias kohakuriver-7323718749301768192
{own}
Match originalhost 42.kohakuriver,kohakuriver-42.kohakuriver,kohakuriver-vps-42.kohakuriver
    HostName 42.kohakuriver
    HostKeyAlias kohakuriver-42
{other}
Match originalhost trainer.kohakuriver,t*.kohakuriver
{own}    IdentityFile /home/u/.ssh/id_ed25519

Host *.kohakuriver
{wildcard}
Match originalhost *.kohakuriver
    HostName %h
{wildcard}"
            )
        );
        assert!(is_ours(text.as_bytes()) && was_made_by(text.as_bytes(), &made_by()));
        assert!(!was_made_by(text.as_bytes(), &made_by()[..2]));
        let host = |id: &str| host_of(text.as_bytes(), &Cluster::Unnamed, TaskId::parse(id).unwrap());
        assert_eq!((host("7323718749301768192").as_deref(), host("42")), (Some("trainer.kohakuriver"), None));
        assert!(!is_ours(b"Host *.kohakuriver\n"));
        assert_eq!(
            newer,
            "\
# Do not edit: written by `kohakuriver ssh config`, which will write it anew.
# For OpenSSH 8.7 and later; kohakuriver.conf includes this file.

# Cluster: default
# Made by: kohakuriver --host gpu-head ssh config --write

Match originalhost *.kohakuriver
    KnownHostsCommand /opt/kohakuriver --host gpu-head --port 8000 ssh host-key --file /opt/kohakuriver_known_hosts %H %t %K %h
    StrictHostKeyChecking accept-new
    SessionType default
    ForkAfterAuthentication no
    StdinNull no
"
        );
        assert!(is_ours(newer.as_bytes()) && was_made_by(newer.as_bytes(), &made_by()));
        assert_eq!(programs(text.as_bytes()), [PathBuf::from("/opt/kohakuriver-proxy")]);
        assert_eq!(programs(newer.as_bytes()), [PathBuf::from("/opt/kohakuriver")]);
    }

    /// The release of OpenSSH that introduced each keyword and value that we write.
    const INTRODUCED: &[(&str, &str, (u32, u32))] = &[
        ("CanonicalizeHostname", "no", (6, 5)),
        ("CheckHostIP", "no", (2, 0)),
        ("ForkAfterAuthentication", "no", (8, 7)),
        ("HashKnownHosts", "no", (4, 0)),
        ("HostKeyAlgorithms", "+ssh-ed25519", (7, 0)),
        ("HostKeyAlias", "", (2, 5)),
        ("HostName", "", (2, 0)),
        ("IdentitiesOnly", "yes", (3, 9)),
        ("IdentityFile", "", (2, 0)),
        ("KnownHostsCommand", "", (8, 5)),
        ("PermitLocalCommand", "no", (4, 3)),
        ("Port", "22", (2, 0)),
        ("ProxyCommand", "", (2, 0)),
        ("ProxyUseFdpass", "yes", (6, 5)),
        ("PubkeyAcceptedKeyTypes", "+ssh-ed25519", (7, 0)),
        ("PubkeyAuthentication", "yes", (2, 0)),
        ("ServerAliveCountMax", "3", (3, 8)),
        ("ServerAliveInterval", "30", (3, 8)),
        ("SessionType", "default", (8, 7)),
        ("StdinNull", "no", (8, 7)),
        ("StrictHostKeyChecking", "accept-new", (7, 6)),
        ("User", "root", (2, 0)),
        ("UserKnownHostsFile", "", (2, 0)),
    ];

    /// The latest release that a line of `text` needs.
    fn needs(text: &[u8]) -> (u32, u32) {
        let release = |line: &str| {
            let (name, value) = line.trim().split_once(' ').unwrap();
            match name {
                "Include" => (7, 3),
                // `originalhost` came with `Match`, in 6.5.
                "Host" | "Match" => (6, 5),
                name => {
                    let found = INTRODUCED.iter().find(|(known, only, _)| *known == name && [value, ""].contains(only));
                    found.unwrap_or_else(|| panic!("no release for `{line}`")).2
                }
            }
        };
        let text = String::from_utf8_lossy(text);
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(release).max().unwrap()
    }

    #[test]
    fn an_older_ssh_knows_each_word_that_it_reads() {
        let mut all = entries(Some("/k"));
        all.more_keys.push("/home/u/.ssh/id_rsa".into());
        let route_of = |release| Route { release, ..Route::in_folder("/opt") };
        let text = |release| whole(&route_of(release), &made_by(), &all);
        for release in [Release::V7_3, Release::V7_6, Release::V8_7] {
            assert_eq!(needs(both(&route_of(release), &all)[0].as_bytes()), (7, 3));
        }
        assert_eq!(needs(&text(Release::V7_3)), (7, 0));
        assert_eq!(needs(&text(Release::V7_6)), (7, 6));
        assert_eq!(needs(&text(Release::V8_7)), (8, 7));
        assert_eq!(needs(both(&Route::in_folder("/opt"), &all)[1].as_bytes()), (8, 7));
        // Before OpenSSH 7.8 a line had room for 4094 bytes, and a longer one ended ssh.
        let longest = "a".repeat(200);
        let id = TaskId::parse("7323718749301768192").unwrap();
        all.listed[0].label = labels([(id, Some(longest.as_str()))], &short()).remove(0);
        all.beginnings = spellings::beginnings([(id, longest.as_str())], [&longest[1..]], &short());
        let text = whole(&Route::in_folder("/opt"), &made_by(), &all);
        assert!(text.split(|&byte| byte == b'\n').all(|line| line.len() < 1024));
    }

    #[test]
    fn ssh_does_not_read_the_zone_of_an_address_as_a_token() {
        let route = Route { host_api: Origin::plain("fe80::1%eth0", 8000), ..Route::in_folder("/opt") };
        let [_, text] = both(&route, &entries(None));
        assert!(text.contains("/kohakuriver --host fe80::1%%eth0 --port 8000 ssh host-key "), "{text}");
    }

    #[test]
    fn a_command_with_a_line_end_stays_one_comment() {
        let made_by = [OsString::from("/a\nProxyCommand evil")];
        let text = whole(&Route::in_folder("/opt"), &made_by, &Entries::none(short()));
        assert!(text.split(|&byte| byte == b'\n').all(|line| !line.starts_with(b"ProxyCommand")));
        assert!(was_made_by(&text, &made_by));
    }

    /// The real ssh reads each value unchanged, with special characters in the paths.
    #[test]
    fn the_real_ssh_reads_the_file() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("conf");
        let odd = r#"/o d%d/it's "q" \e $HOME#"#;
        let key = format!("{odd}/key");
        std::fs::write(&file, whole(&Route::in_folder(odd), &made_by(), &entries(Some(&key)))).unwrap();
        let read = |host: &str| {
            let output = Command::new("ssh").arg("-G").arg("-F").arg(&file).arg(host).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().replace("%%", "%")
        };
        let (listed, other) = (read("trainer.kohakuriver"), read("other.kohakuriver"));
        for line in [
            "hostname 7323718749301768192.kohakuriver".to_owned(),
            "hostkeyalias kohakuriver-7323718749301768192".to_owned(),
            "user root".to_owned(),
            format!("identityfile {key}"),
            format!("userknownhostsfile {odd}/kohakuriver_known_hosts"),
            "stricthostkeychecking accept-new".to_owned(),
            "proxyusefdpass yes".to_owned(),
        ] {
            assert!(listed.lines().any(|found| found == line), "{line}: {listed}");
        }
        assert!(other.contains("\nhostname other.kohakuriver\n") && !other.contains("hostkeyalias"), "{other}");
        assert!(!other.contains(&key), "{other}");
        let id = "7323718749301768192";
        for spelling in [
            "TRAINER.KohakuRiver",
            &format!("{id}.kohakuriver"),
            &format!("kohakuriver-{id}.kohakuriver"),
            &format!("KOHAKURIVER-VPS-{id}.kohakuriver"),
        ] {
            let found = read(spelling);
            assert!(found.contains(&format!("\nhostname {id}.kohakuriver\n")), "{spelling}: {found}");
            assert!(found.contains(&format!("\nhostkeyalias kohakuriver-{id}\n")), "{spelling}: {found}");
            assert_eq!(found.matches(&format!("\nidentityfile {key}\n")).count(), 1, "{spelling}: {found}");
        }
        for beginning in ["t.kohakuriver", "train.kohakuriver", "Tra.KOHAKURIVER"] {
            let found = read(beginning);
            let name = beginning.to_lowercase();
            assert!(found.contains(&format!("\nhostname {name}\n")) && found.contains(&key), "{beginning}: {found}");
        }
        let unlisted = read("kohakuriver-42.kohakuriver");
        assert!(unlisted.contains(&format!("\nidentityfile {key}42\n")) && !unlisted.contains(id), "{unlisted}");
    }
}
