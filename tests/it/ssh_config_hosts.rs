//! Our ssh_config beside what people really have in theirs, with the system's ssh and an older one: what a `Host *` sets
//! for other machines, every spelling of a VPS, and keys.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use crate::ssh_config::User;
use crate::support::gateway::{Gateway, inventory, name_of, running};
use crate::support::home::Home;
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::ID;
use crate::support::sshd::Sshd;
use crate::support::tools::{self, older_ssh, sh_quote, tool};

/// The lines of `Host *` in each test's own ssh_config.
const QUIET: &str = "Host *\n  BatchMode yes\n  GlobalKnownHostsFile /dev/null\n  LogLevel ERROR\n";

/// `vps connect` with an ssh_config of the user's that includes no entries, and these words behind the VPS.
fn connect(user: &User, own: &str, words: &[&str]) -> Run {
    let config = user.home.write("own", own);
    let run = user.kohakuriver(&["vps", "connect", ID, "--user", tools::user(), "--", "-F"]);
    run.arg(config).args(words)
}

#[test]
fn what_host_star_sets_for_other_machines_breaks_no_vps() {
    let user = User::new();
    for line in [
        "Port 2222",
        "HostName %h.corp.example",
        "HostName 203.0.113.5",
        "HostKeyAlias corp",
        "CanonicalizeHostname always\n  CanonicalizeFallbackLocal no\n  CanonicalDomains corp.example",
        "SessionType none",
        "StdinNull yes",
        "ForkAfterAuthentication yes",
        "HostKeyAlgorithms rsa-sha2-512",
        "PermitLocalCommand yes\n  LocalCommand echo noise",
        "PubkeyAuthentication no",
        "PubkeyAcceptedAlgorithms rsa-sha2-512",
        "ProxyJump bastion.example",
        "ProxyCommand false",
        "StrictHostKeyChecking yes",
        "KnownHostsCommand /bin/false",
        "User somebody",
    ] {
        let own = format!("{}  {line}\n", user.own_config());
        user.write(&own);
        // The entry, and the wildcard with a beginning of the name.
        let name = name_of(ID);
        let entry = |name: &str| user.ssh(&format!("{name}.kohakuriver")).arg("cat; exit 3");
        let ways = [entry(&name), entry(&name[..name.len() - 2]), connect(&user, &own, &["cat; exit 3"])];
        for way in ways.map(|run| run.stdin("in\n").start()) {
            let outcome = way.finish();
            outcome.check(outcome.status.code() == Some(3), &format!("`{line}` changes nothing"));
            outcome.prints("in\n").says_nothing();
        }
        let known = user.known_hosts();
        assert_eq!(known.len(), 1, "{line}: {known:?}");
        fs::remove_file(user.home.join(".ssh/.kohakuriver_known_hosts")).unwrap();
    }
}

#[test]
fn a_remote_command_of_the_users_gives_way_to_one_that_is_typed() {
    let user = User::new();
    let own = format!("{}  RemoteCommand echo own\n", user.own_config());
    connect(&user, &own, &["echo typed"]).output().succeeds().prints("typed\n");
    connect(&user, &own, &["-T"]).output().succeeds().prints("own\n");
}

/// Under `ServerAliveCountMax 0`, ssh ends a session at the first interval without a byte.
#[test]
fn an_idle_session_stays() {
    let user = User::new();
    let own = format!("{}  ServerAliveCountMax 0\n", user.own_config());
    user.write(&own);
    let idle = ["-o", "ServerAliveInterval=2", "sleep 3; echo in"];
    let host = format!("{}.kohakuriver", name_of(ID));
    let (entry, connected) = (user.ssh(&host).args(idle).start(), connect(&user, &own, &idle).start());
    entry.finish().succeeds().prints("in\n");
    connected.finish().succeeds().prints("in\n");
}

#[test]
fn every_spelling_finds_the_key() {
    let user = User::new();
    // Its key is here already, and the Host does not list it yet.
    let later = "7323718749301769999";
    user.sshd.copy_key_to(&user.home.join(&format!(".ssh/kohakuriver_{later}")));
    user.write(QUIET);
    let name = name_of(ID);
    let beginning = &name[..name.len() - 2];
    for host in [
        format!("{name}.kohakuriver"),
        format!("{}.kohakuriver", name.to_uppercase()),
        format!("{name}.KohakuRiver"),
        format!("{ID}.kohakuriver"),
        format!("{ID}.KOHAKURIVER"),
        format!("kohakuriver-{ID}.kohakuriver"),
        format!("kohakuriver-vps-{ID}.kohakuriver"),
        format!("KohakuRiver-{ID}.kohakuriver"),
        format!("{beginning}.kohakuriver"),
        format!("{}.KOHAKURIVER", beginning.to_uppercase()),
    ] {
        let outcome = user.ssh(&host).arg("echo in").output();
        outcome.check(outcome.status.success(), &format!("a login on {host}")).prints("in\n");
        assert_eq!(user.known_hosts().len(), 1, "{host}");
    }
    let all = [ID, later].map(|id| running(id, user.sshd.port));
    takes_up(&user, &all, &format!("kohakuriver-{later}.kohakuriver"));
}

