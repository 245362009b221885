//! The proxy of an office on the way to the gateway, as real programs are one: ssh through squid, tinyproxy, microsocks
//! and mitmproxy, TLS, and the gateway.

use rustix::process::Pid;
use serde_json::json;

use crate::support::certificates::NAME;
use crate::support::gateway::{Gateway, running};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::host_api::{OWNER, host_api};
use crate::support::load::{a_hundred_at_once, bulk_both_ways};
use crate::support::office::{IN_URL, Office, PASSWORD, THIS_MACHINE, USER, url, url_without_password};
use crate::support::office_proxies::{microsocks, mitmproxy, squid_with_tls_of, tinyproxy_of};
use crate::support::processes::{falls_to, with_argument};
use crate::support::proxies::Proxy;
use crate::support::run::DEADLINE;
use crate::support::scene::{ID, Mode};

/// ssh says something in the VPS and ends as that does, in both modes, with these words of the helper and this variable.
fn ssh_works(office: &Office, home: &Home, words: &[&str], (name, value): (&str, &str)) {
    for mode in Mode::BOTH {
        let run = office.ssh(home, mode, words).env(name, value);
        run.arg("cat; exit 23").stdin("in").output().exits(23).prints("in").says_nothing();
    }
}

#[test]
fn bulk_goes_both_ways_through_squid_tls_and_the_gateway() {
    let _place = heavy();
    let office = Office::new();
    let squid = office.squid();
    bulk(&office, &office.home(NAME, &json!({ "upstream_proxy": url("http", &squid) })));
}

/// TLS of the gateway inside TLS of the proxy.
#[test]
fn bulk_goes_both_ways_through_squid_with_tls() {
    let _place = heavy();
    let office = Office::new();
    let squid = squid_with_tls_of(USER, PASSWORD, &[office.tls.port()], &office.authority);
    bulk(&office, &office.home("127.0.0.1", &json!({ "upstream_proxy": url("https", &squid) })));
    let refused = office.home("127.0.0.1", &json!({ "upstream_proxy": format!("https://{}", squid.address) }));
    let what = format!("the upstream proxy at {} wants a login", squid.address);
    office.ssh(&refused, Mode::Stdio, &[]).output().ssh_fails_with(&what, "https://USER:PASSWORD@");
}

fn bulk(office: &Office, home: &Home) {
    for mode in Mode::BOTH {
        bulk_both_ways(home, &format!("{mode:?}"), || office.ssh(home, mode, &[]));
    }
}

#[test]
fn a_hundred_sessions_go_through_squid_at_once() {
    let _place = heavy();
    let office = Office::new();
    let squid = office.squid();
    let home = office.home(NAME, &json!({ "upstream_proxy": url("http", &squid) }));
    let listed = a_hundred_at_once(&office.gateway, |mode| office.ssh(&home, mode, &[]));
    assert!(listed.iter().all(|session| session["transport"] == "tls"));
}

#[test]
fn the_login_of_the_proxy_and_that_of_the_gateway_are_told_apart() {
    let mut host = None;
    let office = Office::with(|port, options| {
        let api = host.insert(host_api(vec![running(ID, port)]));
        Gateway::with_host_api_and(&format!("http://{}", api.address), options)
    });
    let squid = office.squid();
    let of_proxy = [format!("the upstream proxy at {}", squid.address), "it takes Basic\n".to_owned()];
    let cases = [
        (format!("http://{}", squid.address), " wants a login", "put user and password into HTTPS_PROXY: http://USER:"),
        (
            format!("http://{USER}:wrong@{}", squid.address),
            " refused the login",
            "check user and password in HTTPS_PROXY",
        ),
    ];
    let home = office.home(NAME, &json!({}));
    let server = office.named(NAME);
    for mode in Mode::BOTH {
        for (proxy, what, hint) in &cases {
            let outcome =
                office.ssh(&home, mode, &[]).env("HTTPS_PROXY", proxy).env("KOHAKURIVER_TOKEN", OWNER).output();
            outcome.ssh_fails_with(&format!("{}{what}", of_proxy[0]), hint);
            outcome.says(&["it answered 407 Proxy Authentication Required\n", &of_proxy[1], "set by HTTPS_PROXY\n"]);
        }
        let ssh = || office.ssh(&home, mode, &[]).env("HTTPS_PROXY", url("http", &squid));
        let outcome = ssh().output();
        outcome.exits(255).says(&["407", "log in with `kohakuriver auth login`"]);
        outcome.check(!outcome.stderr.contains("upstream proxy"), "nothing about the proxy");
        // The environment's token is for the Host that the environment names.
        let ssh = || ssh().env("KOHAKURIVER_HOST", &server).env("KOHAKURIVER_TOKEN", OWNER);
        ssh().arg("echo in").output().succeeds().prints("in\n").says_nothing();
    }
}

