//! The ssh command that connects to a VPS through the gateway. Pure: facts in, words out.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::ssh::options::{DEFAULT_USER, Release, Route, SshOption, UnusablePath, also, identity, newer_pins};
use crate::target::TaskId;

/// The facts that ssh needs to connect to one VPS.
#[derive(Clone, Debug)]
pub struct SshCommand {
    /// The ssh program.
    pub ssh: PathBuf,
    /// The route to it.
    pub route: Route,
    /// The VPS.
    pub id: TaskId,
    /// The login. With `None`, the user's own arguments may name one; otherwise it is [`DEFAULT_USER`].
    pub user: Option<String>,
    /// The private key; with `None`, ssh uses its agent and defaults.
    pub key: Option<PathBuf>,
    /// Keys that ssh offers unless another one is named ([`crate::ssh::keys::hidden_defaults`]).
    pub more_keys: Vec<PathBuf>,
    /// The user's own arguments for ssh, unchanged.
    pub ssh_args: Vec<OsString>,
}

impl SshCommand {
    /// The words of the command, the program first.
    ///
    /// The destination comes before the user's own arguments: ssh also reads options behind it, and the words after these
    /// options are the remote command. So `-L 8888:localhost:8888`, `-N`, `-t htop` and `uname -a` mean what they mean to
    /// ssh.
    ///
    /// # Errors
    /// When a path can't be the value of an ssh option.
    pub fn argv(&self) -> Result<Vec<OsString>, UnusablePath> {
        let given = Given::of(&self.ssh_args);
        let mut argv = vec![self.ssh.clone().into_os_string()];
        argv.extend(self.words_of_options(&given)?);
        // ssh uses the first of two logins, so the default must not come before one of the user's own.
        let default = || (!given.sets("user", b"l")).then(|| DEFAULT_USER.to_owned());
        if let Some(user) = self.user.clone().or_else(default) {
            argv.extend(["-l".into(), user.into()]);
        }
        argv.push(self.route.cluster.host_name(self.id).into());
        argv.extend(self.ssh_args.iter().cloned());
        Ok(argv)
    }

    /// The words for scp, the program first, up to its operands. It runs ssh for the subsystem of SFTP.
    ///
    /// # Errors
    /// When a path can't be the value of an ssh option.
    pub fn scp(&self, scp: PathBuf) -> Result<Vec<OsString>, UnusablePath> {
        let given = Given { letters: vec![b's'], ..Given::of(&[]) };
        let mut argv = vec![scp.into_os_string(), "-S".into(), self.ssh.clone().into_os_string()];
        argv.extend(self.words_of_options(&given)?);
        Ok(argv)
    }

    /// The words of the options, each with its `-o`.
    fn words_of_options(&self, given: &Given<'_>) -> Result<Vec<OsString>, UnusablePath> {
        let release = self.route.release;
        let mut options = self.route.options()?;
        options.extend(self.route.newer_options(release)?);
        options.extend([
            ("HostName", self.route.cluster.host_name(self.id).into()),
            ("HostKeyAlias", self.route.cluster.alias(self.id).into()),
        ]);
        options.extend(self.pins(given, release)?);
        let words = options.into_iter().flat_map(|(name, value)| {
            let mut option = OsString::from(name);
            option.push("=");
            option.push(value);
            ["-o".into(), option]
        });
        Ok(words.collect())
    }

    /// The options that the user's ssh_config shall not set. Their own arguments may.
    fn pins(&self, given: &Given<'_>, release: Release) -> Result<Vec<SshOption>, UnusablePath> {
        let names_a_key = given.sets("IdentityFile", b"i");
        let mut pins = match &self.key {
            Some(key) => identity(key)?,
            None => self.more_keys.iter().filter(|_| !names_a_key).map(|key| also(key)).collect::<Result<_, _>>()?,
        };
        pins.extend(self.route.pins());
        if release >= Release::V8_7 {
            pins.extend(newer_pins());
        }
        if release >= Release::V7_6 && given.has_command {
            // ssh takes one command only.
            pins.push(("RemoteCommand", "none".into()));
        }
        let letters = |name: &str| -> &[u8] {
            match name {
                "Port" => b"p",
                // ssh refuses these together with a SessionType before them.
                "SessionType" => b"NsW",
                _ => b"",
            }
        };
        // ssh offers each key that is named.
        pins.retain(|&(name, _)| name == "IdentityFile" || !given.sets(name, letters(name)));
        Ok(pins)
    }
}

