//! The user's own machine: settings, programs, shell, ssh_config, ~/.ssh.

use std::fs;
use std::os::unix::fs::symlink;

use super::{doctor, finds, is_mended_by_its_command};
use crate::support::cluster::Cluster;
use crate::support::home::{Home, set_mode};
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER, tool, user};

#[test]
fn a_broken_config_file() {
    let cluster = Cluster::new();
    let path = cluster.home.write(".config/kohakuriver/config.json", "{ broken");
    let outcome = doctor(&cluster).output();
    finds(&outcome, "settings", &["cannot use the configuration file ~/.config", "not valid JSON"], "mv ~/.config");
    is_mended_by_its_command(&cluster, &outcome);
    assert!(!path.exists());
    // The text for people has the same command.
    cluster.home.write(".config/kohakuriver/config.json", "{ broken");
    let text = cluster.run(CLI).args(["doctor", ID]).output().text();
    assert!(text.contains("\n          mv ~/.config/kohakuriver/config.json ~/.config"), "{text}");
}

#[test]
fn an_unknown_setting() {
    let cluster = Cluster::new();
    cluster.home.write(".config/kohakuriver/config.json", r#"{"hots":"gpu-head"}"#);
    let outcome = doctor(&cluster).output();
    finds(&outcome, "settings", &["`hots` is no setting", "`host`"], "mv ");
    is_mended_by_its_command(&cluster, &outcome);
}

#[test]
fn a_variable_that_is_no_port() {
    let outcome = doctor(&Cluster::new()).env("KOHAKURIVER_PORT", "x").output();
    finds(&outcome, "settings", &["KOHAKURIVER_PORT is `x`"], "unset KOHAKURIVER_PORT");
}

/// The file is not to blame, even if there is one.
#[test]
fn a_flag_that_is_no_host() {
    let cluster = Cluster::new();
    cluster.home.write(".config/kohakuriver/config.json", "{}");
    let outcome = cluster.run(CLI).args(["--host", "a b", "doctor", ID, "--json"]).output();
    finds(&outcome, "settings", &["the Host is `a b`", "set by: flag"], &format!("kohakuriver doctor {ID}"));
}

#[test]
fn no_ssh() {
    let cluster = Cluster::new();
    let empty = cluster.home.join("empty");
    fs::create_dir(&empty).unwrap();
    let run = doctor(&cluster).env("PATH", &empty);
    let outcome = run.output();
    outcome.exits(1);
    let report = super::report(&outcome);
    let last = report["findings"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["check"], &last["found"]), (&"ssh".into(), &"there is no `ssh` on PATH".into()), "{outcome}");
    assert_eq!(last["command"], "sudo apt install openssh-client");
}

#[test]
fn the_helper_is_nowhere() {
    let cluster = Cluster::new();
    let alone = cluster.home.copy(CLI.as_ref(), "alone/kohakuriver");
    let path = format!("{}:/usr/bin:/bin", cluster.home.join("bin").display());
    let run = cluster.run(alone).args(["doctor", ID, "--json"]).env("PATH", path);
    finds(&run.output(), "helper", &["there is no `kohakuriver-proxy`", "on PATH"], "cargo install");
}

#[test]
fn the_helper_does_not_run() {
    let cluster = Cluster::new();
    let cli = cluster.home.copy(CLI.as_ref(), "both/kohakuriver");
    cluster.home.script("both/kohakuriver-proxy", "#!/bin/sh\necho no such library >&2; exit 127\n");
    let run = cluster.run(cli).args(["doctor", ID, "--json"]);
    finds(&run.output(), "helper", &["cannot run ~/both/kohakuriver-proxy", "no such library"], "cargo install");
}

#[test]
fn a_shell_that_does_not_exist() {
    let outcome = doctor(&Cluster::new()).env("SHELL", "/no/such/shell").output();
    finds(&outcome, "shell", &["/no/such/shell", "No such file"], "export SHELL=");
}

#[test]
fn a_shell_that_prints_into_the_stream() {
    let cluster = Cluster::new();
    let shell = cluster.home.script("loud", "#!/bin/sh\necho welcome back\nexec /bin/sh \"$@\"\n");
    let outcome = doctor(&cluster).env("SHELL", shell).output();
    finds(&outcome, "shell", &["prints into the SSH stream", "welcome back"], "export SHELL=");
}

/// The cluster's ssh, with an ssh_config of the user's.
fn with_config(text: &str) -> Cluster {
    let cluster = Cluster::new();
    let config = cluster.home.write(".ssh/config", text);
    let script = format!("#!/bin/sh\nexec {} -F {} -o BatchMode=yes \"$@\"\n", tool("ssh").display(), config.display());
    cluster.home.script("bin/ssh", &script);
    cluster
}

/// What doctor says of ssh's way to VPSes.
#[track_caller]
fn ssh_config(outcome: &Outcome) -> (String, String) {
    let report = super::report(outcome);
    let found = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "ssh-config").unwrap();
    (found["verdict"].as_str().unwrap().to_owned(), found["found"].as_str().unwrap().to_owned())
}

#[test]
fn an_ssh_config_that_ssh_refuses() {
    let cluster = with_config("Host *\n  NoSuchOption yes\n");
    finds(&doctor(&cluster).output(), "ssh-config", &["refuses your own ssh_config", "nosuchoption"], "ssh -G");
}