/// The processes of a helper whose log is at this path.
fn helpers(home: &Home) -> Vec<Pid> {
    with_argument(&home.join("helper.log"))
}

#[test]
fn a_bare_socket_is_passed_where_the_whole_chain_is_plain_and_carried_where_it_is_not() {
    let office = Office::new();
    let squid = office.squid();
    let home = office.home(NAME, &json!({ "upstream_proxy": url("http", &squid) }));
    let log = home.join("helper.log").display().to_string();
    let plain = format!("http://{NAME}:{}", office.gateway.address.port());
    let secure = office.named(NAME);
    for (mode, gateway, remain) in
        [(Mode::Fdpass, &plain, 0), (Mode::Fdpass, &secure, 1), (Mode::Stdio, &plain, 1), (Mode::Stdio, &secure, 1)]
    {
        let run = office.ssh(&home, mode, &["--log-file", &log, "--proxy", gateway]).arg("echo in; cat").stdin_open();
        let session = run.start();
        session.wait_for_all_of("in\n");
        assert_eq!(falls_to(remain, DEADLINE, || helpers(&home).len()), remain, "{mode:?} {gateway}");
        session.finish().succeeds().prints("in\n").says_nothing();
        assert_eq!(falls_to(0, DEADLINE, || helpers(&home).len()), 0, "{mode:?} {gateway}");
    }
}

#[test]
fn ssh_goes_through_tinyproxy_with_a_login() {
    let office = Office::new();
    // Its own configuration takes no password with odd characters.
    let proxy = tinyproxy_of(USER, "sekrit", office.tls.port(), 600);
    let home =
        office.home("localhost", &json!({ "upstream_proxy": format!("http://{USER}:sekrit@{}", proxy.address) }));
    ssh_works(&office, &home, &[], ("HTTPS_PROXY", "http://elsewhere.invalid"));
    let other = format!("http://{USER}:wrong@{}", proxy.address);
    let home = office.home("localhost", &json!({ "upstream_proxy": other }));
    let outcome = office.ssh(&home, Mode::Stdio, &[]).output();
    let what = format!("the upstream proxy at {} refused the login", proxy.address);
    outcome.ssh_fails_with(&what, "check user and password in `upstream_proxy`").says(&["401 Unauthorized\n"]);
}

#[test]
fn ssh_goes_through_socks5_with_a_login_and_without() {
    let office = Office::new();
    let (open, closed) = (microsocks(None), microsocks(Some((USER, PASSWORD))));
    for scheme in ["socks5", "socks5h"] {
        for proxy in [format!("{scheme}://{}", open.address), url(scheme, &closed)] {
            let home = office.home("localhost", &json!({ "upstream_proxy": proxy }));
            ssh_works(&office, &home, &[], ("NO_PROXY", "*"));
        }
    }
    let home = office.home(THIS_MACHINE, &json!({}));
    ssh_works(&office, &home, &[], ("ALL_PROXY", &url("socks5h", &closed)));
    let failure = |proxy: &str, name: &str, what: &str, hint: &str| {
        let home = office.home(name, &json!({ "upstream_proxy": proxy }));
        office.ssh(&home, Mode::Stdio, &[]).output().ssh_fails_with(what, hint);
    };
    let named = |proxy: &Proxy| format!("the upstream proxy at {}", proxy.address);
    let (wants, refused) =
        (format!("{} wants a login", named(&closed)), format!("{} refused the login", named(&closed)));
    failure(&format!("socks5h://{}", closed.address), "localhost", &wants, "socks5h://USER:PASSWORD@");
    failure(&format!("socks5://{USER}:x@{}", closed.address), "localhost", &refused, "check user and password");
    // The name is unknown here, and to that proxy as well.
    let here = format!("cannot resolve the name {NAME}");
    failure(&format!("socks5://{}", open.address), NAME, &here, "name it as socks5h://");
    let there = format!("{} cannot reach {NAME}:{}", named(&open), office.tls.port());
    failure(&format!("socks5h://{}", open.address), NAME, &there, "check the Host's name and port");
}

