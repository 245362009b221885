//! Homes whose `~/.ssh` can't be written, or that are not those of the user database, and host keys that live elsewhere.

use std::fs;
use std::os::unix::fs::chown;

use crate::support::cluster::Cluster;
use crate::support::gateway::name_of;
use crate::support::home::set_mode;
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER, NORMAL_USER, tool, user};

/// A key that no sshd has.
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

const FALLBACK: &str = ".local/state/kohakuriver/known_hosts";

/// A user whose `~/.ssh` is read-only. Root may write everywhere, and is another user here.
struct ReadOnly {
    cluster: Cluster,
}

impl ReadOnly {
    fn new() -> Self {
        let cluster = Cluster::new();
        // That user may have no access to the build directory.
        cluster.home.copy(CLI.as_ref(), "both/kohakuriver");
        cluster.home.copy(HELPER.as_ref(), "both/kohakuriver-proxy");
        Self { cluster }
    }

    /// Closes `~/.ssh`, and runs a program as its user.
    fn run(&self, program: impl AsRef<std::path::Path>) -> Run {
        let (home, folder) = (self.cluster.home.path(), self.cluster.home.join(".ssh"));
        let program = self.cluster.home.join("both").join(program);
        if user() != "root" {
            set_mode(&folder, 0o500);
            return self.cluster.run(program);
        }
        let give = |path: &std::path::Path| chown(path, Some(NORMAL_USER), Some(NORMAL_USER)).unwrap();
        give(home);
        fs::read_dir(&folder).unwrap().for_each(|entry| give(&entry.unwrap().path()));
        set_mode(home, 0o755);
        set_mode(&folder, 0o755);
        let ids = [format!("--reuid={NORMAL_USER}"), format!("--regid={NORMAL_USER}"), "--clear-groups".into()];
        self.cluster.run(tool("setpriv")).args(ids).arg(program)
    }

    fn kohakuriver(&self, args: &[&str]) -> Run {
        self.run("kohakuriver").args(args)
    }

    fn connect(&self) -> Run {
        self.kohakuriver(&["vps", "connect", ID, "--user", user(), "--", "echo in"])
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        set_mode(&self.cluster.home.join(".ssh"), 0o700);
    }
}

#[test]
fn vps_connect_keeps_host_keys_elsewhere_if_the_folder_of_ssh_is_read_only() {
    let read_only = ReadOnly::new();
    let home = &read_only.cluster.home;
    let first = read_only.connect().output();
    let said = format!("~/.ssh can't be written, so host keys are kept in {}\n", home.join(FALLBACK).display());
    first.succeeds().prints("in\n").check_stderr(&said);
    assert!(!home.join(".ssh/.kohakuriver_known_hosts").exists());
    let stored = fs::read_to_string(home.join(FALLBACK)).unwrap();
    assert!(stored.starts_with(&format!("kohakuriver-{ID},")) && stored.lines().count() == 1, "{stored}");
    read_only.connect().output().succeeds().prints("in\n").says_nothing();
    read_only.kohakuriver(&["ssh", "forget", ID]).output().succeeds().says(&["removed the host key"]);
    assert_eq!(fs::read_to_string(home.join(FALLBACK)).unwrap(), "");
    let doctor = read_only.kohakuriver(&["doctor", "--all"]).output().text();
    let note = "note  ssh-folder   ~/.ssh and the host keys in it: cannot store host keys in ~/.ssh: you may not";
    assert!(doctor.contains(note) && doctor.contains(&format!("; host keys are kept in ~/{FALLBACK} (")), "{doctor}");
}

