//! Our helper through CONNECT proxies of others, to a server that is no VPS: the helper serves any such proxy.

use std::path::PathBuf;

use crate::support::home::Home;
use crate::support::proxies::{Proxy, squid, tinyproxy};
use crate::support::run::Run;
use crate::support::scene::Mode;
use crate::support::sshd::Sshd;
use crate::support::tools::{HELPER, sh_quote, tool};

/// An ssh_config for `foreign`, an sshd behind `proxy` that is named by its address.
fn config(home: &Home, sshd: &Sshd, proxy: &Proxy, mode: Mode) -> PathBuf {
    let fdpass = if mode == Mode::Fdpass { " --fdpass" } else { "" };
    let command = format!("{}{fdpass} --proxy http://{} 127.0.0.1 {}", sh_quote(HELPER), proxy.address, sshd.port);
    sshd.write_ssh_config(home, &format!("config-{mode:?}"), &command, mode)
}

fn ssh_through(proxy: impl Fn(u16) -> Proxy) {
    let sshd = Sshd::start();
    let proxy = proxy(sshd.port);
    let home = Home::new();
    let data = "through a stranger\n".repeat(100_000);
    for mode in Mode::BOTH {
        let ssh = Run::new(tool("ssh"), &home).arg("-F").arg(config(&home, &sshd, &proxy, mode));
        let outcome = ssh.args(["foreign", "cat; exit 23"]).stdin(data.clone()).output();
        outcome.exits(23).says_nothing().check(outcome.text() == data, "all that was sent, back");
    }
}

/// The proxy's own words must reach the user: its status line, and the first line of its text.
fn refusal(proxy: impl Fn(u16) -> Proxy, status_line: &str, first_line: &str) {
    let sshd = Sshd::start();
    // This proxy allows another port than the one in the request.
    let proxy = proxy(1);
    let home = Home::new();
    let cause = format!("\n  caused by: the proxy at {} answered {status_line}\n", proxy.address);
    for mode in Mode::BOTH {
        let ssh = Run::new(tool("ssh"), &home).arg("-F").arg(config(&home, &sshd, &proxy, mode));
        let outcome = ssh.args(["foreign", "true"]).output();
        let what = format!("kohakuriver-proxy: cannot open a tunnel to 127.0.0.1:{}\n", sshd.port);
        outcome.exits(255).prints_nothing().within(30).says(&[&what, &cause, first_line]);
    }
}

#[test]
fn ssh_through_tinyproxy() {
    ssh_through(tinyproxy);
}

#[test]
fn ssh_through_squid() {
    ssh_through(squid);
}

#[test]
fn tinyproxys_refusal_is_shown() {
    refusal(tinyproxy, "403 Access violation", "Access violation");
}

#[test]
fn squids_refusal_is_shown() {
    refusal(squid, "403 Forbidden", "caused by: ERROR: The requested URL could not be retrieved");
}
