//! FIFOs in place of the gateway's files: opening one waits for its other end, which nobody has here.

use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;

use crate::support::gateway::{inventory, running};
use crate::support::home::Home;
use crate::support::host_api::{OWNER, plain_host_api};
use crate::support::peers::{PEER_TIMEOUT, echo_server};
use crate::support::run::{Run, Seen};
use crate::support::scene::ID;
use crate::support::tools::GATEWAY;
use crate::support::tunnels::asked_of;

/// Puts a FIFO in place of the file.
fn replace(path: &Path) {
    let fifo = path.with_extension("fifo");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    std::fs::rename(fifo, path).unwrap();
}

/// How often the admin was told.
fn told(seen: &Seen) -> usize {
    String::from_utf8_lossy(&seen.stderr).matches("it is not a regular file").count()
}

#[test]
fn a_fifo_in_place_of_a_file_that_is_read_again_holds_nothing_up() {
    for with_inventory in [true, false] {
        let (home, vps) = (Home::new(), echo_server());
        let vps = [running(ID, vps.address.port())];
        let host = plain_host_api(vps.to_vec());
        let base = format!("http://{}", host.address);
        let source = match with_inventory {
            true => home.write("inventory", inventory(&vps).to_string()),
            false => home.secret("token", OWNER),
        };
        let files = [
            ("--allow-file", home.write("clients", "127.0.0.0/8\n")),
            ("--allow-runner-file", home.write("runners", "127.0.0.0/8\n")),
            ("--admin-token-file", home.secret("admin", OWNER)),
            ("--audit-log", home.join("audit")),
        ];
        let run = Run::new(GATEWAY, &home).args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let run = match with_inventory {
            true => run.args(["--api-listen", "127.0.0.1:0", "--inventory"]),
            false => run.args(["--host-api", &base, "--line-protocol", "token-file"]),
        };
        let run = files.iter().fold(run.arg(&source), |run, (option, path)| run.arg(option).arg(path));
        let gateway = run.deadline(300).start();
        let address = gateway.stderr_line("listening on ").parse().unwrap();
        let opens = || {
            let answer = asked_of(address, &format!("CONNECT {ID}:22 HTTP/1.1\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        };
        // The audit log is the last one, and not read.
        let read = [&source].into_iter().chain(files[..3].iter().map(|(_, path)| path));
        for path in read {
            let before = gateway.wait_for("stderr", PEER_TIMEOUT, |seen| Some(told(seen)));
            let kept = path.with_extension("kept");
            std::fs::rename(path, &kept).unwrap();
            replace(path);
            gateway.signal(Signal::HUP);
            let what = format!("a word on {}", path.display());
            gateway.wait_for(&what, PEER_TIMEOUT, |seen| (told(seen) > before).then_some(()));
            opens();
            std::fs::rename(&kept, path).unwrap();
        }
        files.iter().map(|(_, path)| path).chain([&source]).for_each(|path| replace(path));
        gateway.signal(Signal::HUP);
        opens();
        gateway.signal(Signal::TERM);
        gateway.finish().succeeds();
    }
}