/// The entries name a file that can't be written any more.
#[test]
fn what_was_written_before_the_folder_became_read_only_still_works() {
    let read_only = ReadOnly::new();
    let home = &read_only.cluster.home;
    let config = home.write(".ssh/config", "Host a\n");
    read_only.cluster.run(home.join("both/kohakuriver")).args(["ssh", "config", "--write"]).output().succeeds();
    let key = home.join(&format!(".ssh/id-kohakuriver-{ID}")).display().to_string();
    let host = format!("{}@{}.kohakuriver", user(), name_of(ID));
    for _ in 0..2 {
        let ssh = read_only.run(tool("ssh")).arg("-F").arg(&config).args(["-o", "BatchMode=yes", "-i", &key]);
        ssh.args([&host, "echo in"]).output().succeeds().prints("in\n").says_nothing();
        assert_eq!(fs::read_to_string(home.join(FALLBACK)).unwrap().lines().count(), 1);
    }
    read_only.connect().output().succeeds().prints("in\n").says_nothing();
    read_only.kohakuriver(&["ssh", "forget", ID]).output().succeeds().says(&["removed the host key"]);
    let synced = read_only.kohakuriver(&["ssh", "config", "--sync"]).output();
    synced.exits(1).prints_nothing().says(&["cannot write ", "its folder is read-only", "nothing was changed"]);
    let removed = read_only.kohakuriver(&["ssh", "config", "--remove"]).output();
    let by_hand = format!("hint: remove this line by hand: `Include {}`", home.join(".ssh/kohakuriver.conf").display());
    removed.exits(1).says(&["cannot change ", "its folder is read-only", &by_hand]);
    // A changed key is in a file that `ssh forget` can't change.
    fs::write(home.join(".ssh/.kohakuriver_known_hosts"), format!("kohakuriver-{ID} {OTHER}\n")).unwrap();
    let ssh = read_only.run(tool("ssh")).arg("-F").arg(&config).args(["-o", "BatchMode=yes", &host, "true"]).output();
    ssh.exits(255).says(&["remove the line, or this VPS from it: `${EDITOR:-vi} +1 "]);
    ssh.check(!ssh.stderr.contains("ssh forget"), "no command that changes nothing");
}

/// A key that was stored before the folder became read-only still counts.
#[test]
fn a_stored_key_in_a_read_only_folder_counts() {
    let read_only = ReadOnly::new();
    let home = &read_only.cluster.home;
    let ours = home.write(".ssh/.kohakuriver_known_hosts", format!("kohakuriver-{ID} {OTHER}\n"));
    set_mode(&ours, 0o444);
    let outcome = read_only.connect().output();
    let place = format!("the stored key is in {}", ours.display());
    outcome.exits(255).says(&[
        "the host key of VPS",
        " has changed\n",
        &place,
        "remove the line, or this VPS from it: ",
    ]);
    let forgets = read_only.kohakuriver(&["ssh", "forget", ID]).output();
    let stays = format!("a key of VPS {ID} stays in {}, which can't be written\n", ours.display());
    forgets.succeeds().says(&["there is no stored host key", &stays]);
}

#[test]
fn entries_for_a_read_only_folder_are_written_to_another_file() {
    let read_only = ReadOnly::new();
    let home = &read_only.cluster.home;
    let refused = read_only.kohakuriver(&["ssh", "config", "--write"]).output();
    let hint =
        "hint: write the entries to another file: `kohakuriver ssh config --output FILE`; `ssh -F FILE` reads it";
    refused.exits(1).says(&["cannot write ", "its folder is read-only", hint]);
    let file = home.join("entries").display().to_string();
    read_only.kohakuriver(&["ssh", "config", "--output", &file]).output().succeeds();
    let key = home.join(&format!(".ssh/id-kohakuriver-{ID}")).display().to_string();
    let ssh = read_only.run(tool("ssh")).args(["-F", &file, "-o", "BatchMode=yes", "-i", &key]);
    let host = format!("{}@{}.kohakuriver", user(), name_of(ID));
    ssh.args([&host, "echo in"]).output().succeeds().prints("in\n");
    assert_eq!(fs::read_to_string(home.join(FALLBACK)).unwrap().lines().count(), 1);
}

