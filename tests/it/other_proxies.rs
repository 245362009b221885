//! Our helper through CONNECT proxies of others, to a server that is no VPS: the helper serves any such proxy.

use crate::support::certificates::Authority;
use crate::support::home::Home;
use crate::support::office::{PASSWORD, USER, url};
use crate::support::office_proxies::{haproxy_with_tls, squid_of, squid_with_tls_of, tinyproxy_of};
use crate::support::proxies::{Proxy, listening, squid, start, tinyproxy};
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::Mode;
use crate::support::sshd::Sshd;
use crate::support::tools::{HELPER, sh_quote};

/// An ssh to an sshd behind the proxy that these words of the helper name.
fn ssh(home: &Home, sshd: &Sshd, words: &str, mode: Mode) -> Run {
    let fdpass = if mode == Mode::Fdpass { " --fdpass" } else { "" };
    let command = format!("{}{fdpass} {words} 127.0.0.1 {}", sh_quote(HELPER), sshd.port);
    sshd.ssh(home, &command, mode).arg("foreign")
}

fn ssh_through(proxy: impl Fn(u16) -> Proxy) {
    let sshd = Sshd::start();
    let proxy = proxy(sshd.port);
    let home = Home::new();
    let data = "through a stranger\n".repeat(100_000);
    for mode in Mode::BOTH {
        let ssh = ssh(&home, &sshd, &format!("--proxy http://{}", proxy.address), mode);
        let outcome = ssh.arg("cat; exit 23").stdin(data.clone()).output();
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
        let outcome = ssh(&home, &sshd, &format!("--proxy http://{}", proxy.address), mode).arg("true").output();
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

/// A proxy with a login: the login comes from a setting that names the same proxy. `scheme` is that of the proxy, and
/// `words` are the helper's.
fn log_in(sshd: &Sshd, proxy: &Proxy, scheme: &str, words: &str, login: &str) {
    let named = format!("{words} --proxy {scheme}://{}", proxy.address);
    let empty = Home::new();
    let of_file = Home::new();
    of_file.secret(".config/kohakuriver/config.json", &format!("{{\"upstream_proxy\": \"{login}\"}}"));
    for mode in Mode::BOTH {
        let ssh = |home: &Home, (name, value): (&str, &str)| {
            ssh(home, sshd, &named, mode).env(name, value).arg("cat; exit 23").stdin("in").output()
        };
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "http_proxy"] {
            ssh(&empty, (name, login)).exits(23).prints("in").says_nothing();
        }
        ssh(&of_file, ("NO_PROXY", "*")).exits(23).prints("in").says_nothing();
        // Another proxy's login is not for this one.
        let outcome = ssh(&empty, ("HTTPS_PROXY", "http://alice:sekrit@127.0.0.1:1"));
        outcome.exits(255).prints_nothing().says(&[
            " answered 407 Proxy Authentication Required\n",
            &format!("put its login into HTTPS_PROXY, or into config.json: `kohakuriver config set upstream_proxy -`, and then {scheme}://USER"),
        ]);
    }
}

#[test]
fn ssh_through_squid_with_a_login() {
    let sshd = Sshd::start();
    let proxy = squid_of(USER, PASSWORD, &[sshd.port], "", "");
    log_in(&sshd, &proxy, "http", "", &url("http", &proxy));
}

#[test]
fn ssh_through_tinyproxy_with_a_login() {
    let sshd = Sshd::start();
    let proxy = tinyproxy_of(USER, "sekrit", sshd.port, 600);
    log_in(&sshd, &proxy, "http", "", &format!("http://{USER}:sekrit@{}", proxy.address));
}

#[test]
fn ssh_through_squid_with_tls_and_a_login() {
    let (sshd, authority) = (Sshd::start(), Authority::new());
    let proxy = squid_with_tls_of(USER, PASSWORD, &[sshd.port], &authority);
    let words = format!("--ca-file {}", authority.file.display());
    log_in(&sshd, &proxy, "https", &words, &url("https", &proxy));
}

#[test]
fn ssh_through_haproxys_tls_and_tinyproxy_with_a_login() {
    let (sshd, authority) = (Sshd::start(), Authority::new());
    let behind = tinyproxy_of(USER, "sekrit", sshd.port, 600);
    let proxy = haproxy_with_tls(behind.address, &authority);
    let words = format!("--ca-file {}", authority.file.display());
    log_in(&sshd, &proxy, "https", &words, &format!("https://{USER}:sekrit@{}", proxy.address));
}

/// `openssl s_server` carries bytes alone, so a script reads the request, and answers it.
#[test]
fn ssh_through_openssl_s_server() {
    const ANSWERS: &str = r#"mkfifo up down
{
    while IFS= read -r line && [ "$line" != "$(printf '\r')" ]; do printf '%s\n' "$line" >&2; done
    printf 'HTTP/1.1 200 Connection established\r\n\r\n'
    exec nc 127.0.0.1 $4
} <up >down &
exec openssl s_server -quiet -naccept 1 -accept 127.0.0.1:$1 -cert $2 $3 >up <down"#;
    let (sshd, authority) = (Sshd::start(), Authority::new());
    let pem = authority.home.secret("s_server.pem", &authority.server(92).pem);
    for version in ["-tls1_2", "-tls1_3"] {
        let server = start(listening, |home, port| {
            let run = Run::new("sh", home).args(["-c", ANSWERS, "sh", &port.to_string()]).arg(&pem);
            run.args([version, &sshd.port.to_string()])
        });
        let words = format!("--ca-file {} --proxy https://{}", authority.file.display(), server.address);
        let home = Home::new();
        let data = "through a stranger\n".repeat(100_000);
        let ssh = ssh(&home, &sshd, &words, Mode::Stdio);
        let outcome = ssh.arg("cat; exit 23").stdin(data.clone()).output();
        outcome.exits(23).says_nothing().check(outcome.text() == data, "all that was sent, back");
        let request = format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", sshd.port);
        let has_heard = |stderr: &[u8]| stderr.starts_with(request.as_bytes()).then_some(());
        server.process.wait_for("the request", DEADLINE, |seen| has_heard(&seen.stderr));
    }
}
