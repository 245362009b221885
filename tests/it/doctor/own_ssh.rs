//! The user's own ssh_config: a line in it breaks `ssh NAME.kohakuriver`, and doctor names that line.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::{doctor, finding, findings, finds, is_solved_by_its_command, names, report, with_config, with_verdict};
use crate::support::cluster::Cluster;
use crate::support::gateway::{Gateway, inventory, name_of};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::run::Outcome;
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER, sh_quote, tool, user};

/// A user with our entries, and these lines of their own behind them.
fn with_entries(lines: &str) -> Cluster {
    let cluster = with_config("");
    cluster.run(CLI).args(["ssh", "config", "--write"]).output().succeeds();
    let config = cluster.home.join(".ssh/config");
    let ours = fs::read_to_string(&config).unwrap();
    assert_eq!(ours.lines().count(), 2, "{ours}");
    cluster.home.write(".ssh/config", ours + &lines.replace("HOME", &cluster.home.path().display().to_string()));
    cluster
}

/// The name of the VPS that the user types.
fn host() -> String {
    format!("{}.kohakuriver", name_of(ID))
}

/// Runs the command of the only problem, as a user who pastes it. It must log in.
#[track_caller]
fn logs_in_by_its_command(cluster: &Cluster, outcome: &Outcome) {
    let command = findings(&report(outcome)).last().unwrap()["command"].as_str().unwrap().to_owned();
    let command =
        command.strip_prefix("kohakuriver ").map_or(command.clone(), |rest| format!("{} {rest}", sh_quote(CLI)));
    // `cat` alone: a login shell may print more.
    cluster.run("/bin/sh").args(["-c", &format!("{command} cat")]).stdin("in\n").output().succeeds().prints("in\n");
}

/// doctor must name `line` of the file `~/.ssh/FILE` as the cause, and `said` as what ssh said. With `option` in the
/// command, that command must log in.
#[track_caller]
fn blames(cluster: &Cluster, check: &str, (file, line): (&str, &str), said: &str, option: &str) -> Outcome {
    let text = fs::read_to_string(cluster.home.join(".ssh").join(file)).unwrap();
    let number =
        1 + text.lines().position(|found| found.trim() == line).unwrap_or_else(|| panic!("no {line:?}: {text}"));
    let shown = line.replace(&cluster.home.path().display().to_string(), "~");
    let outcome = doctor(cluster).output();
    let place = format!("fails because of ~/.ssh/{file}:{number}: `{shown}`");
    finds(&outcome, check, &[&place, said, "without this line, the same login works"], option);
    logs_in_by_its_command(cluster, &outcome);
    outcome
}

/// Lines of ssh_config that break a login with a command.
struct Broken<'a> {
    lines: &'a str,
    /// The line that has to change.
    bad: &'a str,
    /// The line without which `bad` breaks nothing.
    partner: Option<&'a str>,
    said: &'a str,
    option: &'a str,
}

impl Broken<'_> {
    fn is_blamed(&self) {
        let cluster = with_entries(&format!("Host *\n  TCPKeepAlive yes\n{}\n  Compression no\n", self.lines));
        let home = cluster.home.path().display().to_string();
        let bad = self.bad.replace("HOME", &home);
        let command = format!("ssh -l {} {} -o {}", user(), host(), self.option);
        let outcome = blames(&cluster, "own-ssh", ("config", &bad), self.said, &command);
        let partner = self.partner.map(|partner| {
            let config = fs::read_to_string(cluster.home.join(".ssh/config")).unwrap();
            let number = 1 + config.lines().position(|line| line == partner).unwrap();
            format!("the line breaks a login only with ~/.ssh/config:{number}: `{partner}`")
        });
        let causes = finding(&outcome, "own-ssh")["causes"].to_string();
        assert_eq!(causes.contains("only with"), partner.is_some(), "{causes}");
        assert!(partner.is_none_or(|partner| causes.contains(&partner)), "{causes}");
    }
}

#[test]
fn a_forward_of_a_taken_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (local, dynamic) = (format!("LocalForward {address} localhost:1"), format!("DynamicForward {address}"));
    let free = "LocalForward HOME/free localhost:1";
    let remote = "RemoteForward HOME/none/socket localhost:1";
    let exit = "ExitOnForwardFailure yes";
    let (no_port, no_path) = ("Address already in use", "remote port forwarding failed for listen path");
    for (before, bad, after, said) in [
        (exit, &*local, "", no_port),
        ("", &local, exit, no_port),
        ("", &dynamic, exit, no_port),
        ("", remote, exit, no_path),
        // Of several lines, the one whose port is taken.
        (&format!("{exit}\n{free}"), &local, "", no_port),
        ("", &local, &format!("{free}\n{exit}"), no_port),
    ] {
        let lines = format!("{before}\n{bad}\n{after}");
        Broken { lines: &lines, bad, partner: Some(exit), said, option: "ClearAllForwardings=yes" }.is_blamed();
    }
}

