//! The user's machine: settings, programs, shell, ssh_config, ~/.ssh.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;

use super::{doctor, finding, findings, finds, is_solved_by_its_command};
use crate::support::cluster::Cluster;
use crate::support::home::{Home, set_mode};
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER, tool};

#[test]
fn a_broken_config_file() {
    let cluster = Cluster::new();
    let path = cluster.home.write(".config/kohakuriver/config.json", "{ broken");
    let outcome = doctor(&cluster).output();
    finds(&outcome, "settings", &["cannot use the configuration file ~/.config", "not valid JSON"], "mv ~/.config");
    is_solved_by_its_command(&cluster, &outcome);
    assert!(!path.exists());
    // The text report has the same command.
    cluster.home.write(".config/kohakuriver/config.json", "{ broken");
    let text = cluster.run(CLI).args(["doctor", ID]).output().text();
    assert!(text.contains("\n          mv ~/.config/kohakuriver/config.json ~/.config"), "{text}");
}

#[test]
fn an_unknown_setting() {
    let cluster = Cluster::new();
    cluster.home.write(".config/kohakuriver/config.json", r#"{"hots":"gpu-head"}"#);
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    let settings = finding(&outcome, "settings");
    assert_eq!(settings["verdict"], "note", "{outcome}");
    let found = settings["found"].as_str().unwrap();
    assert!(found.ends_with("; config.json: unknown setting `hots`; did you mean `host`?"), "{found}");
}

#[test]
fn a_variable_that_is_no_port() {
    let outcome = doctor(&Cluster::new()).env("KOHAKURIVER_PORT", "x").output();
    finds(&outcome, "settings", &["KOHAKURIVER_PORT is `x`"], "unset KOHAKURIVER_PORT");
}

/// With a wrong flag, the file is not to blame.
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
    let last = findings(&report).last().unwrap();
    assert_eq!((&last["check"], &last["found"]), (&"ssh".into(), &"there is no `ssh` on PATH".into()), "{outcome}");
    assert_eq!(last["command"], "sudo apt install openssh-client");
}

#[test]
fn the_helper_is_nowhere() {
    let cluster = Cluster::new();
    let alone = cluster.home.copy(CLI.as_ref(), "alone/kohakuriver");
    let path = format!("{}:/usr/bin:/bin", cluster.home.join("bin").display());
    let run = cluster.run(alone).args(["doctor", ID, "--json"]).env("PATH", path);
    finds(&run.output(), "helper", &["there is no `kohakuriver-proxy`", "on PATH"], "kohakuriver-proxy --version");
}

#[test]
fn the_helper_does_not_run() {
    let cluster = Cluster::new();
    let cli = cluster.home.copy(CLI.as_ref(), "both/kohakuriver");
    cluster.home.script("both/kohakuriver-proxy", "#!/bin/sh\necho no such library >&2; exit 127\n");
    let run = cluster.run(cli).args(["doctor", ID, "--json"]);
    finds(
        &run.output(),
        "helper",
        &["cannot run ~/both/kohakuriver-proxy", "no such library"],
        "kohakuriver-proxy --version",
    );
}

#[test]
fn an_older_ssh_takes_no_passed_socket() {
    let cluster = Cluster::new();
    let refuses = "case \" $* \" in *ProxyUseFdpass*) exit 255;; esac";
    for (first, text) in [("", ", supports ProxyUseFdpass"), (refuses, ", so the helper copies the bytes")] {
        cluster.home.ssh(first, "-F none");
        let found = finding(&cluster.run(CLI).args(["doctor", "--json"]).output(), "ssh");
        assert!(found["verdict"] == "ok" && found["found"].as_str().unwrap().ends_with(text), "{found}");
    }
}