/// The gateway takes a new inventory up by itself; a login on `host` works then.
fn takes_up(user: &User, vpses: &[Value], host: &str) {
    user.gateway.write_inventory(&inventory(vpses).to_string());
    let end = Instant::now() + DEADLINE;
    loop {
        let outcome = user.ssh(host).arg("echo in").output();
        if outcome.status.success() {
            break;
        }
        outcome.check(Instant::now() < end, "a login on the later one");
    }
}

#[test]
fn a_later_vps_whose_name_begins_like_anothers_has_its_keys() {
    let user = User::new();
    let (other, later) = (Sshd::start(), "7323718749301769999");
    other.copy_key_to(&user.home.join(".ssh/id_ed25519"));
    user.write(QUIET);
    // No other name begins with `v` until then.
    assert!(fs::read_to_string(user.home.join(".ssh/kohakuriver.conf")).unwrap().contains(",v*.kohakuriver,"));
    let all = [running(ID, user.sshd.port), running(later, other.port)];
    takes_up(&user, &all, &format!("{}.kohakuriver", name_of(later)));
}

/// ssh passes a name on in lower case, so that it can't mean one of the two.
#[test]
fn names_that_differ_in_case_only_are_told_apart_by_their_entries() {
    let user = User::new();
    let twin = |id: &str, name: &str| {
        let mut vps = running(id, user.sshd.port);
        vps["name"] = name.into();
        vps
    };
    let gateway = Gateway::with_inventory(&inventory(&[twin("70001111", "dev"), twin("70002222", "Dev")]));
    let user = User { gateway, ..user };
    user.write(&user.own_config());
    for host in ["dev.kohakuriver", "Dev.kohakuriver", "de.kohakuriver"] {
        user.ssh(host).arg("true").output().exits(255).says(&["dev (70001111, running), Dev (70002222, running)"]);
    }
    for host in ["dev-1111.kohakuriver", "DEV-2222.kohakuriver", "Dev-2222.kohakuriver"] {
        user.ssh(host).arg("true").output().succeeds();
    }
    let status = |name| user.kohakuriver(&["vps", "status", name, "--json"]).output().succeeds().text();
    assert!(status("dev").contains("70001111") && status("Dev").contains("70002222"));
}

/// ssh on PATH with the user's configuration, which it would look for in the home folder of the user database.
fn with_own_config(user: &User, ssh: &Path) -> PathBuf {
    let config = user.home.join(".ssh/config");
    let words = [ssh, &config].map(|path| sh_quote(&path.display().to_string()));
    user.home.script("bin/ssh", &format!("#!/bin/sh\nexec {} -F {} \"$@\"\n", words[0], words[1]));
    user.home.join("bin")
}

#[test]
fn the_only_identity_file_of_the_user_does_not_exist() {
    let user = User::new();
    let own = user.home.join(&format!(".ssh/id-kohakuriver-{ID}"));
    fs::rename(own, user.home.join(".ssh/id_ed25519")).unwrap();
    let folder = with_own_config(&user, &tool("ssh"));
    let login = tools::user();
    let works = |hides: bool| {
        user.home.write(".ssh/config", format!("{QUIET}{}", if hides { "  IdentityFile ~/.ssh/gone\n" } else { "" }));
        user.kohakuriver(&["ssh", "config", "--write"]).first_on_path(&folder).output().succeeds();
        let entries = fs::read_to_string(user.home.join(".ssh/kohakuriver.conf")).unwrap();
        let ssh = user.ssh(&format!("{ID}.kohakuriver")).args(["-l", login, "true"]).output();
        let connect = user.kohakuriver(&["vps", "connect", ID, "--user", login, "--", "true"]);
        (entries.contains("id_ed25519"), ssh.status.success(), connect.first_on_path(&folder).output().status.success())
    };
    assert_eq!(works(true), (true, true, true));
    // A key that was named by hand is the only one.
    let missing = ["vps", "connect", ID, "--dry-run", "--", "-i", "/no/such/key"];
    let outcome = user.kohakuriver(&missing).first_on_path(&folder).output();
    outcome.succeeds().check(!outcome.text().contains("id_ed25519"), "no other key");
    // Without such a line, ssh knows its default keys itself.
    assert!(!works(false).0);
}