#[test]
fn lines_that_break_only_the_users_own_login() {
    let long = format!("ControlPath HOME/{}", "x".repeat(120));
    // ssh makes the socket under a longer name first.
    let almost = format!("ControlPath /tmp/{}", "x".repeat(100));
    let (auto, none) = ("ControlMaster auto", "ControlPath HOME/none/%C");
    let no_path = "ControlPath=none";
    for (lines, bad, partner, said, option) in [
        (&*long, &*long, None, "ControlPath too long", no_path),
        (&format!("{auto}\n{almost}"), &almost, Some(auto), "too long for Unix domain socket", no_path),
        (&format!("{none}\n{auto}"), none, Some(auto), "cannot bind to path ~/none/", no_path),
        (&format!("{auto}\n{none}"), none, Some(auto), "cannot bind to path ~/none/", no_path),
    ] {
        Broken { lines, bad, partner, said, option }.is_blamed();
    }
}

/// ssh without a command still logs in, so the report doesn't say that nobody can.
#[test]
fn a_line_that_breaks_only_commands() {
    let bad = "RemoteCommand echo in";
    let said = "Cannot execute command-line and remote command";
    Broken { lines: bad, bad, partner: None, said, option: "RemoteCommand=none" }.is_blamed();
    let cluster = with_entries(&format!("Host *\n  {bad}\n"));
    cluster.run("/bin/sh").args(["-c", &format!("ssh -l {} {}", user(), host())]).output().succeeds().prints("in\n");
    let outcome = cluster.run(CLI).args(["doctor", ID, "--user", user()]).deadline(120).output();
    outcome.exits(1);
    for text in [
        "caused by: without a command, ssh logs in and runs that of the line; sftp, rsync, git, Ansible and IDEs send a command",
        "\nThis is why ssh runs no command on the VPS; without a command, it logs in.",
    ] {
        outcome.check(outcome.text().contains(text), text);
    }
}

/// A login with a command works, so the report must not say that all is well.
#[test]
fn a_line_that_breaks_only_a_login_without_a_command() {
    let cluster = with_entries("");
    let ours = fs::read_to_string(cluster.home.join(".ssh/config")).unwrap();
    // In front of our entries, which know this option as well.
    cluster.home.write(".ssh/config", format!("Host *.kohakuriver\n  StdinNull yes\n{ours}"));
    let plain = format!("ssh -l {} {}", user(), host());
    let shell = |line: &str| cluster.run("/bin/sh").args(["-c", line]).stdin("echo in; exit 7\n").output();
    shell(&plain).succeeds();
    let outcome = doctor(&cluster).output();
    let place = format!("`{plain}` ends at once because of ~/.ssh/config:2: `StdinNull yes`");
    finds(&outcome, "own-ssh", &[&place, "ssh reads no input"], &format!("{plain} -o StdinNull=no"));
    let works = shell(finding(&outcome, "own-ssh")["command"].as_str().unwrap());
    works.exits(7).check(works.text().ends_with("in\n"), "a shell that reads");
}

/// ssh does not end, and each login until the line is found takes its time.
#[test]
fn lines_with_which_ssh_does_not_end() {
    let _heavy = heavy();
    let cluster = with_entries("Host *\n  ControlPath HOME/stopped\n");
    let socket = cluster.home.join("stopped");
    // An ssh that shares its connection, and is stopped.
    let _listener = UnixListener::bind(&socket).unwrap();
    let line = format!("ControlPath {}", socket.display());
    blames(&cluster, "own-ssh", ("config", &line), "ssh did not end within", "ControlPath=none");
}