/// The options of ssh(1) with a value, which is attached to the letter or is the next word.
const OPTIONS_WITH_VALUE: &[u8] = b"BbcDEeFIiJLlmOoPpQRSWw";

/// Whether the word behind ssh's option `word`, or group of options such as `-vNL`, is its value.
pub fn option_takes_next(word: &OsStr) -> bool {
    let letters = &word.as_encoded_bytes()[1..];
    letters.iter().position(|letter| OPTIONS_WITH_VALUE.contains(letter)) == Some(letters.len().wrapping_sub(1))
}

/// The options in the user's own arguments for ssh.
struct Given<'a> {
    /// The letters of options.
    letters: Vec<u8>,
    /// The values of `-o`.
    options: Vec<&'a [u8]>,
    /// Whether a remote command follows.
    has_command: bool,
}

impl<'a> Given<'a> {
    fn of(ssh_args: &'a [OsString]) -> Self {
        let mut given = Self { letters: Vec::new(), options: Vec::new(), has_command: false };
        let mut words = ssh_args.iter().map(|word| word.as_encoded_bytes());
        while let Some(word) = words.next() {
            let Some(letters) = word.strip_prefix(b"-").filter(|letters| !letters.is_empty() && *letters != b"-")
            else {
                given.has_command = word != b"--" || words.next().is_some();
                break;
            };
            let with_value = letters.iter().position(|letter| OPTIONS_WITH_VALUE.contains(letter));
            given.letters.extend(&letters[..with_value.map_or(letters.len(), |at| at + 1)]);
            let Some(at) = with_value else { continue };
            let value = match &letters[at + 1..] {
                [] => words.next().unwrap_or_default(),
                attached => attached,
            };
            if letters[at] == b'o' {
                given.options.push(value);
            }
        }
        given
    }

