//! `kohakuriver ssh config` and the files of its user: what is written, what is put back, and what is left alone.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::{Home, mode, set_mode};
use crate::support::peers::RefusingPort;
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER, tool};

struct Machine {
    gateway: Gateway,
    home: Home,
}

impl Machine {
    fn new() -> Self {
        Self { gateway: Gateway::before(22), home: Home::new() }
    }

    fn ssh_config(&self, args: &[&str]) -> Run {
        Run::new(CLI, &self.home)
            .args(["-H", "127.0.0.1", "-P", &self.gateway.api().port().to_string(), "ssh", "config"])
            .args(args)
    }

    fn config(&self) -> PathBuf {
        self.home.join(".ssh/config")
    }

    fn ours(&self) -> PathBuf {
        self.home.join(".ssh/kohakuriver.conf")
    }

    fn include(&self) -> String {
        format!("Include {}", self.ours().display())
    }

    /// Every file of the home folder with its content, its mode and its inode.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>, u32, u64)> {
        let mut found = Vec::new();
        let mut folders = vec![self.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let (path, metadata) = (entry.as_ref().unwrap().path(), entry.unwrap().metadata().unwrap());
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                let content = fs::read(&path).unwrap_or_default();
                found.push((path, content, metadata.mode(), metadata.ino()));
            }
        }
        found.sort();
        found
    }
}

fn ssh_g(config: &Path, home: &Home, host: &str) -> (Option<i32>, String) {
    let outcome = Run::new(tool("ssh"), home).args(["-G", "-F"]).arg(config).arg(host).output();
    (outcome.status.code(), outcome.text())
}

#[test]
fn write_twice_and_remove() {
    let machine = Machine::new();
    machine.ssh_config(&["--write"]).output().succeeds().prints_nothing().says(&[
        "wrote",
        "config",
        "kohakuriver.conf",
    ]);
    let config = fs::read_to_string(machine.config()).unwrap();
    assert_eq!(config.lines().nth(1), Some(machine.include().as_str()), "{config}");
    let ours = fs::read_to_string(machine.ours()).unwrap();
    assert!(ours.starts_with("# Do not edit: written by `kohakuriver ssh config`"), "{ours}");
    for path in [machine.config(), machine.ours()] {
        assert_eq!(mode(&path), 0o600);
    }
    let before = machine.files();
    machine.ssh_config(&["--write"]).output().succeeds().says(&["nothing to change"]);
    machine.ssh_config(&["--diff"]).output().succeeds().prints_nothing().says(&["nothing would change"]);
    assert_eq!(machine.files(), before);
    machine.ssh_config(&["--remove"]).output().succeeds().says(&["removed"]);
    assert_eq!(fs::read_dir(machine.home.join(".ssh")).unwrap().count(), 0);
    machine.ssh_config(&["--remove"]).output().succeeds().says(&["nothing to change"]);
}

#[test]
fn configs_of_every_kind_come_back_byte_for_byte() {
    let machine = Machine::new();
    // The largest file takes its time where many tests run.
    let ssh_config = |verb: &str| {
        machine.ssh_config(&[verb]).deadline(240).output().succeeds();
    };
    let big = "Host h\n  User u\n".repeat(600_000);
    for (n, config) in [
        &b"Host a\n  User u\n"[..],
        b"Host a\r\n  User u\r\n",
        b"Host no-final-newline\n  User u",
        b"Host latin\n  User caf\xe9\n",
        b"Host nul\n  User a\0b\n",
        b"Host \"quoted Host\"\n  User u\n",
        b"Host a\nMatch all\n",
        b"\n\n# only a comment",
        b"",
        big.as_bytes(),
    ]
    .into_iter()
    .enumerate()
    {
        machine.home.write(".ssh/config", config);
        let mode = if n % 2 == 0 { 0o600 } else { 0o644 };
        set_mode(&machine.config(), mode);
        let before = ssh_g(&machine.config(), &machine.home, "foreign");
        ssh_config("--write");
        let written = fs::read(machine.config()).unwrap();
        assert!(written.ends_with(config) && written.len() > config.len());
        assert_eq!(ssh_g(&machine.config(), &machine.home, "foreign"), before);
        assert_eq!(fs::read(machine.home.join(".ssh/.config.before-kohakuriver")).unwrap(), config);
        let (_, vps) = ssh_g(&machine.config(), &machine.home, "x.kohakuriver");
        assert!(vps.contains("\nstricthostkeychecking accept-new\n"), "{vps}");
        ssh_config("--remove");
        assert!(fs::read(machine.config()).unwrap() == config, "config {n}");
        assert_eq!(fs::metadata(machine.config()).unwrap().mode() & 0o777, mode);
        assert_eq!(fs::read_dir(machine.home.join(".ssh")).unwrap().count(), 1, "config {n}");
    }
}