/// They also break `vps connect`, and the checks of the login come first.
#[test]
fn lines_that_break_every_login() {
    for (lines, check, bad, said, option) in [
        ("Ciphers aes128-cbc", "host-key", "Ciphers aes128-cbc", "no matching cipher", "Ciphers=+"),
        (
            "KexAlgorithms diffie-hellman-group1-sha1",
            "host-key",
            "KexAlgorithms diffie-hellman-group1-sha1",
            "no matching key exchange",
            "KexAlgorithms=+",
        ),
        ("MACs hmac-md5\nCiphers aes128-ctr", "host-key", "Ciphers aes128-ctr", "no matching MAC", "Ciphers=+"),
        (
            "PreferredAuthentications password",
            "login",
            "PreferredAuthentications password",
            "requires a key",
            "PreferredAuthentications=publickey",
        ),
        (
            "RevokedHostKeys HOME/none",
            "login",
            "RevokedHostKeys HOME/none",
            "without this line",
            "RevokedHostKeys=none",
        ),
    ] {
        let cluster = with_entries(&format!("Host *\n{lines}\n"));
        let bad = bad.replace("HOME", &cluster.home.path().display().to_string());
        blames(&cluster, check, ("config", &bad), said, option);
    }
}

/// Without entries, the user has `vps connect`, which reads ssh_config as well.
#[test]
fn a_line_that_breaks_connect() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let forward = format!("LocalForward {} localhost:1", taken.local_addr().unwrap());
    let cluster = with_config(&format!("Host *\n  ExitOnForwardFailure yes\n  {forward}\n"));
    let option = format!("kohakuriver vps connect {ID} --user {} -- -o ClearAllForwardings=yes", user());
    blames(&cluster, "own-ssh", ("config", &forward), "Could not request local forwarding", &option);
    // The same for a person whose ssh just failed.
    let run = cluster.run(CLI).args(["vps", "connect", ID, "--user", user(), "--diagnose", "--", "true"]);
    run.output().exits(255).says(&["Could not request", "fails because of ", &forward, "\n  fix: "]);
}

#[test]
fn the_line_may_be_in_an_included_file_or_a_match() {
    let cluster = with_entries("Include work/*.conf\nMatch host *.kohakuriver exec \"true\"\n  Compression yes\n");
    cluster.home.write(".ssh/work/a.conf", "Host never\n  RemoteCommand never\nHost *\n  RemoteCommand tmux\n");
    // ssh looks for a relative name in the home of the user database.
    let config = fs::read_to_string(cluster.home.join(".ssh/config")).unwrap();
    let folder = cluster.home.join(".ssh/work").display().to_string();
    cluster.home.write(".ssh/config", config.replace("work/*", &format!("{folder}/*")));
    blames(&cluster, "own-ssh", ("work/a.conf", "RemoteCommand tmux"), "Cannot execute", "RemoteCommand=none");

    let cluster = with_entries("Match exec \"false\"\n  RemoteCommand never\nMatch all\n  RemoteCommand tmux\n");
    blames(&cluster, "own-ssh", ("config", "RemoteCommand tmux"), "Cannot execute", "RemoteCommand=none");
}

/// The real user's files stay as they were.
#[test]
fn lines_that_break_nothing() {
    let lines = "\
Match exec \"false\"
  RemoteCommand never
Host *.example !vps*
  Port 2222
Host *
  ForwardAgent yes
  ForwardX11 yes
  StrictHostKeyChecking yes
  ControlMaster auto
  ControlPath HOME/c-%C
  ControlPersist 10m
  UserKnownHostsFile none
  GlobalKnownHostsFile none
  RequestTTY yes
  LogLevel QUIET
  UpdateHostKeys ask
  HashKnownHosts yes
  Compression yes
  SendEnv LANG
  PermitLocalCommand yes
  LocalCommand true
  LocalForward HOME/socket localhost:1
  IgnoreUnknown NoSuchOption
  NoSuchOption 1
";
    let cluster = with_entries(lines);
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    let own = finding(&outcome, "own-ssh");
    let tried = format!("`ssh -l {} {} true`, with your own ssh_config", user(), host());
    assert_eq!((&own["verdict"], own["tried"].as_str().unwrap()), (&"ok".into(), tried.as_str()), "{outcome}");
    assert_eq!(cluster.known_hosts(), "", "no key is stored");
    let is_socket = |path: &Path| fs::symlink_metadata(path).unwrap().file_type().is_socket();
    let left = fs::read_dir(cluster.home.path()).unwrap().any(|entry| is_socket(&entry.unwrap().path()));
    assert!(!left, "a shared connection was left");
}