#[test]
fn an_older_ssh_reads_our_files_and_reaches_vpses() {
    let home = Home::new();
    let Some(older) = older_ssh(&home) else { return };
    let user = User::new();
    let own = format!("IgnoreUnknown UseKeychain\n{}  UseKeychain yes\nHost other\n  Port 7\n", user.own_config());
    let config = user.home.write(".ssh/config", &own);
    let ssh = |words: &[&str]| Run::new(&older, &user.home).arg("-F").arg(&config).args(words).output();
    let asked = |host: &str| ssh(&["-G", host]).succeeds().text();
    let before = ["foreign", "other"].map(&asked);
    user.write(&own);
    assert_eq!(["foreign", "other"].map(&asked), before);
    let name = format!("{}.kohakuriver", name_of(ID));
    // It stores no key without being asked.
    ssh(&[&name, "true"]).exits(255).says(&["Host key verification failed"]);
    ssh(&["-o", "StrictHostKeyChecking=accept-new", &name, "echo in"]).succeeds().prints("in\n");
    for host in [&format!("{ID}.KOHAKURIVER"), &format!("kohakuriver-{ID}.kohakuriver"), &name] {
        ssh(&[host, "echo in"]).succeeds().prints("in\n");
    }
    assert_eq!(user.known_hosts().len(), 1);
    // One store for both: the system's ssh finds the key that the older one stored, and the other way round.
    user.ssh(&name).arg("echo in").output().succeeds().prints("in\n").says_nothing();
    fs::remove_file(user.home.join(".ssh/.kohakuriver_known_hosts")).unwrap();
    user.ssh(&name).arg("echo in").output().succeeds();
    ssh(&[&name, "echo in"]).succeeds().prints("in\n");
    fs::remove_file(user.home.join(".ssh/.kohakuriver_known_hosts")).unwrap();
    let folder = with_own_config(&user, &older);
    for _ in 0..2 {
        let words = ["vps", "connect", ID, "--user", tools::user(), "--", "echo in"];
        user.kohakuriver(&words).first_on_path(&folder).output().succeeds().prints("in\n");
    }
}

/// Before 8.7, ssh takes the quotes for letters of the name.
#[test]
fn the_second_file_is_read_by_newer_releases_only() {
    for folder in ["plain", "with blank", "it's 100% odd"] {
        let home = Home::named(folder);
        let user = User { home, ..User::new() };
        user.write(QUIET);
        assert!(user.home.join(".ssh/.kohakuriver-openssh-8.7.conf").is_file());
        let asked = |ssh: &Path| {
            let run = Run::new(ssh, &user.home).args(["-G", "-F"]).arg(user.home.join(".ssh/config"));
            run.arg("x.kohakuriver").output().succeeds().text()
        };
        // Odd paths are found in the home folder of the user database, which is another one here.
        if folder != "it's 100% odd" {
            let newer = asked(&tool("ssh"));
            assert!(newer.contains("\nstricthostkeychecking accept-new\n"), "{newer}");
            assert!(newer.contains("\nknownhostscommand "), "{newer}");
        }
        if let Some(older) = older_ssh(&Home::new()) {
            assert!(asked(&older).contains("\nstricthostkeychecking ask\n"));
        }
    }
}

/// A package manager puts each version into a folder of its own, which the next upgrade removes.
#[test]
fn programs_are_named_as_path_names_them() {
    let user = User::new();
    let versioned = user.home.copy(tools::CLI.as_ref(), "Cellar/kohakuriver/0.1.0/bin/kohakuriver");
    let helper = user.home.copy(tools::HELPER.as_ref(), "Cellar/kohakuriver/0.1.0/bin/kohakuriver-proxy");
    let bin = user.home.join("bin");
    fs::create_dir(&bin).unwrap();
    for program in [&versioned, &helper] {
        symlink(program, bin.join(program.file_name().unwrap())).unwrap();
    }
    let elsewhere = user.home.join("elsewhere");
    user.home.copy(Path::new("/bin/true"), "elsewhere/kohakuriver-proxy");
    let (linked, versions) = (bin.display().to_string(), versioned.parent().unwrap().display().to_string());
    let run = |program: &Path, path: &Path, words: &[&str]| {
        let run = user.with_settings(Run::new(program, &user.home).args(words));
        run.first_on_path(path).output().succeeds().text()
    };
    // Started by PATH; by its path, which PATH lacks; by the path of the version, with other programs on PATH.
    for (program, path, expected) in [
        (&versioned, &bin, &linked),
        (&bin.join("kohakuriver"), &elsewhere, &linked),
        (&versioned, &elsewhere, &versions),
    ] {
        for words in [&["ssh", "config"][..], &["vps", "connect", ID, "--dry-run"]] {
            let text = run(program, path, words);
            for name in ["kohakuriver-proxy --fdpass", "kohakuriver --host"] {
                assert!(text.contains(&format!("{expected}/{name} ")), "{expected}/{name}: {text}");
            }
        }
    }
}