#[test]
fn what_the_user_changed_in_between_stays_and_so_does_the_backup() {
    let machine = Machine::new();
    machine.home.write(".ssh/config", "Host a\n");
    machine.ssh_config(&["--write"]).output().succeeds();
    let written = fs::read_to_string(machine.config()).unwrap();
    machine.home.write(".ssh/config", format!("Host mine\n  User me\n{written}Host b\n"));
    // It no longer is global, so it moves up again.
    machine.ssh_config(&["--write"]).output().succeeds().says(&["changed"]);
    assert!(fs::read_to_string(machine.config()).unwrap().ends_with("Host mine\n  User me\nHost a\nHost b\n"));
    machine.ssh_config(&["--remove"]).output().succeeds().says(&["kept", "config.before-kohakuriver"]);
    assert_eq!(fs::read_to_string(machine.config()).unwrap(), "Host mine\n  User me\nHost a\nHost b\n");
    assert_eq!(fs::read_to_string(machine.home.join(".ssh/.config.before-kohakuriver")).unwrap(), "Host a\n");
}

#[test]
fn a_difference_is_shown_for_both_files_and_nothing_is_touched() {
    let machine = Machine::new();
    machine.home.write(".ssh/config", "Host a\n");
    let before = machine.files();
    let outcome = machine.ssh_config(&["--diff"]).output();
    outcome.succeeds().says_nothing();
    for part in ["--- /dev/null", "/.ssh/kohakuriver.conf\n@@ -0,0 +1,", "+Host *.kohakuriver\n", " Host a\n"] {
        outcome.check(outcome.text().contains(part), part);
    }
    outcome.check(outcome.text().contains(&format!("+{}\n", machine.include())), "the Include");
    assert_eq!(machine.files(), before);
}

#[test]
fn output_writes_elsewhere_and_nothing_else() {
    let machine = Machine::new();
    let file = machine.home.join("entries");
    machine.ssh_config(&["--output"]).arg(&file).output().succeeds();
    machine.ssh_config(&["-o", "entries"]).output().succeeds().says(&["nothing to change"]);
    let printed = machine.ssh_config(&[]).output();
    assert_eq!(fs::read(&file).unwrap(), printed.stdout);
    assert_eq!(machine.files().len(), 1);
    let mine = machine.home.write("mine", "Host mine\n");
    let outcome = machine.ssh_config(&["--output"]).arg(&mine).output();
    outcome.exits(1).says(&["will not overwrite", "  hint: "]);
    assert_eq!(fs::read_to_string(mine).unwrap(), "Host mine\n");
}

#[test]
fn a_file_of_our_name_that_we_did_not_write_is_refused() {
    let machine = Machine::new();
    machine.home.write(".ssh/kohakuriver.conf", "Host mine\n");
    let before = machine.files();
    for action in ["--write", "--diff"] {
        let outcome = machine.ssh_config(&[action]).output();
        outcome.exits(1).prints_nothing().says(&["will not overwrite", "kohakuriver.conf.mine"]);
        assert_eq!(machine.files(), before, "{action}");
    }
    let why = "kohakuriver.conf is not refreshed: it was not written by `kohakuriver ssh config`\n";
    machine.ssh_config(&["--sync"]).output().succeeds().prints_nothing().says(&[why]);
    machine.ssh_config(&["--remove"]).output().succeeds().says(&["kept ", "nothing to change"]);
    assert_eq!(machine.files(), before);
}