/// Files that ssh doesn't take, whatever the host.
#[test]
fn lines_that_ssh_refuses() {
    for (lines, bad, said) in [
        ("NoSuchOption yes", "NoSuchOption yes", "Bad configuration option: nosuchoption"),
        ("Compression maybe", "Compression maybe", "unsupported option"),
        ("Port", "Port", "no argument after keyword"),
        ("User \"a", "User \"a", "invalid quotes"),
        ("Ciphers nosuch", "Ciphers nosuch", "Bad SSH2 cipher spec 'nosuch'"),
        ("Match nosuch x", "Match nosuch x", "Unsupported Match attribute nosuch; "),
        ("Match all host x", "Match all host x", "cannot be combined"),
        ("HostName %z", "HostName %z", "unknown key %z"),
        ("ForkAfterAuthentication yes", "ForkAfterAuthentication yes", "Cannot fork into background without a command"),
        (
            "CanonicalizeFallbackLocal no\nCanonicalizeHostname always",
            "CanonicalizeFallbackLocal no",
            "Could not resolve host",
        ),
    ] {
        // In the user's file, and in one that it includes.
        let config = format!("Host *\n  Compression no\n{lines}\n");
        for (file, cluster) in [("config", with_config(&config)), ("more", with_config("Include HOME/.ssh/more\n"))] {
            if file == "more" {
                in_home(&cluster, "config");
                cluster.home.write(".ssh/more", &config);
            }
            refuses(&cluster, (file, bad), said, "${EDITOR:-vi} +");
        }
    }
    // The line that keeps it from VPSes.
    let cluster = with_config("CanonicalizeHostname always\nCanonicalizeFallbackLocal no\n");
    let (outcome, number) = refuses(&cluster, ("config", "CanonicalizeFallbackLocal no"), "Could not resolve", "vi");
    assert_eq!(number, 2);
    let fix = finding(&outcome, "ssh-config")["fix"].as_str().unwrap().to_owned();
    let line = fix.split('`').nth(1).unwrap();
    cluster.home.write(".ssh/config", format!("CanonicalizeHostname always\n{line}\nCanonicalizeFallbackLocal no\n"));
    doctor(&cluster).output().succeeds();
}

/// doctor must name this line of `~/.ssh/FILE`, and what ssh said. Returns the line's number.
#[track_caller]
fn refuses(cluster: &Cluster, (file, bad): (&str, &str), said: &str, command: &str) -> (Outcome, usize) {
    let text = fs::read_to_string(cluster.home.join(".ssh").join(file)).unwrap();
    let number = 1 + text.lines().position(|line| line == bad).unwrap();
    let outcome = doctor(cluster).output();
    let shown = bad.replace(&cluster.home.path().display().to_string(), "~");
    let place = format!("~/.ssh/{file}:{number}: `{shown}`");
    finds(&outcome, "ssh-config", &["because of your own ssh_config", &place, "ssh said: ", said], command);
    (outcome, number)
}

/// Replaces HOME in a file of `~/.ssh`.
fn in_home(cluster: &Cluster, file: &str) {
    let path = format!(".ssh/{file}");
    let text = fs::read_to_string(cluster.home.join(&path)).unwrap();
    cluster.home.write(&path, text.replace("HOME", &cluster.home.path().display().to_string()));
}

#[test]
fn an_included_file_that_ssh_does_not_take() {
    let with = |more: &str| {
        let cluster = with_config("Compression yes\nInclude HOME/.ssh/more\n");
        in_home(&cluster, "config");
        cluster.home.write(".ssh/more", more);
        in_home(&cluster, "more");
        cluster
    };
    let include = |cluster: &Cluster, file: &str| format!("Include {}/.ssh/{file}", cluster.home.path().display());
    let cluster = with("TCPKeepAlive yes\n");
    let more = cluster.home.join(".ssh/more");
    fs::set_permissions(&more, fs::Permissions::from_mode(0o666)).unwrap();
    let bad = include(&cluster, "more");
    let (outcome, _) =
        refuses(&cluster, ("config", &bad), "Bad owner or permissions on ~/.ssh/more", "chmod go-w ~/.ssh/more");
    let command = finding(&outcome, "ssh-config")["command"].as_str().unwrap().to_owned();
    cluster.run("/bin/sh").args(["-c", &command]).output().succeeds();
    doctor(&cluster).output().succeeds();

    // They include each other.
    let cluster = with("# mine\nInclude HOME/.ssh/config\n");
    let outcome = doctor(&cluster).output();
    let texts = ["Too many recursive configuration includes", "~/.ssh/", ":2: `Include ~/.ssh/"];
    finds(&outcome, "ssh-config", &texts, "${EDITOR:-vi} +2 ~/.ssh/");

    // It can't be opened, which holds for root as well.
    let cluster = with("");
    let more = cluster.home.join(".ssh/more");
    fs::remove_file(&more).unwrap();
    std::os::unix::fs::symlink("more", &more).unwrap();
    let bad = include(&cluster, "more");
    refuses(
        &cluster,
        ("config", &bad),
        "Can't open user config file ~/.ssh/more: Too many levels",
        "chmod u+r ~/.ssh/more",
    );
}