/// Writes our entries as a user does, who then puts `line` above them.
fn shadowed_by(line: &str) -> (Cluster, Outcome) {
    let cluster = with_config("Host other\n  User u\n");
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    assert_eq!(ssh_config(&outcome).0, "note", "nothing of ours is there: {outcome}");
    cluster.run(CLI).args(["ssh", "config", "--write"]).output().succeeds();
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    assert_eq!(ssh_config(&outcome), ("ok".into(), "`ssh` reaches VPSes as *.kohakuriver through the helper".into()));
    let path = cluster.home.join(".ssh/config");
    let config = fs::read_to_string(&path).unwrap();
    cluster.home.write(".ssh/config", format!("Host *\n  {line}\n{config}"));
    let outcome = doctor(&cluster).output();
    (cluster, outcome)
}

#[test]
fn a_proxy_command_of_the_users_own_shadows_ours() {
    let (cluster, outcome) = shadowed_by("ProxyCommand nc -X connect -x office:3128 %h %p");
    let texts = ["ProxyCommand nc -X connect -x office:3128", "an earlier line of your ssh_config"];
    finds(&outcome, "ssh-config", &texts, "kohakuriver ssh config --write");
    is_mended_by_its_command(&cluster, &outcome);
}

/// Without entries of ours there is nothing to be shadowed, and `vps connect` works.
#[test]
fn a_proxy_command_of_the_users_own_and_none_of_ours() {
    let outcome = doctor(&with_config("Host *\n  ProxyCommand nc -X connect -x office:3128 %h %p\n")).output();
    outcome.succeeds();
    let (verdict, found) = ssh_config(&outcome);
    assert!(verdict == "note" && found.contains("nc -X connect"), "{found}");
}

#[test]
fn a_jump_host_of_the_users_own_shadows_ours() {
    let (cluster, outcome) = shadowed_by("ProxyJump office");
    finds(&outcome, "ssh-config", &["ProxyJump office"], "kohakuriver ssh config --write");
    is_mended_by_its_command(&cluster, &outcome);
}

#[test]
fn the_ssh_folder_is_none() {
    let cluster = Cluster::new();
    fs::remove_dir_all(cluster.home.join(".ssh")).unwrap();
    cluster.home.write(".ssh", "a file");
    let outcome = doctor(&cluster).output();
    finds(&outcome, "ssh-folder", &["cannot keep host keys", "it is a file"], "mv ~/.ssh ~/.ssh.old");
    fs::remove_file(cluster.home.join(".ssh")).unwrap();
    symlink(cluster.home.join("nowhere"), cluster.home.join(".ssh")).unwrap();
    let outcome = doctor(&cluster).output();
    finds(&outcome, "ssh-folder", &["cannot keep host keys", "a link to nothing"], "mkdir -m 700");
    let command = super::report(&outcome)["findings"].as_array().unwrap().last().unwrap()["command"].clone();
    cluster.run("/bin/sh").args(["-c", command.as_str().unwrap()]).output().succeeds();
    cluster.sshd.copy_key_to(&cluster.home.join(&format!(".ssh/id-kohakuriver-{ID}")));
    doctor(&cluster).output().succeeds();
}

/// ssh has no way to write such a path down.
#[test]
fn a_home_that_ssh_can_not_be_told() {
    let cluster = Cluster::in_home(Home::named("a${b}"));
    finds(
        &doctor(&cluster).output(),
        "host-key",
        &["cannot pass the path ~/.ssh", "environment variable"],
        "ls -l ~/.ssh",
    );
}

/// To root every folder is writable, so this user is nobody then.
#[test]
fn the_ssh_folder_is_not_writable() {
    let cluster = Cluster::new();
    let folder = cluster.home.join(".ssh");
    // Nobody may be kept from where the programs were built.
    let cli = cluster.home.copy(CLI.as_ref(), "both/kohakuriver");
    cluster.home.copy(HELPER.as_ref(), "both/kohakuriver-proxy");
    let arguments = ["doctor", ID, "--json"];
    let run: Run = if rustix::process::geteuid().is_root() {
        set_mode(cluster.home.path(), 0o755);
        set_mode(&folder, 0o755);
        let run = cluster.run(tool("setpriv")).args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        run.arg(cli).args(arguments)
    } else {
        set_mode(&folder, 0o500);
        cluster.run(cli).args(arguments)
    };
    let outcome = run.output();
    set_mode(&folder, 0o700);
    finds(&outcome, "ssh-folder", &["cannot keep host keys in ~/.ssh", "not writable for you"], "chmod 700");
}

#[test]
fn another_kohakuriver_comes_first() {
    let cluster = Cluster::new();
    cluster.home.script("bin/kohakuriver", "#!/bin/sh\necho the other one\n");
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    let report = super::report(&outcome);
    let finding = report["findings"].as_array().unwrap().iter().find(|f| f["check"] == "kohakuriver").unwrap();
    assert_eq!(finding["verdict"], "note", "{outcome}");
    assert_eq!(finding["found"], "the first is ~/bin/kohakuriver, not this one", "as {}", user());
}