#[test]
fn a_setting_names_the_file_of_host_keys() {
    let cluster = Cluster::new();
    let file = cluster.home.join("keys/of 100%d vpses");
    cluster.run(CLI).args(["config", "set", "known_hosts", "~/keys/of 100%d vpses"]).output().succeeds();
    let connect = || cluster.connect().args(["--", "echo in"]);
    connect().output().succeeds().prints("in\n").says_nothing();
    assert!(fs::read_to_string(&file).unwrap().starts_with(&format!("kohakuriver-{ID},")));
    assert_eq!(cluster.known_hosts(), "");
    let entries = cluster.run(CLI).args(["ssh", "config"]).output().text();
    let named = format!("UserKnownHostsFile \"{}\"\n", file.display().to_string().replace('%', "%%"));
    assert!(entries.contains(&named) && entries.contains("# Made by: env "), "{entries}");
    let doctor = cluster.run(CLI).args(["doctor", ID, "--user", user()]).output().text();
    let texts = ["host keys are kept in ~/keys/of 100%d vpses", ", compared with ~/keys/of 100%d vpses: "];
    assert!(texts.iter().all(|text| doctor.contains(text)) && doctor.contains("is the stored one"), "{doctor}");
    cluster.run(CLI).args(["ssh", "forget", ID]).output().succeeds().says(&["removed the host key"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    // The environment comes before the file.
    let other = cluster.home.join("other");
    connect().env("KOHAKURIVER_KNOWN_HOSTS", &other).output().succeeds();
    assert_eq!(fs::read_to_string(other).unwrap().lines().count(), 1);
    let denied = connect().env("KOHAKURIVER_KNOWN_HOSTS", "/dev/null/keys").output();
    denied.exits(255).says(&["cannot keep host keys in /dev/null/keys", "`export KOHAKURIVER_KNOWN_HOSTS=FILE`"]);
}

/// ssh would not check the key of any VPS, or of none.
#[test]
fn a_setting_that_can_be_no_file_is_refused() {
    let cluster = Cluster::new();
    cluster.home.write("a file", "");
    fs::create_dir(cluster.home.join("folder")).unwrap();
    let not_there = "it does not exist, and you can't create it there";
    for (value, why) in [
        (cluster.home.join("folder").display().to_string(), "it is not a regular file"),
        ("~".into(), "it is not a regular file"),
        ("/dev/null".into(), "it is not a regular file"),
        (cluster.home.join("a file/keys").display().to_string(), not_there),
        ("none".into(), "which is a relative path"),
        ("keys".into(), "which is a relative path"),
    ] {
        let config = cluster.home.join(".config/kohakuriver/config.json");
        cluster
            .run(CLI)
            .args(["config", "set", "known_hosts", &value])
            .output()
            .check(!config.exists(), why)
            .says(&[why]);
        for words in [&["ssh", "config", "--write"][..], &["vps", "connect", ID], &["ssh", "forget", ID]] {
            let outcome = cluster.run(CLI).args(words).env("KOHAKURIVER_KNOWN_HOSTS", &value).output();
            outcome.check(!outcome.status.success(), "a failure").says(&[why, "hint: "]);
        }
        assert!(!cluster.home.join(".ssh/kohakuriver.conf").exists());
        let doctor = cluster.run(CLI).args(["doctor", "--all"]).env("KOHAKURIVER_KNOWN_HOSTS", &value).output();
        doctor.exits(1).check(doctor.text().contains(why), why);
    }
    cluster.run(CLI).args(["config", "set", "known_hosts", ""]).output().says(&["a string that is not empty"]);
}

/// Entries that were written then may name it, and its keys must not be trusted anew.
#[test]
fn the_host_keys_of_an_earlier_version_stay_in_use() {
    let cluster = Cluster::new();
    let earlier = cluster.home.write(".ssh/kohakuriver_known_hosts", format!("kohakuriver-{ID} {OTHER}\n"));
    cluster.connect().args(["--", "echo in"]).output().exits(255).says(&[" has changed\n"]);
    cluster.run(CLI).args(["ssh", "forget", ID]).output().succeeds().says(&["removed the host key"]);
    cluster.connect().args(["--", "echo in"]).output().succeeds().prints("in\n");
    assert!(fs::read_to_string(earlier).unwrap().starts_with(&format!("kohakuriver-{ID},")));
    assert_eq!(cluster.known_hosts(), "");
}

#[test]
fn a_users_own_file_of_host_keys_counts() {
    let cluster = Cluster::new();
    let own = cluster.home.write("own keys", format!("kohakuriver-{ID} {OTHER}\n"));
    let config = cluster.home.write("config", format!("Host *\n  UserKnownHostsFile \"{}\"\n", own.display()));
    cluster.home.ssh("", &format!("-F {} -o BatchMode=yes", config.display()));
    let connect = || cluster.connect().args(["--", "echo in"]).output();
    let place = format!("the stored key is in {}", own.display());
    connect().exits(255).says(&[" has changed\n", &place]);
    // The right key in it is enough, and nothing is stored twice.
    fs::write(&own, "").unwrap();
    connect().succeeds();
    let ours = cluster.home.join(".ssh/.kohakuriver_known_hosts");
    fs::rename(&ours, &own).unwrap();
    connect().succeeds().prints("in\n");
    assert_eq!(cluster.known_hosts(), "");
}

#[test]
fn entries_that_ssh_does_not_read_are_pointed_out() {
    let cluster = Cluster::new();
    fs::create_dir_all(cluster.home.join("bin")).unwrap();
    let write = || cluster.run(CLI).args(["ssh", "config", "--write"]).output();
    let config = cluster.home.join(".ssh/config");
    let unread = format!("warning: ssh doesn't read {}: ", config.display());
    let ways =
        format!("use `ssh -F {} NAME.kohakuriver`, or write the entries there: `env -u HOME kohak", config.display());
    write().succeeds().says(&[&unread, &ways]);
    // An ssh that reads the file in this home.
    cluster.home.ssh("", &format!("-F {}", config.display()));
    write().succeeds().check_stderr("nothing to change\n");
}