#[test]
fn a_match_whose_command_does_not_end() {
    let cluster = with_config("Host other\n  User u\nMatch exec \"exec sleep 60\"\n  Port 1\n");
    let outcome = doctor(&cluster).output();
    let texts = ["does not finish reading", "`exec sleep 60`", "~/.ssh/config:3: `Match exec \"exec sleep 60\"`"];
    finds(&outcome, "ssh-config", &texts, "${EDITOR:-vi} +3 ~/.ssh/config");
    // The command opens the line in an editor.
    let command = findings(&report(&outcome)).last().unwrap()["command"].clone();
    let editor = cluster.home.script("editor", "#!/bin/sh\nexec sed -i \"${1#+}d\" \"$2\"\n");
    let run = cluster.run("/bin/sh").args(["-c", command.as_str().unwrap()]).env("EDITOR", editor);
    run.output().succeeds();
    assert_eq!(fs::read_to_string(cluster.home.join(".ssh/config")).unwrap(), "Host other\n  User u\n  Port 1\n");
    doctor(&cluster).output().succeeds();
}

#[test]
fn a_proxy_command_of_none_hides_our_entry() {
    let cluster = with_config("");
    cluster.run(CLI).args(["ssh", "config", "--write"]).output().succeeds();
    let ours = fs::read_to_string(cluster.home.join(".ssh/config")).unwrap();
    cluster.home.write(".ssh/config", format!("Host *\n  ProxyCommand none\n{ours}"));
    let outcome = doctor(&cluster).output();
    finds(&outcome, "ssh-config", &["~/.ssh/config:2: `ProxyCommand none`"], "kohakuriver ssh config --write");
    is_solved_by_its_command(&cluster, &outcome);
}

/// Our entries, with another text in them.
fn with_changed_entries(before: &str, after: &str) -> Cluster {
    let cluster = with_entries("");
    let mut changed = 0;
    for file in [".ssh/kohakuriver.conf", ".ssh/.kohakuriver-openssh-8.7.conf"] {
        let entries = fs::read_to_string(cluster.home.join(file)).unwrap();
        changed += entries.matches(before).count();
        cluster.home.write(file, entries.replace(before, after));
    }
    assert_ne!(changed, 0, "no {before}");
    cluster
}

#[track_caller]
fn wants_new_entries(cluster: &Cluster, texts: &[&str]) {
    let outcome = doctor(cluster).output();
    let what = format!("`ssh -l {} {} true` fails, although `kohakuriver vps connect {ID}` works", user(), host());
    finds(&outcome, "own-ssh", &[&[what.as_str()], texts].concat(), "kohakuriver ssh config --write");
    is_solved_by_its_command(cluster, &outcome);
}

#[test]
fn programs_that_an_upgrade_moved() {
    let before = Path::new(CLI).parent().unwrap().display().to_string();
    let moved = |program: &str| with_changed_entries(&format!("{before}/{program} "), &format!("/no/such/{program} "));
    let text = "the entry runs /no/such/kohakuriver-proxy, which does not exist";
    wants_new_entries(&moved("kohakuriver-proxy"), &[text, "ssh said: "]);
    let cluster = with_entries("");
    let text = fs::read_to_string(cluster.home.join(".ssh/kohakuriver.conf")).unwrap();
    let file = cluster.home.write("kohakuriver-proxy", "");
    cluster.home.write(".ssh/kohakuriver.conf", text.replace(HELPER, &file.display().to_string()));
    wants_new_entries(&cluster, &["the entry runs ~/kohakuriver-proxy, which is not executable"]);
    // Without the other one ssh stores host keys itself.
    let outcome = doctor(&moved("kohakuriver")).output();
    outcome.succeeds();
    let own = finding(&outcome, "own-ssh");
    let note = "; but the entry runs /no/such/kohakuriver, which does not exist";
    assert!(own["verdict"] == "note" && own["found"].as_str().unwrap().ends_with(note), "{own:#}");
}

