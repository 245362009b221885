//! Our configuration file: one entry for each VPS, and a wildcard for all others.
//!
//! Pure: facts in, text out. The host lists of IDEs show literal hosts only, so each VPS has an entry. An entry has the task
//! id, so nothing needs a look-up. There is no `Match exec`: IDEs would run it while they list hosts.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::ssh::labels::Label;
use crate::ssh::options::{DEFAULT_USER, Route, SshOption, UnusablePath, alias, host_name, identity};
use crate::ssh::quote::shell_line;
use crate::sys;
use crate::target::{SUFFIX, TaskId};

/// Start of the first line of our file. A file without it is not ours.
const HEADER: &str = "# Do not edit: written by `kohakuriver ssh config`";

/// Start of the line with the command that wrote the file.
const MADE_BY: &str = "# Made by: ";

/// One VPS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its host name in the file.
    pub label: Label,
    /// Its private key; with `None`, ssh uses its agent and defaults.
    pub key: Option<PathBuf>,
}

/// The text of the file. `made_by` is the command that writes it.
///
/// # Errors
/// When a path can't be the value of an ssh option.
pub fn render(route: &Route, made_by: &[OsString], entries: &[Entry]) -> Result<Vec<u8>, UnusablePath> {
    let mut text = OsString::from(format!("{HEADER}, which will write it anew.\n"));
    text.push(sys::os_string(made_by_line(made_by)));
    text.push("\n# Any VPS by its task id or name, and one entry for each that had SSH when this was written.\n");
    for entry in entries {
        let id = entry.label.id;
        let mut options: Vec<SshOption> = vec![("HostName", host_name(id).into()), ("HostKeyAlias", alias(id).into())];
        options.push(("User", DEFAULT_USER.into()));
        if let Some(key) = &entry.key {
            options.extend(identity(key)?);
        }
        options.extend(route.options(false)?);
        stanza(&mut text, &entry.label.host, &options);
    }
    let mut options: Vec<SshOption> = vec![("User", DEFAULT_USER.into())];
    options.extend(route.options(true)?);
    stanza(&mut text, &format!("*{SUFFIX}"), &options);
    Ok(text.into_encoded_bytes())
}

/// Whether [`render`] wrote this file, which may have been edited since.
pub fn is_ours(text: &[u8]) -> bool {
    text.starts_with(HEADER.as_bytes())
}

/// Whether this very command wrote the file: for the same Host and the same programs.
pub fn was_made_by(text: &[u8], made_by: &[OsString]) -> bool {
    let line = made_by_line(made_by);
    is_ours(text) && text.split(|&byte| byte == b'\n').nth(1) == Some(line.as_slice())
}

/// The host name of a VPS's entry in a file of [`render`]; `None` if it has none.
pub fn host_of(text: &[u8], id: TaskId) -> Option<String> {
    let host_name = format!("    HostName {}", host_name(id));
    let mut host = None;
    for line in String::from_utf8_lossy(text).lines() {
        if let Some(name) = line.strip_prefix("Host ") {
            host = Some(name.to_owned());
        } else if line == host_name {
            return host;
        }
    }
    None
}

/// The command as a comment, to read and to compare. A word may contain a line end, so each control character becomes `?`.
fn made_by_line(made_by: &[OsString]) -> Vec<u8> {
    let command = shell_line(made_by).into_encoded_bytes();
    let printable = command.iter().map(|&byte| if byte.is_ascii_control() { b'?' } else { byte });
    MADE_BY.bytes().chain(printable).collect()
}

fn stanza(text: &mut OsString, host: &str, options: &[SshOption]) {
    text.push(format!("\nHost {host}\n"));
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
    use crate::ssh::labels::labels;

    fn route(folder: &str) -> Route {
        Route {
            proxy_program: format!("{folder}/kohakuriver-proxy").into(),
            proxy: ("gpu-head".into(), 8002),
            host_api: ("gpu-head".into(), 8000),
            wait: None,
            known_hosts: format!("{folder}/kohakuriver_known_hosts").into(),
            known_hosts_program: Some(format!("{folder}/kohakuriver").into()),
        }
    }

    fn entries(key: Option<&str>) -> Vec<Entry> {
        let labels = labels([(TaskId::parse("7323718749301768192").unwrap(), Some("trainer"))]);
        labels.into_iter().map(|label| Entry { label, key: key.map(Into::into) }).collect()
    }

    fn made_by() -> Vec<OsString> {
        ["kohakuriver", "--host", "gpu-head", "ssh", "config", "--write"].map(OsString::from).into()
    }

    #[test]
    fn the_whole_file() {
        let text = render(&route("/opt"), &made_by(), &entries(Some("/home/u/.ssh/k"))).unwrap();
        assert_eq!(
            String::from_utf8(text.clone()).unwrap(),
            "\
# Do not edit: written by `kohakuriver ssh config`, which will write it anew.
# Made by: kohakuriver --host gpu-head ssh config --write
# Any VPS by its task id or name, and one entry for each that had SSH when this was written.

Host trainer.kohakuriver
    HostName 7323718749301768192.kohakuriver
    HostKeyAlias kohakuriver-7323718749301768192
    User root
    IdentityFile /home/u/.ssh/k
    IdentitiesOnly yes
    ProxyCommand /opt/kohakuriver-proxy --fdpass --proxy gpu-head:8002 %h %p
    ProxyUseFdpass yes
    UserKnownHostsFile /opt/kohakuriver_known_hosts
    KnownHostsCommand /opt/kohakuriver --host gpu-head --port 8000 ssh host-key --file /opt/kohakuriver_known_hosts %H %t %K
    StrictHostKeyChecking accept-new
    CheckHostIP no
    HashKnownHosts no
    ServerAliveInterval 30

Host *.kohakuriver
    User root
    ProxyCommand /opt/kohakuriver-proxy --fdpass --proxy gpu-head:8002 --host-api gpu-head:8000 %h %p
    ProxyUseFdpass yes
    UserKnownHostsFile /opt/kohakuriver_known_hosts
    KnownHostsCommand /opt/kohakuriver --host gpu-head --port 8000 ssh host-key --file /opt/kohakuriver_known_hosts %H %t %K
    StrictHostKeyChecking accept-new
    CheckHostIP no
    HashKnownHosts no
    ServerAliveInterval 30
"
        );
        assert!(is_ours(&text) && was_made_by(&text, &made_by()));
        assert!(!was_made_by(&text, &made_by()[..2]));
        let host = |id: &str| host_of(&text, TaskId::parse(id).unwrap());
        assert_eq!((host("7323718749301768192").as_deref(), host("42")), (Some("trainer.kohakuriver"), None));
        assert!(!is_ours(b"Host *.kohakuriver\n"));
    }

    #[test]
    fn ssh_does_not_read_the_zone_of_an_address_as_a_token() {
        let route = Route { host_api: ("fe80::1%eth0".into(), 8000), ..route("/opt") };
        let text = String::from_utf8(render(&route, &made_by(), &[]).unwrap()).unwrap();
        assert!(text.contains("/kohakuriver --host fe80::1%%eth0 --port 8000 ssh host-key "), "{text}");
    }

    #[test]
    fn a_command_with_a_line_end_stays_one_comment() {
        let made_by = [OsString::from("/a\nProxyCommand evil")];
        let text = render(&route("/opt"), &made_by, &[]).unwrap();
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
        std::fs::write(&file, render(&route(odd), &made_by(), &entries(Some(&key))).unwrap()).unwrap();
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
    }
}