#[test]
fn ssh_goes_through_a_mitmproxy_whose_ca_is_trusted() {
    let office = Office::new();
    // As a stream of bytes: where it reads the HTTP inside, it refuses a CONNECT.
    let proxy = mitmproxy(&["--proxyauth", &format!("{USER}:sekrit"), "--tcp-hosts", ".*"]);
    let ca = proxy.home.join("conf/mitmproxy-ca-cert.pem").display().to_string();
    let upstream = format!("http://{USER}:sekrit@{}", proxy.address);
    let home = office.home("localhost", &json!({ "upstream_proxy": upstream }));
    ssh_works(&office, &home, &["--ca-file", &ca], ("NO_PROXY", "*"));
    let outcome = office.ssh(&home, Mode::Stdio, &[]).output();
    let server = format!("localhost:{}", office.tls.port());
    outcome.ssh_fails_with(&format!("cannot connect to {server} by TLS"), "config set ca_file FILE");
    outcome.says(&["which may open TLS with a CA of its own"]);

    let proxy = mitmproxy(&[]);
    let ca = proxy.home.join("conf/mitmproxy-ca-cert.pem").display().to_string();
    let home = office.home("localhost", &json!({ "upstream_proxy": format!("http://{}", proxy.address) }));
    let outcome = office.ssh(&home, Mode::Stdio, &["--ca-file", &ca]).output();
    outcome.ssh_fails_with(&format!("cannot open a tunnel to VPS {ID}"), "check that it is the Host's SSH proxy");
    let suspicion = format!("the upstream proxy at {} (set by `upstream_proxy` in ", proxy.address);
    outcome.says(&["answered 400 Bad Request\n", &suspicion, "may have answered in its place\n"]);
}

/// After so many seconds these proxies close an idle tunnel. A busy machine may be silent for a while, too.
const IDLE: u32 = 6;

/// A quiet session whose tunnel is not resumable lives as long as ssh's keepalives come more often than the proxy's limit. A
/// resumable one needs none.
fn keepalives_hold(office: &Office, home: &Home) {
    let quiet = |mode, interval: u32, flag: &str| {
        let run = office.ssh(home, mode, &[flag]).args(["-o", &format!("ServerAliveInterval={interval}")]);
        run.arg(format!("sleep {}; echo out", 2 * IDLE + 2)).start()
    };
    // At the same time, since both take their time.
    let (kept, cut) = (quiet(Mode::Stdio, 1, "--no-resume"), quiet(Mode::Stdio, 0, "--no-resume"));
    let resumed = quiet(Mode::Fdpass, 0, "--resume");
    kept.finish().succeeds().prints("out\n");
    resumed.finish().succeeds().prints("out\n");
    cut.finish().exits(255).prints_nothing();
}

#[test]
fn a_proxy_that_cuts_idle_tunnels_is_survived_by_keepalives() {
    let office = Office::new();
    let tinyproxy = tinyproxy_of(USER, "sekrit", office.tls.port(), IDLE);
    let upstream = format!("http://{USER}:sekrit@{}", tinyproxy.address);
    let squid = office.squid_with(&format!("read_timeout {IDLE} seconds\n"));
    std::thread::scope(|scope| {
        scope.spawn(|| keepalives_hold(&office, &office.home("localhost", &json!({ "upstream_proxy": upstream }))));
        keepalives_hold(&office, &office.home(NAME, &json!({ "upstream_proxy": url("http", &squid) })));
    });
}

/// Proxies cut after 60 seconds, if they are strict.
#[test]
fn our_keepalives_come_twice_a_minute() {
    let office = Office::new();
    let squid = office.squid();
    let home = office.home(NAME, &json!({ "upstream_proxy": url("http", &squid) }));
    let entries = office.kohakuriver(&home, &["ssh", "config"]).output();
    let interval = |text: &str, name: &str| -> Vec<u32> {
        let values = text.split(name).skip(1).map(|rest| rest.split_whitespace().next().unwrap());
        values.map(|value| value.parse().unwrap()).collect()
    };
    let found = interval(&entries.text(), "ServerAliveInterval ");
    entries.succeeds().check(!found.is_empty() && found.iter().all(|&seconds| seconds * 2 <= 60), "keepalives");
    let command = office.kohakuriver(&home, &["vps", "connect", "--dry-run", ID]).output();
    let found = interval(&command.text(), "ServerAliveInterval=");
    command.succeeds().check(found.len() == 1 && found[0] * 2 <= 60, "keepalives");
    // Neither has the password, and both have the proxy.
    for outcome in [entries, command] {
        let shown = url_without_password("http", &squid);
        outcome.check(outcome.text().contains(&format!("--upstream-proxy {shown}")), "the proxy");
        outcome.check(!outcome.text().contains(IN_URL) && !outcome.text().contains(PASSWORD), "no password");
    }
}