#[test]
fn remove_leaves_a_file_of_our_name_and_takes_out_the_rest() {
    let machine = Machine::new();
    machine.home.write(".ssh/config", "Host a\n");
    for is_file in [true, false] {
        machine.ssh_config(&["--write"]).output().succeeds();
        if is_file {
            machine.home.write(".ssh/kohakuriver.conf", "Host mine\n");
        } else {
            fs::remove_file(machine.ours()).unwrap();
            fs::create_dir(machine.ours()).unwrap();
        }
        let why = if is_file { "it was not written by `kohakuriver ssh config`" } else { "it is not a regular file" };
        let kept = format!("kept {}: {why}\n", machine.ours().display());
        machine.ssh_config(&["--remove"]).output().succeeds().prints_nothing().says(&[&kept, "removed ", "changed "]);
        assert_eq!(fs::read_to_string(machine.config()).unwrap(), "Host a\n");
        assert_eq!(fs::read_dir(machine.home.join(".ssh")).unwrap().count(), 2);
        if is_file {
            assert_eq!(fs::read_to_string(machine.ours()).unwrap(), "Host mine\n");
            fs::remove_file(machine.ours()).unwrap();
        }
    }
}

#[test]
fn a_read_only_config_is_not_fought() {
    let machine = Machine::new();
    machine.home.write(".ssh/config", "Host a\n");
    set_mode(&machine.config(), 0o444);
    let outcome = machine.ssh_config(&["--write"]).output();
    outcome.exits(1).says(&["it is read-only", &format!("run this command again: `{}`", machine.include())]);
    assert_eq!(fs::read_to_string(machine.config()).unwrap(), "Host a\n");
    assert_eq!(machine.files().len(), 2, "nothing else is left behind");
    // Once the line is there, the same command writes what it includes.
    set_mode(&machine.config(), 0o600);
    machine.home.write(".ssh/config", format!("{}\nHost a\n", machine.include()));
    set_mode(&machine.config(), 0o444);
    machine.ssh_config(&["--write"]).output().succeeds().says(&["wrote", "kohakuriver.conf"]);
    machine.ssh_config(&["--write"]).output().succeeds().says(&["nothing to change"]);
    machine.ssh_config(&["--remove"]).output().succeeds().says(&["removed"]);
    assert_eq!(fs::read_dir(machine.home.join(".ssh")).unwrap().count(), 1);
}

#[test]
fn a_write_that_fails_leaves_no_folder_and_without_ssh_the_text_tells() {
    let machine = Machine::new();
    machine.home.script("bin/ssh", "#!/bin/sh\necho out of order >&2\nexit 255\n");
    let with_path = |folder: &str| machine.ssh_config(&["--write"]).env("PATH", machine.home.join(folder)).output();
    with_path("bin").exits(1).says(&["ssh refuses your own ssh_config already", "ssh said: out of order"]);
    assert!(!machine.home.join(".ssh").exists());
    with_path("no-folder").succeeds().says(&["wrote"]);
    with_path("no-folder").succeeds().says(&["nothing to change"]);
    assert!(fs::read_to_string(machine.config()).unwrap().ends_with(&format!("\n{}\n", machine.include())));
}

#[test]
fn hosts_that_are_not_judged_are_counted() {
    let machine = Machine::new();
    let write = || machine.ssh_config(&["--write"]).env("PATH", machine.home.join("bin")).output();
    let hosts = |count: usize| (0..count).map(|n| format!("Host h{n}\n")).collect::<String>();
    let file = machine.home.write(".ssh/hosts", hosts(1010));
    // The debug message of ssh about a file that ssh reads.
    let log = format!("#!/bin/sh\necho 'debug1: Reading configuration data {}' >&2\n", file.display());
    machine.home.script("bin/ssh", &log);
    // One more is no host of the user's.
    write().succeeds().says(&["ssh was not asked about 11 of the hosts that your files name: too many\n"]);
    machine.home.write(".ssh/hosts", hosts(10));
    let outcome = write();
    outcome.succeeds().check(!outcome.stderr.contains("not asked"), "all were judged");
}

