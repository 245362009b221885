//! The programs of ssh's family through connections that break all the time: same bytes, same status, and no word of it.

use std::fs;
use std::path::PathBuf;

use crate::support::heavy;
use crate::support::pattern::pattern;
use crate::support::peers::http_server;
use crate::support::rough::{By, Rough};
use crate::support::run::Run;
use crate::support::scene::destination;
use crate::support::sshd::free_port;
use crate::support::tools::{sha256, tool};

/// The size of a transfer, in bytes.
const BULK: usize = 2_000_000;
/// How many connections break under a transfer.
const CUTS: usize = 24;

/// One test per program and carrier.
macro_rules! each {
    ($($test:ident),+ $(,)?) => {
        each!(@module by_the_helper, By::Helper, $($test)+);
        each!(@module by_the_child_over_tls, By::Child, $($test)+);
    };
    (@module $module:ident, $by:expr, $($test:ident)+) => {
        mod $module {
            use super::By;
            $(#[test]
            fn $test() {
                super::$test($by);
            })+
        }
    };
}

each![
    a_command_and_its_exit_status,
    cat_of_a_file_and_back,
    scp_both_ways,
    sftp_batch,
    rsync_both_ways,
    git_clone,
    dynamic_forward,
    new_keys_all_the_time,
    several_sessions_over_one_connection,
];

/// A file to move.
fn original(way: &Rough) -> PathBuf {
    way.home.write("original", pattern(BULK))
}

fn a_command_and_its_exit_status(by: By) {
    let way = Rough::breaking(by, 8);
    let run = way.client("ssh").arg(destination()).arg("echo out; echo err >&2; exit 42");
    run.output().exits(42).prints("out\n").check_stderr("err\n");
    way.was_cut(6);
}

/// The end of ssh's stdin does not end what comes back.
fn cat_of_a_file_and_back(by: By) {
    let _heavy = heavy();
    let way = Rough::breaking(by, CUTS);
    let (original, copy) = (original(&way), way.home.join("copy"));
    let run = way.client("ssh").arg(destination()).arg("cat; exit 3").stdin_file(&original).stdout_file(&copy);
    run.output().exits(3).says_nothing();
    assert_eq!(sha256(&copy), sha256(&original));
    way.was_cut(CUTS);
}

fn scp_both_ways(by: By) {
    let _heavy = heavy();
    let (there, back) = (Rough::breaking(by, CUTS / 2), Rough::breaking(by, CUTS / 2));
    let (original, remote, copy) = (original(&there), there.home.join("remote"), there.home.join("copy"));
    let named = format!("{}:{}", destination(), remote.display());
    there.client("scp").arg(&original).arg(&named).output().succeeds().prints_nothing().says_nothing();
    back.client("scp").arg(&named).arg(&copy).output().succeeds().prints_nothing().says_nothing();
    assert_eq!((sha256(&remote), sha256(&copy)), (sha256(&original), sha256(&original)));
    [there, back].iter().for_each(|way| way.was_cut(CUTS / 2));
}

fn sftp_batch(by: By) {
    let _heavy = heavy();
    let way = Rough::breaking(by, CUTS);
    let (original, remote, copy) = (original(&way), way.home.join("remote"), way.home.join("copy"));
    let batch = format!("put {0} {1}\nls {1}\nget {1} {2}\n", original.display(), remote.display(), copy.display());
    way.client("sftp").args(["-b", "-"]).arg(destination()).stdin(batch).output().succeeds().says_nothing();
    assert_eq!((sha256(&remote), sha256(&copy)), (sha256(&original), sha256(&original)));
    way.was_cut(CUTS);
}

fn rsync_both_ways(by: By) {
    let _heavy = heavy();
    let (there, back) = (Rough::breaking(by, CUTS / 2), Rough::breaking(by, CUTS / 2));
    let home = &there.home;
    for number in 0..20_usize {
        home.write(&format!("tree/{number}/file"), &pattern(BULK / 20 + number)[number..]);
    }
    let rsync =
        |way: &Rough| Run::new(tool("rsync"), &there.home).args(["-a", "--checksum", "-e"]).arg(way.remote_shell());
    let remote = |name: &str| format!("{}:{}/", destination(), home.join(name).display());
    let local = |name: &str| format!("{}/", home.join(name).display());
    rsync(&there).arg(local("tree")).arg(remote("there")).output().succeeds().prints_nothing().says_nothing();
    rsync(&back).arg(remote("there")).arg(local("back")).output().succeeds().prints_nothing().says_nothing();
    for number in 0..20 {
        let read = |tree: &str| fs::read(home.join(&format!("{tree}/{number}/file"))).unwrap();
        assert!(read("there") == read("tree") && read("back") == read("tree"), "file {number}");
    }
    [&there, &back].into_iter().for_each(|way| way.was_cut(CUTS / 2));
}

