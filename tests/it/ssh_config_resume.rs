//! Whether the tunnels of entries and of `vps connect` are resumable: decided for each cluster, by the way to its gateway,
//! the setting and the flags.

use crate::ssh_config::User;
use crate::support::scene::ID;
use crate::support::two_clusters::TwoClusters;

const NEAR: &str = "tunnels are not resumable: the gateway is in a private network, and ssh gets the socket itself, \
                    which is fastest";
const FLAG: &str = "tunnels are resumable: `--resume` was given";

const CONFIG: &str = ".config/kohakuriver/config.json";
const CONF: &str = ".ssh/kohakuriver.conf";

/// Tests the parts of `entries` that depend on whether tunnels are resumable: the helper's option, the count of
/// keepalives, and the comment.
#[track_caller]
fn are(entries: &str, option: Option<&str>, count: u32, comment: &str) {
    let commands: Vec<&str> = entries.lines().filter(|line| line.starts_with("    ProxyCommand ")).collect();
    assert!(commands.iter().all(|line| line.contains(" --fdpass ")) && commands.len() == 2, "{entries}");
    for known in ["--resume", "--no-resume"] {
        assert!(
            commands.iter().all(|line| line.contains(&format!(" {known} %h %p")) == (option == Some(known))),
            "{entries}"
        );
    }
    assert_eq!(entries.matches(&format!("\n    ServerAliveInterval 30\n    ServerAliveCountMax {count}\n")).count(), 2);
    let comment = format!("\n# T{}.\n", &comment[1..]);
    assert!(entries.contains(&comment), "{comment:?} is not in {entries}");
}

#[test]
fn entries_say_which_tunnels_are_resumable_and_why() {
    let user = User::new();
    let tls = "tunnels are resumable: a process of the helper carries the bytes of TLS in any case";
    let internet = "tunnels are resumable: the gateway is in the internet";
    let (on, off) =
        ("tunnels are resumable: the setting `resume` is on", "tunnels are not resumable: the setting `resume` is off");
    let no_flag = "tunnels are not resumable: `--no-resume` was given";
    for (file, proxy, flag, option, count, comment) in [
        ("auto", None, None, None, 3, NEAR),
        ("auto", Some("203.0.113.7:8002"), None, Some("--resume"), 40, internet),
        ("auto", Some("https://203.0.113.7"), None, None, 40, tls),
        ("on", None, None, Some("--resume"), 40, on),
        ("off", Some("https://203.0.113.7"), None, Some("--no-resume"), 3, off),
        ("off", None, Some("--resume"), Some("--resume"), 40, FLAG),
        ("on", None, Some("--no-resume"), Some("--no-resume"), 3, no_flag),
    ] {
        user.home.write(CONFIG, format!("{{\"resume\":\"{file}\"}}"));
        let proxy = proxy.into_iter().flat_map(|proxy| ["--proxy", proxy]);
        let args: Vec<&str> = proxy.chain(["ssh", "config"]).chain(flag).collect();
        are(&user.kohakuriver(&args).output().succeeds().text(), option, count, comment);
    }
    user.kohakuriver(&["ssh", "config", "--resume", "--no-resume"]).output().exits(2);
    user.kohakuriver(&["ssh", "config", "--sync", "--resume"]).output().exits(2);
}

#[test]
fn a_flag_stays_until_the_entries_are_written_without_it() {
    let user = User::new();
    let read = || std::fs::read_to_string(user.home.join(CONF)).unwrap();
    let config = |args: &[&str]| user.kohakuriver(&[&["ssh", "config"], args].concat()).output();
    config(&["--write"]).succeeds().says(&[NEAR]);
    let again = config(&["--write"]);
    again.succeeds().check(!again.stderr.contains("tunnels are"), "nothing new about tunnels");
    config(&["--write", "--resume"]).succeeds().says(&[FLAG]);
    let written = read();
    are(&written, Some("--resume"), 40, FLAG);
    assert!(written.contains(" ssh config --write --resume\n"), "{written}");
    user.home.write(CONF, written.replace("Host trainer.", "Host teacher."));
    config(&["--sync"]).succeeds().says_nothing();
    assert_eq!(read(), written);
    // ssh reads them, and its helper has another process carry the bytes.
    user.name_user();
    user.ssh(&format!("{ID}.kohakuriver")).arg("echo in").output().succeeds().prints("in\n");
    config(&["--write"]).succeeds().says(&[NEAR]);
    are(&read(), None, 3, NEAR);
}

#[test]
fn logins_and_other_defaults_keep_the_flag_of_each_cluster() {
    let two = TwoClusters::logged_in();
    two.run(&["--cluster", "lab", "ssh", "config", "--write", "--resume"]).output().succeeds();
    two.run(&["ssh", "config", "--write", "--no-resume"]).output().succeeds();
    let made_by = || {
        let text = two.home.read(CONF);
        let ends = |cluster: &str, end: &str| {
            let (_, section) = text.split_once(&format!("# Cluster: {cluster}\n")).unwrap();
            section.lines().next().unwrap().ends_with(end)
        };
        assert!(ends("default", " --no-resume") && ends("lab", " --resume"), "{text}");
    };
    made_by();
    two.run(&["cluster", "use", "lab"]).output().succeeds();
    made_by();
    two.run(&["cluster", "use", "default"]).output().succeeds();
    two.log_in_to_lab().output().succeeds();
    made_by();
    two.run(&["cluster", "rename", "lab", "den"]).output().succeeds();
    assert!(
        two.home.read(CONF).contains("# Cluster: den\n")
            && two.home.read(CONF).contains(" --resume\n# Tunnels are resumable")
    );
}

#[test]
fn connect_goes_by_the_setting_and_by_the_way() {
    let user = User::new();
    for (file, proxy, option, count) in [
        ("auto", None, None, 3),
        ("on", None, Some("--resume"), 40),
        ("off", None, Some("--no-resume"), 3),
        ("auto", Some("http://127.0.0.1:9"), Some("--resume"), 40),
    ] {
        user.home.write(CONFIG, format!("{{\"resume\":\"{file}\"}}"));
        let run = user.kohakuriver(&["--proxy", "10.0.0.1:8002", "vps", "connect", ID, "--dry-run"]);
        // The Host itself is at a loopback address, which needs no proxy.
        let run = proxy.into_iter().fold(run, |run, proxy| run.env("http_proxy", proxy));
        let words = run.output().succeeds().text();
        let option = option.map(|option| format!(" {option}")).unwrap_or_default();
        assert!(words.contains(&format!("--cluster default{option} %h %p'")), "{words}");
        assert!(words.contains(&format!(" ServerAliveInterval=30 -o ServerAliveCountMax={count} ")), "{words}");
    }
}