#[test]
fn a_symbolic_link_is_kept() {
    let machine = Machine::new();
    let dotfiles = machine.home.write("dotfiles/ssh config", "Host a\n");
    fs::create_dir(machine.home.join(".ssh")).unwrap();
    symlink("../dotfiles/ssh config", machine.config()).unwrap();
    machine.ssh_config(&["--write"]).output().succeeds();
    assert!(fs::symlink_metadata(machine.config()).unwrap().is_symlink());
    assert!(fs::read_to_string(&dotfiles).unwrap().contains(&machine.include()));
    machine.ssh_config(&["--remove"]).output().succeeds();
    assert_eq!(fs::read_to_string(&dotfiles).unwrap(), "Host a\n");
    assert!(fs::symlink_metadata(machine.config()).unwrap().is_symlink());
}

#[test]
fn an_include_loop_of_the_users_own_is_named_and_left() {
    let machine = Machine::new();
    let looped = format!("Include {}\nHost a\n", machine.config().display());
    machine.home.write(".ssh/config", &looped);
    let before = ssh_g(&machine.config(), &machine.home, "foreign");
    assert_ne!(before.0, Some(0));
    let outcome = machine.ssh_config(&["--write"]).output();
    outcome.exits(1).says(&["already", "Too many recursive", "/.ssh/config:1: `Include ", "  hint: remove or correct"]);
    assert_eq!(fs::read_to_string(machine.config()).unwrap(), looped);
    assert_eq!(machine.files().len(), 2);
}

#[test]
fn runs_at_the_same_time_end_as_one() {
    let machine = Machine::new();
    machine.home.write(".ssh/config", "Host a\n");
    let started: Vec<_> = (0..8).map(|_| machine.ssh_config(&["--write"]).start()).collect();
    for run in started {
        run.finish().succeeds();
    }
    let config = fs::read_to_string(machine.config()).unwrap();
    assert_eq!(config.matches("Include").count(), 1, "{config}");
    machine.ssh_config(&["--remove"]).output().succeeds();
    assert_eq!(fs::read_to_string(machine.config()).unwrap(), "Host a\n");
    assert_eq!(fs::read_dir(machine.home.join(".ssh")).unwrap().count(), 1);
}

