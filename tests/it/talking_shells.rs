//! Shells whose start-up files print, or become another shell, and shells that run no command. ssh starts the helper with
//! the user's shell. The tests have no SHLVL, like an IDE that was started from the desktop.

use std::fs;

use crate::ssh_config::User;
use crate::support::cluster::Cluster;
use crate::support::gateway::name_of;
use crate::support::home::Home;
use crate::support::run::Outcome;
use crate::support::scene::ID;
use crate::support::tools::{CLI, tool, user};

/// Each with a start-up file, what that holds, and what `--write` says of it.
const TALKING: [(&str, &str, &str, &str); 8] = [
    ("bash", ".bashrc", "echo welcome back\n", "prints `welcome back` into the SSH stream (the text comes"),
    ("bash", ".bashrc", "echo a; exec zsh\n", "starts another shell, which does not run the helper (the cause is"),
    ("bash", ".bashrc", "exec sh\n", "starts another shell, which does not run the helper (the cause is"),
    ("bash", ".bashrc", "exec fish\n", "does not run the helper (exit status: "),
    ("bash", ".bashrc", "read -r line\n", "reads from the SSH stream before it runs the helper (the cause is"),
    ("zsh", ".zshenv", "echo welcome back\n", "most likely from ~/.zshenv)"),
    ("tcsh", ".tcshrc", "echo welcome back\n", "most likely from ~/.tcshrc)"),
    ("fish", ".config/fish/config.fish", "echo welcome back\n", "most likely from ~/.config/fish/config.fish)"),
];

/// `ssh config` with this shell.
fn configure(user: &User, shell: &str, flag: &str) -> Outcome {
    let outcome = user.kohakuriver(&["ssh", "config", flag]).env("SHELL", tool(shell)).output();
    user.name_user();
    outcome
}

fn log_in(user: &User, shell: &str) -> Outcome {
    user.ssh(&format!("{}.kohakuriver", name_of(ID))).arg("echo in; exit 3").env("SHELL", tool(shell)).output()
}

fn entries(user: &User) -> String {
    fs::read_to_string(user.home.join(".ssh/kohakuriver.conf")).unwrap()
}

#[test]
fn entries_work_with_every_talking_shell() {
    for (shell, file, text, remark) in TALKING {
        let user = User::written();
        user.home.write(file, text);
        let written = configure(&user, shell, "--write");
        let name = format!("your shell, {}, ", tool(shell).display());
        written.succeeds().says(&[&name, remark, "), so the entries do without ProxyUseFdpass\n"]);
        assert!(!entries(&user).contains("fdpass ") && entries(&user).contains("ProxyUseFdpass no\n"));
        log_in(&user, shell).exits(3).prints("in\n");
    }
}

/// Else the test above shows nothing.
#[test]
fn a_socket_does_not_work_with_a_talking_shell_and_the_helper_says_where_to_look() {
    let user = User::written();
    for (shell, file, text, _) in TALKING.iter().filter(|(_, _, text, _)| text.ends_with("back\n")) {
        user.home.write(file, text);
        let outcome = log_in(&user, shell);
        outcome.exits(255).says(&["mm_receive_fd: no message header"]);
        fs::remove_file(user.home.join(file)).unwrap();
    }
    log_in(&user, "bash").exits(3).prints("in\n");
}

#[test]
fn a_quiet_shell_gets_the_socket_and_sync_asks_again() {
    for (shell, file) in [("bash", ".bashrc"), ("zsh", ".zshenv"), ("fish", ".config/fish/config.fish")] {
        let user = User::written();
        user.home.write(file, "echo welcome back\n");
        configure(&user, shell, "--write").succeeds();
        assert!(entries(&user).contains("ProxyUseFdpass no\n"), "{shell}");
        user.home.write(file, "true\n");
        configure(&user, shell, "--sync").succeeds().says_nothing();
        assert!(entries(&user).contains("ProxyUseFdpass yes\n"), "{shell}");
        user.home.write(file, "echo again\n");
        configure(&user, shell, "--sync").succeeds().says_nothing();
        assert!(entries(&user).contains("ProxyUseFdpass no\n"), "{shell}");
    }
}