#[test]
fn entries_for_another_host() {
    let other = Gateway::with_inventory(&inventory(&[]));
    let cluster = with_entries("");
    let entries = fs::read_to_string(cluster.home.join(".ssh/kohakuriver.conf")).unwrap();
    let (here, there) = (cluster.gateway.address.to_string(), other.address.to_string());
    cluster.home.write(".ssh/kohakuriver.conf", entries.replace(&here, &there));
    let text = format!("the entry leads to {there}, and your settings to {here}");
    wants_new_entries(&cluster, &[&text, "there is no VPS"]);
    // The same Host under another name works.
    let name = format!("localhost:{}", cluster.gateway.address.port());
    cluster.home.write(".ssh/kohakuriver.conf", entries.replace(&here, &name));
    let outcome = doctor(&cluster).output();
    outcome.succeeds();
    let own = finding(&outcome, "own-ssh");
    let note = format!("the entry leads to {name}, and your settings to {here}");
    assert!(own["verdict"] == "note" && own["found"].as_str().unwrap().ends_with(&note), "{own:#}");
}

/// The wildcard has no key, and the agent of this user has none either.
#[test]
fn a_vps_without_an_entry_of_its_own() {
    let cluster = with_entries("Host *\n  IdentityFile none\n");
    let entries = fs::read_to_string(cluster.home.join(".ssh/kohakuriver.conf")).unwrap();
    let (head, wildcard) = entries.split_once("\nHost *.kohakuriver\n").unwrap();
    let (head, _) = head.split_once("\nHost ").unwrap();
    cluster.home.write(".ssh/kohakuriver.conf", format!("{head}\nHost *.kohakuriver\n{wildcard}"));
    let outcome = doctor(&cluster).output();
    let text = format!("the entry does not name the key ~/.ssh/id-kohakuriver-{ID}");
    finds(&outcome, "own-ssh", &[&text, "Permission denied"], "kohakuriver ssh config --write");
    is_solved_by_its_command(&cluster, &outcome);
}

/// ssh reads the home directory of the user database, and our programs that of HOME. The test changes the user database in
/// a mount namespace of its own.
#[test]
fn another_home_than_that_of_the_user_database() {
    let cluster = Cluster::new();
    let database = Home::new();
    let id = rustix::process::geteuid();
    let group = rustix::process::getegid().as_raw();
    let passwd = format!("{}:x:{}:{group}::{}:/bin/sh\n", user(), id.as_raw(), database.path().display());
    let passwd = database.write("passwd", passwd);
    cluster.sshd.copy_key_to(&database.join(".ssh/id_ed25519"));
    cluster.home.ssh("", "-o BatchMode=yes");
    // A user namespace for root would keep ssh from starting its KnownHostsCommand.
    let namespace = if id.is_root() { &[][..] } else { &["--map-current-user", "--keep-caps"] };
    let within = |line: &str| {
        let set_up = format!("mount --bind {} /etc/passwd && {line}", passwd.display());
        let run = cluster.run(tool("unshare")).args(namespace).args(["--mount", "sh", "-c"]).arg(set_up);
        run.deadline(120).output()
    };
    let doctor = || within(&format!("exec {} doctor {ID} --json --user {}", sh_quote(CLI), user()));
    let written = within(&format!("exec {} ssh config --write", sh_quote(CLI)));
    written.succeeds().says(&[&cluster.home.join(".ssh/kohakuriver.conf").display().to_string()]);
    let outcome = doctor();
    let texts = ["with no ProxyCommand, not with the helper", "ssh reads that of the user database"];
    finds(&outcome, "ssh-config", &texts, "env -u HOME kohakuriver ssh config --write");
    let command = format!("env -u HOME {} ssh config --write", sh_quote(CLI));
    within(&command).succeeds().says(&[&database.join(".ssh/kohakuriver.conf").display().to_string()]);
    let outcome = doctor();
    outcome.succeeds();
    assert_eq!(finding(&outcome, "own-ssh")["verdict"], "ok", "{outcome}");
}

/// The report of a problem that only the user's own login has.
#[test]
fn all_other_checks_are_fine() {
    let cluster = with_entries("Host *\n  RemoteCommand tmux\n");
    let outcome = doctor(&cluster).arg("--all").output();
    outcome.exits(1);
    let report = report(&outcome);
    let wrong = with_verdict(&report, "wrong");
    assert_eq!(wrong.len(), 1, "{outcome}");
    names(wrong[0], "own-ssh", &["RemoteCommand tmux"], "RemoteCommand=none");
}
