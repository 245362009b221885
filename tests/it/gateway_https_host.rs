//! A gateway that asks its Host by https, at a real web server in front of the Host API.

use rustix::process::Signal;
use serde_json::json;

use crate::support::certificates::Authority;
use crate::support::fronts::{Behind, Front, Running};
use crate::support::gateway::{Gateway, running};
use crate::support::home::Home;
use crate::support::host_api::{OWNER, STRANGER, host_api};
use crate::support::older_host::OlderHost;
use crate::support::peers::{GREETING, Peer, greeter};
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::tools::{GATEWAY, HELPER};
use crate::support::tunnels::UNWATCHED;
use crate::support::two_clusters::CONFIG;

/// A Host with authentication on, a web server with TLS in front of it, and a VPS.
struct Site {
    vps: Peer,
    host: Peer,
    authority: Authority,
    front: Running,
}

impl Site {
    fn new(front: Front) -> Self {
        let (vps, authority) = (greeter(), Authority::new());
        let host = host_api(vec![running(ID, vps.address.port())]);
        let front = Behind { authority: &authority, gateway: host.address, name: "localhost" }.start(front);
        Self { vps, host, authority, front }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.front.proxy.address.port())
    }

    fn ca(&self) -> &str {
        self.authority.file.to_str().unwrap()
    }
}

/// The outcome of the helper, with this token, at a gateway.
fn asks(gateway: &Gateway, token: Option<&str>) -> Outcome {
    let home = Home::new();
    let run = Run::new(HELPER, &home).args(["--proxy", &gateway.address.to_string(), ID]);
    token.into_iter().fold(run, |run, token| run.env("KOHAKURIVER_TOKEN", token)).output()
}

/// Each caller gets what the Host gives to the token.
fn serves(gateway: Gateway) {
    asks(&gateway, Some(OWNER)).succeeds().prints(GREETING).says_nothing();
    asks(&gateway, Some(STRANGER)).exits(1).says(&["answered 403 ", "the Host shows a VPS to its owner"]);
    asks(&gateway, None).exits(1).says(&["answered 407 ", "the Host wants a token"]);
    tells(gateway, None);
}

/// Ends the gateway, which has told its admin this once, or nothing, and nobody a token.
fn tells(gateway: Gateway, warning: Option<&[&str]>) {
    gateway.process.signal(Signal::TERM);
    let all = gateway.process.finish();
    let warnings: Vec<_> = all.stderr.lines().filter(|line| line.contains(" WARN ")).collect();
    assert_eq!(warnings.len(), usize::from(warning.is_some()), "{all}");
    all.says(warning.unwrap_or_default());
    let is_silent = [OWNER, STRANGER].iter().all(|token| !all.text().contains(token) && !all.stderr.contains(token));
    all.check(is_silent, "no token");
}

#[test]
fn users_get_their_vpses_by_their_tokens() {
    for front in [Front::NginxHttp, Front::Caddy] {
        let site = Site::new(front);
        serves(Gateway::with_host_api_and(&site.url(), &["--host-api-ca", site.ca()]));
        site.vps.finish();
    }
}

/// The CAs of the system, and those of the settings.
#[test]
fn without_the_option_other_cas_count() {
    let (site, home) = (Site::new(Front::NginxHttp), Home::new());
    let program = Run::new(GATEWAY, &home).env("SSL_CERT_FILE", site.ca());
    serves(Gateway::with_host_api_run(program, &site.url(), &[]));
    home.write(CONFIG, json!({ "host": site.url(), "ca_file": site.ca() }).to_string());
    serves(Gateway::with_settings_of(&home));
}

#[test]
fn a_host_that_is_not_trusted_hears_nothing_and_the_admin_hears_why() {
    let (site, other) = (Site::new(Front::NginxHttp), Authority::new());
    let (url, other) = (site.url(), other.file.to_str().unwrap().to_owned());
    let without_tls = OlderHost::start(&[]);
    let plain = format!("https://{}", without_tls.api);
    let unknown = "no CA that is trusted here has signed its certificate";
    let name_it = "ask the cluster's admin for the file of its CA, and name it: `--host-api-ca FILE`\"";
    let settings = Home::new();
    settings.write(CONFIG, json!({ "host": url, "ca_file": other }).to_string());
    let set_it = "`kohakuriver config set ca_file FILE`";
    for (gateway, url, why, hint) in [
        (Gateway::with_host_api(&url), &url, unknown, name_it),
        (Gateway::with_host_api_and(&url, &["--host-api-ca", &other]), &url, unknown, name_it),
        (Gateway::with_settings_of(&settings), &url, unknown, set_it),
        (Gateway::with_host_api(&plain), &plain, "it does not speak TLS", "this port may take plain HTTP: name it as"),
    ] {
        // Twice: the admin hears of it once a minute.
        for _ in 0..2 {
            let refused = asks(&gateway, Some(OWNER));
            let hint = "tell the gateway's admin: the gateway's log says what helps";
            refused.exits(1).prints_nothing().says(&["answered 502 ", why]);
            refused.fails_with("kohakuriver-proxy", "the gateway can't connect to the Host API by TLS", hint);
            // The address of the API is for the admin alone.
            refused.check(!refused.stderr.contains(url.as_str()), "no address of the Host API");
        }
        tells(
            gateway,
            Some(&[&format!(" WARN the Host API at {url} can't be used: "), &format!("can't be reached: {why}"), hint]),
        );
    }
    assert_eq!(site.host.accepted(), 0);
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let home = Home::new();
    let empty = home.write("empty.pem", "");
    for (file, why) in [("/nonexistent", "it can't be read: "), (empty.to_str().unwrap(), "it has no certificate: ")] {
        let run = Run::new(GATEWAY, &home).args(["--host-api", "https://localhost:1", "--host-api-ca", file]);
        let refused = run.args(UNWATCHED).output();
        refused.exits(2).says(&[&format!("cannot use the file of CAs {file} cause="), why, " hint="]);
    }
}