/// ssh skips the lines before the server's first one; a beginning of a line would change that one.
#[test]
fn a_beginning_of_a_line_stops_ssh_in_any_way() {
    let user = User::written();
    user.home.write(".zshenv", "printf hi\n");
    let written = configure(&user, "zsh", "--write");
    let warning = "prints `hi` into the SSH stream (the text comes most likely from ~/.zshenv); ssh needs another one: \
                   `export SHELL=/bin/sh`\n";
    written.succeeds().says(&[warning]);
}

/// It would take the first line of ssh, with a socket and with pipes.
#[test]
fn a_start_up_file_that_always_reads_stops_ssh_in_any_way() {
    let user = User::written();
    user.home.write(".zshenv", "read -r line\n");
    let warning = " reads from the SSH stream before it runs the helper (the cause is most likely a `read` in ~/.zshenv); \
                   ssh needs another one: `export SHELL=/bin/sh`\n";
    configure(&user, "zsh", "--write").succeeds().says(&[warning]);
}

#[test]
fn a_shell_that_ssh_can_not_start_is_named() {
    let user = User::written();
    let plain = user.home.write("no-program", "").display().to_string();
    let denied = format!("your shell, {plain}, does not run the helper (Permission denied");
    for (shell, warning) in
        [("bash", "SHELL is `bash`, a name without a folder (ssh does not look for it on PATH)"), (&*plain, &*denied)]
    {
        let written = user.kohakuriver(&["ssh", "config", "--write"]).env("SHELL", shell).output();
        written.succeeds().says(&[&format!("warning: {warning}"), "; ssh needs another one: `export SHELL=/bin/sh`\n"]);
        let host = format!("{}.kohakuriver", name_of(ID));
        user.ssh(&host).arg("true").env("SHELL", shell).output().exits(255);
        user.name_user();
        user.ssh(&host).arg("true").env("SHELL", "/bin/sh").output().succeeds();
    }
}

/// The values that SHELL may have.
fn odd_shells(home: &Home) -> Vec<String> {
    let text = |path: std::path::PathBuf| path.display().to_string();
    let locked = home.script("locked", "#!/bin/sh\necho this account is not available\nexit 1\n");
    home.write(".zshenv", "echo welcome back\n");
    home.write(".bashrc", "exec zsh\n");
    home.write(".config/fish/config.fish", "echo welcome back\n");
    let mut shells = ["bash", "zsh", "fish", "false"].map(|name| text(tool(name))).to_vec();
    let no_program = home.write("no-program", "");
    shells.extend([text(locked), text(no_program), "/no/such/shell".into(), "bash".into(), String::new()]);
    shells
}

#[test]
fn vps_connect_works_with_any_shell() {
    let cluster = Cluster::new();
    for shell in odd_shells(&cluster.home) {
        let connect = || cluster.connect().env("SHELL", &shell);
        connect().args(["--", "echo in; exit 3"]).output().exits(3).prints("in\n").says_nothing();
        connect().args(["--diagnose", "--", "echo in; exit 3"]).output().exits(3).prints("in\n").says_nothing();
        let shown = connect().arg("--dry-run").output();
        shown.succeeds().check(shown.text().starts_with("env SHELL=/bin/sh /"), "a command that works");
        let copied = cluster.home.join("copied");
        let from = cluster.home.write("from", "text");
        let there = format!("{}@{ID}:{}", user(), copied.display());
        cluster.run(CLI).env("SHELL", &shell).args(["vps", "cp"]).arg(from).arg(there).output().succeeds();
        assert_eq!(fs::read_to_string(&copied).unwrap(), "text");
        fs::remove_file(&copied).unwrap();
    }
}

/// Without SHELL, ssh uses /bin/sh itself.
#[test]
fn a_dry_run_names_the_shell_only_where_another_is_set() {
    let cluster = Cluster::new();
    let shown = cluster.connect().arg("--dry-run").output();
    shown.succeeds().check(shown.text().starts_with('/'), "ssh itself");
}