#[test]
fn a_helper_of_another_version_is_a_note() {
    let cluster = Cluster::new();
    let cli = cluster.home.copy(CLI.as_ref(), "both/kohakuriver");
    cluster.home.script("both/kohakuriver-proxy", "#!/bin/sh\necho kohakuriver-proxy 0.0.1\n");
    let outcome = cluster.run(cli).args(["doctor", "--json"]).output();
    let helper = finding(&outcome, "helper");
    assert_eq!(helper["verdict"], "note", "{outcome}");
    let found = concat!(
        "kohakuriver-proxy 0.0.1 at ~/both/kohakuriver-proxy; this kohakuriver comes with kohakuriver-proxy ",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(helper["found"], found, "{outcome}");
}

/// An entry that passes a socket.
pub(super) const PASSES_SOCKETS: &str =
    "Host *.kohakuriver\n  ProxyCommand kohakuriver-proxy --fdpass %h %p\n  ProxyUseFdpass yes\n";

/// Tests the findings about this shell: with an entry that passes a socket, and with `vps connect` alone.
#[track_caller]
fn shell_finds(shell: impl AsRef<OsStr>, texts: &[&str], command: &str) {
    let outcome = doctor(&with_config(PASSES_SOCKETS)).env("SHELL", shell.as_ref()).output();
    finds(&outcome, "shell", texts, command);
    let outcome = doctor(&Cluster::new()).env("SHELL", shell.as_ref()).output();
    outcome.succeeds();
    let note = finding(&outcome, "shell");
    assert_eq!(note["verdict"], "note", "{outcome}");
    let found = note["found"].as_str().unwrap();
    assert!(texts.iter().all(|text| found.contains(text)) && found.ends_with("; it does no harm to your logins"));
}

#[test]
fn a_shell_that_does_not_exist() {
    shell_finds("/no/such/shell", &["/no/such/shell", "No such file"], "export SHELL=/bin/sh");
}

/// ssh takes it for a program when it starts the helper with a socket.
#[test]
fn a_shell_that_is_empty() {
    shell_finds("", &["SHELL is set, but empty"], "kohakuriver ssh config --write");
}

#[test]
fn a_shell_without_a_folder() {
    shell_finds("sh", &["SHELL is `sh`, a name without a folder", "on PATH"], "export SHELL=/bin/sh");
}

#[test]
fn a_shell_that_reads_from_the_ssh_stream() {
    let home = Home::new();
    let shell = home.script("curious", "#!/bin/sh\nread -r line\nexec /bin/sh \"$@\"\n");
    shell_finds(shell, &["reads from the SSH stream before it runs the helper"], "export SHELL=/bin/sh");
}

#[test]
fn a_shell_that_prints_into_the_ssh_stream() {
    let home = Home::new();
    let shell = home.script("loud", "#!/bin/sh\necho welcome back\nexec /bin/sh \"$@\"\n");
    shell_finds(shell, &["prints `welcome back` into the SSH stream"], "kohakuriver ssh config --write");
}

/// In a terminal it reads no start-up file, and from an IDE it does.
#[test]
fn a_shell_that_prints_only_for_an_ide() {
    let cluster = with_config(PASSES_SOCKETS);
    cluster.home.write(".bashrc", "echo welcome back\n");
    let outcome = doctor(&cluster).env("SHELL", tool("bash")).env("SHLVL", "2").output();
    finds(&outcome, "shell", &["prints `welcome back`", "~/.bashrc"], "kohakuriver ssh config --write");
    let piping = with_config(&PASSES_SOCKETS.replace("--fdpass ", "").replace("yes", "no"));
    piping.home.write(".bashrc", "exec zsh\n");
    let outcome = doctor(&piping).env("SHELL", tool("bash")).output();
    let note = finding(&outcome, "shell");
    assert_eq!(note["verdict"], "note", "{outcome}");
}

#[test]
fn a_shell_that_runs_no_commands() {
    let home = Home::new();
    let shell = home.script("locked", "#!/bin/sh\necho this account is not available >&2\nexit 3\n");
    let texts = ["does not run the helper", "exit status: 3: this account is not available"];
    shell_finds(shell, &texts, "export SHELL=/bin/sh");
}

/// The cluster's ssh, with an ssh_config of the user's.
pub(crate) fn with_config(text: &str) -> Cluster {
    let cluster = Cluster::new();
    let config = cluster.home.write(".ssh/config", text);
    cluster.home.ssh("", &format!("-F {} -o BatchMode=yes", config.display()));
    cluster
}

/// The verdict and the text of the check `ssh-config`.
#[track_caller]
fn ssh_config(outcome: &Outcome) -> (String, String) {
    let found = finding(outcome, "ssh-config");
    (found["verdict"].as_str().unwrap().to_owned(), found["found"].as_str().unwrap().to_owned())
}

/// Writes our entries, then puts `line` above them.
fn shadowed_by(line: &str) -> (Cluster, Outcome) {
    let cluster = with_config("Host other\n  User u\n");
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    assert_eq!(ssh_config(&outcome).0, "note", "without our entries: {outcome}");
    cluster.run(CLI).args(["ssh", "config", "--write"]).output().succeeds();
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    assert_eq!(ssh_config(&outcome), ("ok".into(), "`ssh` connects to *.kohakuriver with the helper".into()));
    let path = cluster.home.join(".ssh/config");
    let config = fs::read_to_string(&path).unwrap();
    cluster.home.write(".ssh/config", format!("Host *\n  {line}\n{config}"));
    let outcome = doctor(&cluster).output();
    (cluster, outcome)
}

#[test]
fn an_earlier_proxy_command_hides_ours() {
    let (cluster, outcome) = shadowed_by("ProxyCommand nc -X connect -x office:3128 %h %p");
    let texts = ["ProxyCommand nc -X connect -x office:3128", "an earlier line of your ssh_config"];
    finds(&outcome, "ssh-config", &texts, "kohakuriver ssh config --write");
    is_solved_by_its_command(&cluster, &outcome);
}

/// Without our entries nothing is hidden, and `vps connect` works.
#[test]
fn a_proxy_command_without_our_entries_is_a_note() {
    let outcome = doctor(&with_config("Host *\n  ProxyCommand nc -X connect -x office:3128 %h %p\n")).output();
    outcome.succeeds();
    let (verdict, found) = ssh_config(&outcome);
    assert!(verdict == "note" && found.contains("nc -X connect"), "{found}");
}

#[test]
fn an_earlier_jump_host_hides_ours() {
    let (cluster, outcome) = shadowed_by("ProxyJump office");
    finds(&outcome, "ssh-config", &["ProxyJump office"], "kohakuriver ssh config --write");
    is_solved_by_its_command(&cluster, &outcome);
}

#[test]
fn the_ssh_folder_is_a_file_or_a_dangling_link() {
    let cluster = Cluster::new();
    fs::remove_dir_all(cluster.home.join(".ssh")).unwrap();
    cluster.home.write(".ssh", "a file");
    let outcome = doctor(&cluster).output();
    finds(&outcome, "ssh-folder", &["cannot store host keys", "it is a file"], "mv ~/.ssh ~/.ssh.old");
    fs::remove_file(cluster.home.join(".ssh")).unwrap();
    symlink(cluster.home.join("nowhere"), cluster.home.join(".ssh")).unwrap();
    let outcome = doctor(&cluster).output();
    finds(&outcome, "ssh-folder", &["cannot store host keys", "a symbolic link to nothing"], "mkdir -m 700");
    let command = findings(&super::report(&outcome)).last().unwrap()["command"].clone();
    cluster.run("/bin/sh").args(["-c", command.as_str().unwrap()]).output().succeeds();
    cluster.sshd.copy_key_to(&cluster.home.join(&format!(".ssh/id-kohakuriver-{ID}")));
    doctor(&cluster).output().succeeds();
}

/// ssh_config has no way to write such a path.
#[test]
fn a_home_that_ssh_config_can_not_name() {
    let cluster = Cluster::in_home(Home::named("a${b}"));
    finds(
        &doctor(&cluster).output(),
        "host-key",
        &["cannot pass the path ~/.ssh", "environment variable"],
        "ls -l ~/.ssh",
    );
}

/// Root can write to every directory, so root runs doctor as another user.
#[test]
fn the_ssh_folder_is_not_writable() {
    let cluster = Cluster::new();
    let outcome = without_access_to(&cluster, ".ssh", 0o500);
    finds(&outcome, "ssh-folder", &["cannot store host keys in ~/.ssh", "you may not read and write it"], "chmod 700");
}

#[test]
fn the_host_keys_can_not_be_written() {
    let cluster = Cluster::new();
    set_mode(&cluster.home.join(".ssh"), 0o777);
    cluster.home.write(".ssh/.kohakuriver_known_hosts", "");
    let outcome = without_access_to(&cluster, ".ssh/.kohakuriver_known_hosts", 0o400);
    let texts = ["cannot store host keys in ~/.ssh/.kohakuriver_known_hosts", "you may not write it"];
    finds(&outcome, "ssh-folder", &texts, "chmod 600 ~/.ssh/.kohakuriver_known_hosts");
}

/// Runs doctor as a user who may read `path` in the home but not write it: with the mode `own` on it, or as another
/// user in place of root.
fn without_access_to(cluster: &Cluster, path: &str, own: u32) -> Outcome {
    let path = cluster.home.join(path);
    // That user may have no access to the build directory.
    let cli = cluster.home.copy(CLI.as_ref(), "both/kohakuriver");
    cluster.home.copy(HELPER.as_ref(), "both/kohakuriver-proxy");
    let arguments = ["doctor", ID, "--json"];
    let run: Run = if rustix::process::geteuid().is_root() {
        set_mode(cluster.home.path(), 0o755);
        set_mode(&path, 0o755);
        let run = cluster.run(tool("setpriv")).args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        run.arg(cli).args(arguments)
    } else {
        set_mode(&path, own);
        cluster.run(cli).args(arguments)
    };
    // Host keys can't be kept elsewhere.
    let outcome = run.env("XDG_STATE_HOME", "/dev/null/state").output();
    set_mode(&path, 0o700);
    outcome
}

#[test]
fn the_host_keys_can_not_be_read() {
    let cluster = Cluster::new();
    fs::create_dir(cluster.home.join(".ssh/.kohakuriver_known_hosts")).unwrap();
    let outcome = doctor(&cluster).output();
    finds(&outcome, "ssh-folder", &["cannot read the host keys of VPSes"], "mv ~/.ssh/.kohakuriver_known_hosts");
}

#[test]
fn another_kohakuriver_on_path() {
    let cluster = Cluster::new();
    cluster.home.script("bin/kohakuriver", "#!/bin/sh\necho the other one\n");
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    let first = finding(&outcome, "kohakuriver");
    assert_eq!(first["verdict"], "note", "{outcome}");
    assert_eq!(first["found"], "the first one is ~/bin/kohakuriver, not this program");

    let this = cluster.home.copy(CLI.as_ref(), "both/kohakuriver");
    cluster.home.copy(HELPER.as_ref(), "both/kohakuriver-proxy");
    let path = format!("{}:{}", cluster.home.join("both").display(), cluster.home.join("bin").display());
    let outcome = cluster.run(this).args(["doctor", "--json"]).first_on_path(path.as_ref()).output();
    let second = finding(&outcome, "kohakuriver");
    assert_eq!(second["verdict"], "ok", "{outcome}");
    let text = "~/both/kohakuriver, this program; it passes unknown commands on to ~/bin/kohakuriver";
    assert_eq!(second["found"], text);
}