fn git_clone(by: By) {
    let _heavy = heavy();
    let way = Rough::breaking(by, CUTS / 2);
    let git = |arguments: &[&str]| {
        let run = Run::new(tool("git"), &way.home).env("GIT_SSH_COMMAND", way.remote_shell());
        let run = run.args(["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "core.compression=0"]);
        let outcome = run.args(arguments).output();
        outcome.succeeds();
        outcome
    };
    let origin = way.home.join("origin");
    git(&["init", "-q", origin.to_str().unwrap()]);
    way.home.write("origin/file", pattern(BULK));
    let inside = |arguments: &[&str]| git(&[&["-C", origin.to_str().unwrap()], arguments].concat());
    inside(&["add", "file"]);
    inside(&["commit", "-qm", "one"]);
    let url = format!("ssh://{}{}", destination(), origin.display());
    let clone = way.home.join("clone");
    git(&["clone", "-q", &url, clone.to_str().unwrap()]).says_nothing();
    git(&["-C", clone.to_str().unwrap(), "fsck", "--full"]);
    assert_eq!(sha256(&clone.join("file")), sha256(&origin.join("file")));
    way.was_cut(CUTS / 2);
}

/// As VS Code does it: a process without a terminal that forwards for as long as its stdin is open.
fn dynamic_forward(by: By) {
    let _heavy = heavy();
    let way = Rough::breaking(by, CUTS);
    let body: String = pattern(BULK / 2).iter().map(|&byte| char::from(b'a' + byte % 26)).collect();
    let sent = body.clone();
    let server = http_server(move |_| (200, "text/plain", sent.clone()));
    let (socks, forwarded) = (free_port(), free_port());
    // With an address: else ssh is content with ::1, and somebody else may have the port of 127.0.0.1.
    let local = format!("127.0.0.1:{forwarded}:{}", server.address);
    let run = way.client("ssh").args([
        "-T",
        "-D",
        &format!("127.0.0.1:{socks}"),
        "-L",
        &local,
        "-o",
        "ExitOnForwardFailure=yes",
    ]);
    let ssh = run.arg(destination()).arg("echo ready; exec cat").stdin_open().start();
    ssh.wait_for_all_of("ready\n");
    let curl = || Run::new(tool("curl"), &way.home).args(["-sS", "--noproxy", ""]);
    let by_socks =
        curl().args(["-x", &format!("socks5h://127.0.0.1:{socks}")]).arg(format!("http://{}/", server.address));
    let by_port = curl().arg(format!("http://127.0.0.1:{forwarded}/"));
    let both = [by_socks.start(), by_port.start()];
    both.into_iter().for_each(|curl| assert!(curl.finish().succeeds().text() == body, "other bytes"));
    ssh.finish().succeeds().prints("ready\n").says_nothing();
    way.was_cut(CUTS);
}

/// An exchange of keys of ssh's own is the worst moment for a cut: nothing else may come in between.
fn new_keys_all_the_time(by: By) {
    let _heavy = heavy();
    let way = Rough::breaking(by, CUTS);
    let (original, copy) = (original(&way), way.home.join("copy"));
    let run = way.client("ssh").args(["-o", "RekeyLimit=100K"]).arg(destination()).arg("cat");
    run.stdin_file(&original).stdout_file(&copy).output().succeeds().says_nothing();
    assert_eq!(sha256(&copy), sha256(&original));
    way.was_cut(CUTS);
}

/// As with ControlMaster.
fn several_sessions_over_one_connection(by: By) {
    let _heavy = heavy();
    let way = Rough::breaking(by, CUTS);
    let original = original(&way);
    let control = format!("ControlPath={}", way.home.join("control").display());
    let run = way.client("ssh").args(["-M", "-o", &control]).arg(destination()).arg("echo ready; exec cat");
    let first = run.stdin_open().start();
    first.wait_for_all_of("ready\n");
    let copies = [0, 1, 2].map(|number| way.home.join(&format!("copy{number}")));
    let others = copies.each_ref().map(|copy| {
        let run = way.client("ssh").args(["-o", &control]).arg(destination()).arg("cat");
        run.stdin_file(&original).stdout_file(copy).start()
    });
    for other in others {
        other.finish().succeeds().says_nothing();
    }
    copies.iter().for_each(|copy| assert_eq!(sha256(copy), sha256(&original)));
    first.finish().succeeds().prints("ready\n").says_nothing();
    way.was_cut(CUTS);
}
