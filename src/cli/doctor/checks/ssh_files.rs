//! The user's ssh_config and `~/.ssh`.

use std::io;
use std::path::Path;

use super::programs::FoundSsh;
use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::{SHOW, Verdict};
use crate::cli::doctor::own_config::{OwnConfig, is_about_vpses};
use crate::cli::doctor::shown_line::{editor, place, text};
use crate::cli::doctor::subject::Subject;
use crate::cli::programs::host_keys::{HostKeys, check, in_folder_of_ssh};
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::ends::Ends;
use crate::ssh::known_hosts::KnownHosts;
use crate::ssh::own_files::{OURS, OVERRIDES};
use crate::ssh::sections;
use crate::sys;
use crate::target::TaskId;
use crate::text::excerpt;

/// The check of the user's ssh_config: the options that ssh would use for a VPS.
pub(super) struct SshConfig<'a> {
    pub(super) subject: &'a Subject,
    pub(super) ssh: &'a Given<FoundSsh>,
}

impl Check for SshConfig<'_> {
    const NAME: &'static str = "ssh-config";
    type Gives = OwnConfig;

    fn tried(&self) -> String {
        format!("`ssh -G {}`, your own ssh_config", self.subject.host())
    }

    fn examine(&self) -> Result<Examined<OwnConfig>, Verdict> {
        let (ssh, host) = (self.ssh.as_ref()?, self.subject.host());
        let asked = OwnConfig::of(&ssh.path, &host).map_err(|error| Verdict::Skipped(error.to_string()))?;
        let config = asked.map_err(|refused| refused.verdict(&host))?;
        let home = self.subject.home.as_ref().ok();
        if let Some(verdict) = home.and_then(|home| ignored(&home.join(".ssh/config"))) {
            return Ok(Examined::giving(verdict, config));
        }
        let cluster = self.subject.cluster.to_string();
        let has_section = |text: &[u8]| sections::split(text).iter().any(|section| section.cluster == cluster);
        let ours = home.map(|home| home.join(".ssh").join(OURS[0])).filter(|path| path.exists());
        let is_written = ours.is_some_and(|path| sys::read_regular(&path).map_or(true, |text| has_section(&text)));
        let reads_home = ssh.reads_home(&config, self.subject);
        let verdict = entry(&config, &host, &self.subject.ends(), is_written, reads_home);
        Ok(Examined::giving(verdict, config))
    }
}

/// The problem that ssh ignores a configuration that it can't open, without a message.
fn ignored(file: &Path) -> Option<Verdict> {
    // Another check looks at the folder.
    let no_file = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    let error = sys::open_regular(file).err().filter(|error| !no_file.contains(&error.kind()))?;
    let failure = Failure::new("ssh ignores your own ssh_config").cause(format!("{}: {error}", file.display()));
    Some(match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Verdict::wrong(&failure.hint(format!("give yourself access: `{}`", sys::give_access(file, "u+rw"))), "")
        }
        _ => Verdict::wrong(&failure.hint(format!("see what it is, then write a new one: `{}`", sys::list(file))), ""),
    })
}

/// How ssh connects to `host`. `is_written` is whether our own configuration file has entries of the cluster, and
/// `reads_home` whether ssh looks for it there. Pure.
fn entry(config: &OwnConfig, host: &str, ends: &Ends, is_written: bool, reads_home: bool) -> Verdict {
    let (any, one) = (ends.host("*"), ends.host("NAME"));
    if config.has_entry() {
        if let Some(line) = config.without_effect().first() {
            let (option, _) = line.option();
            return Verdict::Note(format!(
                "`ssh` connects to {any} with the helper; but {} has no effect, since our entries set {option} above \
                 it: `{}`; move it to ~/.ssh/{OVERRIDES}",
                place(line),
                text(line)
            ));
        }
        return Verdict::Fine(format!("`ssh` connects to {any} with the helper"));
    }
    let write = write_command(reads_home);
    let way = match (config.option("proxycommand"), config.option("proxyjump")) {
        (Some(command), _) => excerpt(&format!("ProxyCommand {command}")),
        (None, Some(jump)) => excerpt(&format!("ProxyJump {jump}")),
        (None, None) if is_written => "no ProxyCommand".to_owned(),
        (None, None) => {
            return Verdict::Note(format!(
                "`ssh {one}` is not set up, and `{write}` sets it up; `kohakuriver vps connect` works without"
            ));
        }
    };
    if !is_written {
        return Verdict::Note(format!(
            "`ssh` connects to {any} with {way}; `kohakuriver vps connect` uses the helper all the same"
        ));
    }
    let failure = Failure::new(format!("`ssh` connects to {host} with {way}, not with the helper"));
    // The first of the two counts.
    let hiding = config.lines.iter().find(|line| line.sets("proxycommand") || line.sets("proxyjump"));
    let failure = match hiding {
        _ if !reads_home => {
            let failure = failure.cause(
                "our entries are in the directory that HOME names, and ssh reads that of the user database (`getent passwd`)",
            );
            return Verdict::wrong(&failure.hint(format!("write them where ssh reads them: `{write}`")), write);
        }
        Some(line) => failure
            .cause(format!("{}: `{}`", place(line), text(line)))
            .cause("ssh uses the first value that it finds, and an earlier line of your ssh_config hides ours"),
        None => failure.cause(format!(
            "ssh does not read ~/.ssh/{} for this name: the Include line is missing, or below a Host or Match line",
            OURS[0]
        )),
    };
    // `--write` respects what the user says about VPSes.
    if let Some(line) = hiding.filter(|line| is_about_vpses(line)) {
        return Verdict::wrong_with(&failure.hint("remove the line, or correct it"), editor(line));
    }
    let failure = failure.hint(format!("put our line at the top, before any Host line: `{write}`"));
    Verdict::wrong(&failure, write)
}