    /// Whether they set the option `name`, with `-o` or with one of the letters.
    fn sets(&self, name: &str, letters: &[u8]) -> bool {
        let is_named = |value: &&[u8]| {
            let value = value.trim_ascii_start();
            value.get(..name.len()).is_some_and(|key| key.eq_ignore_ascii_case(name.as_bytes()))
                && value.get(name.len()).is_some_and(|byte| b"= \t".contains(byte))
        };
        self.letters.iter().any(|letter| letters.contains(letter)) || self.options.iter().any(is_named)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::settings::Origin;
    use crate::ssh::quote;
    use crate::ssh::resume::Resume;

    fn route() -> Route {
        let known_hosts = "/home/u/.ssh/.kohakuriver_known_hosts".into();
        Route { known_hosts, release: Release::V7_3, ..Route::in_folder("/usr/bin") }
    }

    fn command() -> SshCommand {
        SshCommand {
            ssh: "ssh".into(),
            route: route(),
            id: TaskId::parse("42").unwrap(),
            user: None,
            key: None,
            more_keys: Vec::new(),
            ssh_args: Vec::new(),
        }
    }

    fn text(command: &SshCommand) -> String {
        quote::shell_line(command.argv().unwrap()).into_string().unwrap()
    }

    #[test]
    fn the_whole_command() {
        let known = "UserKnownHostsFile=/home/u/.ssh/.kohakuriver_known_hosts -o CheckHostIP=no -o HashKnownHosts=no";
        let pinned = "-o HostName=42.kohakuriver -o HostKeyAlias=kohakuriver-42 -o Port=22 -o CanonicalizeHostname=no \
                      -o HostKeyAlgorithms=+ssh-ed25519 -o PermitLocalCommand=no -o ServerAliveInterval=30 \
                      -o ServerAliveCountMax=3";
        let start = "ssh -o 'ProxyCommand=/usr/bin/kohakuriver-proxy --fdpass --proxy gpu-head:8002 --host-api gpu-head:8000 --cluster default %h %p' \
                     -o ProxyUseFdpass=yes";
        assert_eq!(text(&command()), format!("{start} -o {known} {pinned} -l root 42.kohakuriver"));
        let piping = SshCommand { route: Route { fdpass: false, ..route() }, ..command() };
        // Tunnels are resumable with this setting.
        let pinned_piping = pinned.replace("CountMax=3", "CountMax=40");
        let start_piping = "ssh -o 'ProxyCommand=/usr/bin/kohakuriver-proxy --proxy gpu-head:8002 --host-api gpu-head:8000 --cluster default %h %p' -o ProxyUseFdpass=no";
        assert_eq!(text(&piping), format!("{start_piping} -o {known} {pinned_piping} -l root 42.kohakuriver"));
        for (resume, option, count) in [
            (Resume::Internet, " --resume", 40),
            (Resume::Upstream, " --resume", 40),
            (Resume::Tls, "", 40),
            (Resume::Demanded { is_on: true, by_flag: false }, " --resume", 40),
            (Resume::Demanded { is_on: false, by_flag: true }, " --no-resume", 3),
        ] {
            let start = start.replace(" %h %p", &format!("{option} %h %p"));
            let pinned = pinned.replace("CountMax=3", &format!("CountMax={count}"));
            let command = SshCommand { route: Route { resume, ..route() }, ..command() };
            assert_eq!(text(&command), format!("{start} -o {known} {pinned} -l root 42.kohakuriver"), "{resume:?}");
        }
        let of = |release, word: &str| SshCommand {
            route: Route { release, ..route() },
            ssh_args: vec![word.into()],
            ..command()
        };
        let accept = "-o StrictHostKeyChecking=accept-new";
        assert_eq!(
            text(&of(Release::V7_6, "uptime")),
            format!("{start} -o {known} {accept} {pinned} -o RemoteCommand=none -l root 42.kohakuriver uptime")
        );
        assert_eq!(
            text(&of(Release::V8_7, "-v")),
            format!(
                "{start} -o {known} -o 'KnownHostsCommand=/usr/bin/kohakuriver --host gpu-head --port 8000 ssh host-key \
                 --file /home/u/.ssh/.kohakuriver_known_hosts %H %t %K %h' {accept} {pinned} -o SessionType=default \
                 -o ForkAfterAuthentication=no -o StdinNull=no -l root 42.kohakuriver -v"
            )
        );
    }

    #[test]
    fn what_the_user_asks_for_is_not_pinned() {
        for (args, pin, is_pinned) in [
            (&["-N"][..], "SessionType", false),
            (&["-vN"], "SessionType", false),
            (&["-s", "sftp"], "SessionType", false),
            (&["-W", "localhost:80"], "SessionType", false),
            (&["-o", "sessiontype=none"], "SessionType", false),
            (&["ls", "-N"], "SessionType", true),
            (&["-o", "SessionTypeX=none"], "SessionType", true),
            (&["-p", "2222"], "Port", false),
            (&["-L", "1:a:2"], "Port", true),
            (&["-o", " ServerAliveInterval 5"], "ServerAliveInterval", false),
            (&["-o", "ServerAliveInterval 5"], "ServerAliveCountMax", true),
            (&["-oPermitLocalCommand=yes"], "PermitLocalCommand", false),
            (&["true"], "RemoteCommand", true),
            (&["--", "true"], "RemoteCommand", true),
            (&["--"], "RemoteCommand", false),
            (&["-t"], "RemoteCommand", false),
            (&["-o", "RemoteCommand=htop"], "RemoteCommand", false),
            (&["-o", "PubkeyAuthentication=no"], "PubkeyAuthentication", false),
            (&["-i", "/other"], "IdentityFile", true),
            (&["-i", "/other"], "PubkeyAuthentication", true),
        ] {
            let ssh_args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let route = Route { release: Release::V8_7, ..route() };
            let words = SshCommand { route, ssh_args, key: Some("/k".into()), ..command() }.argv().unwrap();
            let ours = &words[..words.len() - args.len()];
            let found = ours.iter().any(|word| word.to_str().unwrap().starts_with(&format!("{pin}=")));
            assert_eq!(found, is_pinned, "{args:?}: {pin}");
        }
    }

    #[test]
    fn a_key_excludes_others_and_the_users_arguments_come_last() {
        let command = SshCommand {
            key: Some("/home/u/.ssh/kohakuriver_42".into()),
            user: Some("kohaku".into()),
            ssh_args: ["-L", "8888:localhost:8888", "-t", "htop", "-d 5"].map(OsString::from).into(),
            ..command()
        };
        assert!(
            text(&command)
                .ends_with(" -o ServerAliveCountMax=3 -l kohaku 42.kohakuriver -L 8888:localhost:8888 -t htop '-d 5'")
                && text(&command).contains(" -o IdentityFile=/home/u/.ssh/kohakuriver_42 -o IdentitiesOnly=yes -o "),
            "{}",
            text(&command)
        );
    }

    #[test]
    fn a_login_among_the_users_arguments_replaces_the_default() {
        for (args, named) in [
            (&["-l", "alice"][..], true),
            (&["-lalice"], true),
            (&["-vNl", "alice"], true),
            (&["-o", "User=alice"], true),
            (&["-ouser alice"], true),
            (&["-L", "1:a:2", "-t", "-l", "alice", "htop"], true),
            (&[], false),
            (&["ls", "-l"], false),
            (&["--", "ls", "-l"], false),
            (&["-L", "-l"], false),
            (&["-o", "UserKnownHostsFile=x"], false),
            (&["-i", "lkey", "-vN"], false),
            (&["-", "-l", "alice"], false),
            (&["--", "-l", "alice"], false),
            (&["-o", "Port=22"], false),
            (&["-i", "user=alice"], false),
        ] {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let words = SshCommand { ssh_args: args.clone(), ..command() }.argv().unwrap();
            let ours = &words[..words.len() - args.len()];
            assert_eq!(!ours.contains(&"-l".into()), named, "{args:?}");
            let words = SshCommand { ssh_args: args, user: Some("kohaku".into()), ..command() }.argv().unwrap();
            assert!(words.contains(&"kohaku".into()));
        }
    }

    #[test]
    fn the_brackets_of_an_ipv6_proxy_are_quoted() {
        let command = SshCommand { route: Route { proxy: Origin::plain("::1", 9), ..route() }, ..command() };
        assert!(
            text(&command).contains(r#"--proxy "[::1]:9" --host-api gpu-head:8000 --cluster default %h %p"#),
            "{}",
            text(&command)
        );
    }

    #[test]
    fn a_path_that_is_not_usable_is_named() {
        let command = SshCommand { key: Some("/k/${x}".into()), ..command() };
        assert_eq!(command.argv().unwrap_err().path, Path::new("/k/${x}"));
    }

    /// Runs the real ssh until it starts its ProxyCommand. The path of the helper has every special character; the helper
    /// gets its arguments, and ssh prints the path of the key unchanged.
    #[test]
    fn the_real_ssh_reads_each_path_unchanged() {
        let folder = tempfile::TempDir::new().unwrap();
        let odd = folder.path().join(r#"a b%d 100%%'q"\e$HOME`id`;#"#);
        std::fs::create_dir_all(&odd).unwrap();
        let script = odd.join("helper");
        // Written by another process: a descriptor of ours that is open for writing could be inherited by the child of
        // a test that runs at the same time, and then the script is "busy".
        let written = Command::new("sh")
            .args([
                "-c",
                r#"printf '#!/bin/sh\nprintf "%%s\\n" "$0" "$@" >"${0%%/*}/words"\n' >"$1" && chmod 700 "$1""#,
            ])
            .arg("sh")
            .arg(&script)
            .status();
        assert!(written.unwrap().success());
        let key = odd.join("key");
        std::fs::write(&key, "no key").unwrap();
        let known_hosts = odd.join("known");
        let command = SshCommand {
            route: Route { proxy_program: script.clone(), known_hosts, ..route() },
            key: Some(key.clone()),
            ssh_args: ["-v", "-F", "none"].map(OsString::from).into(),
            ..command()
        };
        // Without fdpass, ssh loads its keys although this helper passes no socket.
        let piping = |word: OsString| if word == "ProxyUseFdpass=yes" { "ProxyUseFdpass=no".into() } else { word };
        let argv: Vec<OsString> = command.argv().unwrap().into_iter().map(piping).collect();
        let output = Command::new(&argv[0]).args(&argv[1..]).env("SHELL", "/bin/sh").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let words = std::fs::read_to_string(odd.join("words")).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        let script = script.to_str().unwrap();
        assert_eq!(
            words.lines().collect::<Vec<_>>(),
            [
                script,
                "--fdpass",
                "--proxy",
                "gpu-head:8002",
                "--host-api",
                "gpu-head:8000",
                "--cluster",
                "default",
                "42.kohakuriver",
                "22"
            ]
        );
        // ssh shows a backslash as two.
        let shown = key.to_str().unwrap().replace('\\', r"\\");
        assert!(stderr.contains(&format!("identity file {shown} type")), "{stderr}");
    }
}