#[test]
fn a_host_that_does_not_answer_leaves_everything_as_it_was() {
    let machine = Machine::new();
    machine.ssh_config(&["--write"]).output().succeeds();
    machine.home.write(".config/kohakuriver/config.json", r#"{"host":"127.0.0.1","port":1}"#);
    let before = machine.files();
    let outcome = Run::new(CLI, &machine.home).args(["ssh", "config", "--write"]).output();
    outcome.exits(1).prints_nothing().fails_with("kohakuriver", "cannot list your VPSes", "kohakuriver config show");
    assert_eq!(machine.files(), before);
}

#[test]
fn without_home_the_user_database_tells_where_it_is() {
    let machine = Machine::new();
    // A user of no database has neither; who is in one may have files that no test may touch, so nothing is written.
    let print = format!("exec {CLI} -H 127.0.0.1 -P {} ssh config", machine.gateway.api().port());
    let outcome = Run::new(tool("sh"), &machine.home).arg("-c").arg(format!("unset HOME; {print}")).output();
    outcome.succeeds();
    outcome.check(outcome.text().contains("/.ssh/.kohakuriver_known_hosts"), "an absolute known_hosts file");
    if rustix::process::geteuid().is_root() {
        let run =
            Run::new(tool("setpriv"), &machine.home).args(["--reuid", "61234", "--clear-groups", "env", "-u", "HOME"]);
        let port = machine.gateway.api().port().to_string();
        let outcome = run.args([CLI, "-H", "127.0.0.1", "-P", &port, "ssh", "config", "--write"]).output();
        // A folder that only root may enter is in the way of some builds.
        if !outcome.stderr.contains("setpriv") && !outcome.stderr.contains("env:") {
            let said = ["your home directory is unknown", "  hint: set HOME"];
            outcome.exits(1).prints_nothing().says(&said);
        }
    }
}

#[test]
fn sync_is_quiet_and_asks_the_host_of_the_entries() {
    let machine = Machine::new();
    let sync = |machine: &Machine| {
        machine.ssh_config(&["--sync"]).output().succeeds().prints_nothing().says_nothing();
    };
    sync(&machine);
    assert!(machine.files().is_empty(), "there is nothing to refresh");
    machine.ssh_config(&["--write"]).output().succeeds();
    let written = machine.files();
    sync(&machine);
    assert_eq!(machine.files(), written, "the Host says the same");
    let listed = |machine: &Machine| fs::read_to_string(machine.ours()).unwrap().matches("\nHost ").count();
    let new = ["7323718749301760003", ID].map(|id| running(id, 22));
    machine.gateway.write_inventory(&inventory(&new).to_string());
    // The gateway takes its new inventory up by itself.
    let end = Instant::now() + DEADLINE;
    while listed(&machine) != 3 {
        assert!(Instant::now() < end, "not listed: {}", fs::read_to_string(machine.ours()).unwrap());
        sync(&machine);
    }
    let other = ["-H", "localhost", "-P", &machine.gateway.api().port().to_string(), "ssh", "config", "--sync"];
    machine.gateway.write_inventory(&inventory(&[]).to_string());
    Run::new(CLI, &machine.home).args(other).output().succeeds().says_nothing();
    assert_eq!(listed(&machine), 3, "it was written for another Host");
    // A program that was moved is found again.
    let moved = fs::read_to_string(machine.ours()).unwrap().replace(HELPER, "/old/kohakuriver-proxy");
    machine.home.write(".ssh/kohakuriver.conf", moved);
    sync(&machine);
    assert!(!fs::read_to_string(machine.ours()).unwrap().contains("/old/"));
    // A Host that is down is none of the user's business now.
    let down = RefusingPort::new();
    let port = |port: u16| format!(" --port {port} ");
    let text = fs::read_to_string(machine.ours()).unwrap();
    machine
        .home
        .write(".ssh/kohakuriver.conf", text.replacen(&port(machine.gateway.api().port()), &port(down.port), 1));
    let before = machine.files();
    let args = ["-H", "127.0.0.1", "-P", &down.port.to_string(), "ssh", "config"];
    let run = |more: &str| Run::new(CLI, &machine.home).args(args).arg(more).output();
    run("--sync").succeeds().prints_nothing().says_nothing();
    assert_eq!(machine.files(), before);
    run("--write").exits(1).says(&["cannot list your VPSes"]);
}

/// On a small disk of its own where root may mount one; else under a limit on the size of files, which fails the write
/// in its middle as well.
#[test]
fn a_full_disk_leaves_the_config_as_it_was() {
    let machine = Machine::new();
    let folder = machine.home.join(".ssh");
    fs::create_dir(&folder).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&folder).output();
    let mounted = mounted.is_ok_and(|output| output.status.success());
    let _unmount = mounted.then(|| Unmount(folder.clone()));
    let config = b"Host a\n  User somebody\n".repeat(if mounted { 1000 } else { 200 });
    fs::write(machine.config(), &config).unwrap();
    let outcome = if mounted {
        fs::write(folder.join("filler"), vec![0; 60_000]).unwrap_err();
        machine.ssh_config(&["--write"]).output()
    } else {
        let port = machine.gateway.api().port();
        let script = format!("trap '' XFSZ; ulimit -f 1; exec {CLI} -H 127.0.0.1 -P {port} ssh config --write");
        Run::new(tool("sh"), &machine.home).arg("-c").arg(script).output()
    };
    outcome.exits(1).prints_nothing().says(&["the file is unchanged", "  hint: make room on the disk"]);
    assert!(fs::read(machine.config()).unwrap() == config);
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.retain(|name| name != "filler");
    assert_eq!(names, ["config"]);
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