/// The command that writes our entries where ssh reads them. Without HOME, our programs use the user database as ssh does.
pub(super) fn write_command(reads_home: bool) -> &'static str {
    match reads_home {
        true => "kohakuriver ssh config --write",
        false => "env -u HOME kohakuriver ssh config --write",
    }
}

/// Whether `~/.ssh` can hold host keys.
pub(super) struct SshFolder<'a> {
    pub(super) subject: &'a Subject,
    pub(super) settings: &'a Given<Settings>,
}

impl Check for SshFolder<'_> {
    const NAME: &'static str = "ssh-folder";
    type Gives = ();

    fn tried(&self) -> String {
        "~/.ssh and the host keys in it".to_owned()
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        let Ok(home) = &self.subject.home else {
            let failure = Failure::new("cannot find your home directory").cause(sys::NO_HOME);
            return Err(Verdict::wrong(
                &failure.hint(format!("{} with `{}`", sys::FIND_HOME, sys::FIND_HOME_COMMAND)),
                sys::FIND_HOME_COMMAND,
            ));
        };
        let (folder, ours) = (home.join(".ssh"), in_folder_of_ssh(home));
        let files = self.settings.as_ref().map_or(vec![ours.clone()], |settings| HostKeys::of(settings, home).files());
        let elsewhere = (files[0] != ours).then(|| format!("host keys are kept in {}", files[0].display()));
        if self.settings.as_ref().is_ok_and(|settings| settings.known_hosts.is_some()) {
            check(&files[0]).map_err(|failure| Verdict::wrong(&failure, SHOW))?;
        }
        let text = match std::fs::metadata(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_symlink() => {
                "~/.ssh does not exist yet; the first connection creates it"
            }
            metadata => {
                let wrong = |failure: Failure| Verdict::wrong(&failure, sys::show_access_to_ssh_folder());
                let usable = usable(&folder, metadata).and_then(|()| writable(&ours));
                if elsewhere.is_none() {
                    usable.as_ref().map_err(|failure| wrong(failure.clone()))?;
                }
                files.iter().try_for_each(|file| readable(file)).map_err(wrong)?;
                if let (Err(failure), Some(elsewhere)) = (usable, &elsewhere) {
                    let why = failure.causes().join("; ");
                    return Ok(Verdict::Note(format!("{}: {why}; {elsewhere}", failure.what())).into());
                }
                "readable and writable"
            }
        };
        Ok(Verdict::Fine(elsewhere.map_or(text.to_owned(), |elsewhere| format!("{text}; {elsewhere}"))).into())
    }
}

/// Whether `folder` is a directory that this user can read and write.
fn usable(folder: &Path, metadata: io::Result<std::fs::Metadata>) -> Result<(), Failure> {
    let cannot = |why: String, hint: String| {
        Err(Failure::new(format!("cannot store host keys in {}", folder.display())).cause(why).hint(hint))
    };
    match metadata {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return cannot("it is a symbolic link to nothing".to_owned(), sys::mend_link(folder));
        }
        Err(error) => {
            return cannot(error.to_string(), format!("see who owns it: `{}`", sys::show_access_to_ssh_folder()));
        }
        Ok(metadata) if !metadata.is_dir() => {
            let hint = format!("move it away: `{}`", sys::move_away(folder, ".old"));
            return cannot("it is a file, not a directory".to_owned(), hint);
        }
        Ok(_) => {}
    }
    match sys::check_usable_folder(folder) {
        Ok(()) => Ok(()),
        Err(error) => cannot(
            format!("you may not read and write it: {error}"),
            format!("give yourself access, and nobody else: `{}`", sys::give_access(folder, "700")),
        ),
    }
}

/// Whether the stored host keys can be read.
fn readable(path: &Path) -> Result<(), Failure> {
    // The id does not matter: this only finds out whether the file can be read.
    match TaskId::parse("0").map(|id| KnownHosts::at(path, &Cluster::Unnamed).of(id)) {
        Some(Err(error)) => {
            let hint = match path.is_dir() {
                true => format!("move it away: `{}`", sys::move_away(path, ".old")),
                false => give_access(path),
            };
            Err(Failure::new("cannot read the host keys of VPSes").because(&error).hint(hint))
        }
        _ => Ok(()),
    }
}

/// Whether new host keys can be added.
fn writable(path: &Path) -> Result<(), Failure> {
    match path.exists().then(|| sys::check_writable(path)) {
        Some(Err(error)) => {
            let failure = Failure::new(format!("cannot store host keys in {}", path.display()));
            Err(failure.cause(format!("you may not write it: {error}")).hint(give_access(path)))
        }
        _ => Ok(()),
    }
}

fn give_access(file: &Path) -> String {
    format!("give yourself access: `{}`", sys::give_access(file, "600"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::in_force::Line;

    fn config(options: &str, lines: &[&str]) -> OwnConfig {
        let line = |(number, text): (usize, &&str)| Line {
            file: "/h/.ssh/config".into(),
            number,
            block: 0,
            text: text.as_bytes().to_owned(),
        };
        let lines = (1..).zip(lines).map(line).collect();
        OwnConfig { options: options.to_owned(), lines, files: Vec::new() }
    }

    fn ends() -> Ends {
        Ends::of(&Cluster::Unnamed, true, &[])
    }

    #[test]
    fn each_entry_in_ssh_config() {
        let found =
            |options: &str, is_written| entry(&config(options, &[]), "42.kohakuriver", &ends(), is_written, true);
        let ours = "user root\nproxycommand /usr/bin/kohakuriver-proxy %h\n";
        for is_written in [true, false] {
            assert!(matches!(found(ours, is_written), Verdict::Fine(_)), "{is_written}");
        }
        for (options, way) in [
            ("proxycommand nc %h %p\nproxyjump none\n", "ProxyCommand nc %h %p"),
            ("proxyjump office\n", "ProxyJump office"),
            ("proxycommand none\nproxycommander x\n", "no ProxyCommand"),
        ] {
            let Verdict::Wrong(wrong) = found(options, true) else { panic!("{options}") };
            assert_eq!(wrong.what, format!("`ssh` connects to 42.kohakuriver with {way}, not with the helper"));
            let Verdict::Note(note) = found(options, false) else { panic!("{options}") };
            assert_eq!(note.contains(way), way != "no ProxyCommand", "{note}");
        }
    }

    #[test]
    fn the_line_that_hides_our_entry_is_named() {
        let lines = ["User u", "ProxyCommand none", "ProxyCommand nc"];
        let found = |reads_home| {
            let verdict = entry(&config("", &lines), "42.kohakuriver", &ends(), true, reads_home);
            let Verdict::Wrong(wrong) = verdict else { panic!("{verdict:?}") };
            (wrong.causes[0].clone(), wrong.command)
        };
        let (cause, command) = found(true);
        assert_eq!((cause.as_str(), command.as_str()), ("/h/.ssh/config:2: `ProxyCommand none`", write_command(true)));
        let (cause, command) = found(false);
        assert!(cause.contains("the user database") && command == write_command(false), "{cause}");
    }

    #[test]
    fn a_configuration_that_can_not_be_opened_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        assert_eq!(ignored(&file), None, "there is none");
        std::os::unix::fs::symlink("config", &file).unwrap();
        let Some(Verdict::Wrong(wrong)) = ignored(&file) else { panic!("a link to itself") };
        assert_eq!(wrong.command, format!("ls -l {}", file.display()));
        let too_many = crate::failure::words(&std::io::Error::from(rustix::io::Errno::LOOP));
        assert!(wrong.causes[0].contains(&too_many), "{wrong:?}");
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "").unwrap();
        assert_eq!(ignored(&file), None);
    }
}
