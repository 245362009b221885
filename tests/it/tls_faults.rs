//! Each fault of TLS has a message and a hint of its own, in the helper, in the command, in doctor and in `login`.

use std::any::Any;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::{Value, json};

use crate::doctor::of_check;
use crate::support::certificates::{Authority, Issued, self_signed};
use crate::support::front::{Front, TlsFront, server_config, strict_config};
use crate::support::home::Home;
use crate::support::host_api::plain_host_api;
use crate::support::peers::Peer;
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER, tool};
use crate::support::two_clusters::CONFIG;

/// One thing that is wrong.
struct Fault {
    name: &'static str,
    address: SocketAddr,
    /// `https`, or `http` for a server that wants TLS.
    scheme: &'static str,
    /// The settings of the cluster beside its Host.
    keys: Value,
    message: String,
    /// `SET` stands for `kohakuriver --cluster lab config set`, and `SERVER` for the server.
    hint: &'static str,
    _kept: Box<dyn Any>,
}

impl Fault {
    fn new(name: &'static str, server: (SocketAddr, Box<dyn Any>), message: &str, hint: &'static str) -> Self {
        let (address, kept) = server;
        Self { name, address, scheme: "https", keys: json!({}), message: message.to_owned(), hint, _kept: kept }
    }

    fn with(self, keys: Value) -> Self {
        Self { keys, ..self }
    }

    /// The same, for what `command` is typed before the settings in a hint.
    fn hint(&self, set: &str, show: &str) -> String {
        let hint = self.hint.replace("SET ca_file ", &set.replace("KEY", "ca_file"));
        let hint = hint.replace("SET pinned_key ", &set.replace("KEY", "pinned_key"));
        let hint = hint.replace("SET client_cert ", &set.replace("KEY", "client_cert"));
        hint.replace("; SHOW", show).replace("SERVER", &self.address.to_string())
    }

    fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The same settings as options.
    fn options(&self) -> impl Iterator<Item = String> {
        let keys = ["ca_file", "pinned_key", "client_cert"].into_iter();
        let of_key = |key: &str| Some([format!("--{}", key.replace('_', "-")), self.keys[key].as_str()?.to_owned()]);
        keys.filter_map(of_key).flatten()
    }

    /// A home whose cluster `lab` has this server as its Host, beside another cluster.
    fn home(&self) -> Home {
        let home = Home::new();
        let mut lab = self.keys.clone();
        lab["host"] = self.url().into();
        if self.scheme == "http" {
            lab["ssh_proxy_port"] = self.address.port().into();
        }
        let clusters = json!({ "work": { "host": "gpu-head" }, "lab": lab });
        home.write(CONFIG, json!({ "default_cluster": "work", "clusters": clusters }).to_string());
        home
    }
}

/// A server with TLS before a Host.
fn tls(config: rustls::ServerConfig) -> (SocketAddr, Box<dyn Any>) {
    let inner = plain_host_api(Vec::new());
    let front = TlsFront::new(inner.address, config, Front::Tls);
    (front.address, Box::new((front, inner)))
}

/// A server that takes the client's first bytes, and answers with these.
fn answering(answer: &'static [u8]) -> (SocketAddr, Box<dyn Any>) {
    let peer = Peer::serve(move |mut stream| {
        let read = stream.read(&mut [0; 4096])?;
        // A check may only have connected.
        if read > 0 {
            stream.write_all(answer)?;
        }
        Ok(())
    });
    (peer.address, Box::new(peer))
}

/// OpenSSL's server, with nothing but TLS 1.1.
fn old_tls(own: &Issued) -> (SocketAddr, Box<dyn Any>) {
    let home = Home::new();
    let file = home.secret("own.pem", &own.pem);
    let run = Run::new(tool("openssl"), &home).args(["s_server", "-4", "-accept", "127.0.0.1:0", "-tls1_1", "-cert"]);
    let process = run.arg(&file).args(["-cipher", "DEFAULT@SECLEVEL=0"]).stdin_open().deadline(600).start();
    let port = process.wait_for("its port", DEADLINE, |seen| {
        let text = String::from_utf8_lossy(&seen.stdout).into_owned();
        let (_, rest) = text.split_once("ACCEPT ")?;
        let (line, _) = rest.split_once('\n')?;
        line.rsplit_once(':')?.1.trim().parse().ok()
    });
    (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Box::new((process, home)))
}

const SET_CA: &str = "name it: `SET ca_file FILE`";
const SET_PIN: &str = "`SET pinned_key 'sha256//";
const SET_CERTIFICATE: &str = "name it: `SET client_cert FILE`";
const CLOCK: &str = "`date -u`";

fn faults(authority: &Authority, other: &Authority) -> Vec<Fault> {
    let date = rcgen::date_time_ymd;
    let here = &["127.0.0.1"];
    let of = |issued: &Issued| tls(server_config(issued));
    let expired = authority.issue_as(2, "x", here, |params| params.not_after = date(2020, 1, 2));
    let later = authority.issue_as(3, "x", here, |params| params.not_before = date(2100, 1, 2));
    let good = authority.server(1);
    let ca = json!({ "ca_file": authority.file });
    let pinned = json!({ "pinned_key": "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" });
    let own = |name: &str, serial: u64, by: &Authority| {
        let file = authority.home.secret(name, &by.issue(serial, "alice", &[]).pem);
        json!({ "ca_file": authority.file, "client_cert": file })
    };
    let strict = || tls(strict_config(&good, authority, &[66]));
    let no_ca = "no CA that is trusted here has signed its certificate";
    let refused = "it refused the client's certificate: ";
    let versions = "it has no TLS in common with this program: it speaks neither TLS 1.3 nor TLS 1.2";
    let page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let mut all = vec![
        Fault::new("expired", of(&expired), "its certificate expired at 2020-01-02T00:00:00Z", CLOCK),
        Fault::new("not yet valid", of(&later), "its certificate is not valid before 2100-01-02T00:00:00Z", CLOCK),
        Fault::new(
            "wrong name",
            of(&authority.issue(4, "x", &["a.example", "b.example"])),
            "its certificate is for a.example, b.example",
            "name the Host as its certificate does; SHOW",
        ),
        Fault::new("unknown CA", of(&other.server(1)), no_ca, SET_CA),
        Fault::new(
            "self-signed",
            of(&self_signed(here)),
            "its certificate is self-signed, and its key is sha256//",
            SET_PIN,
        ),
        Fault::new("no certificate of the client", strict(), "it wants a certificate of the client", SET_CERTIFICATE),
        Fault::new("plain port", answering(page), "it does not speak TLS; it answered `HTTP/1.1 400 Bad Request`", {
            "name it as http://SERVER; SHOW"
        }),
        Fault::new("cut off", answering(b"\x16\x03\x03\x00\x7a\x02"), "it was cut off: TLS was not ended", "try again"),
        Fault::new("closed", answering(b""), "the connection ended during the TLS handshake: ", {
            "check that this port speaks TLS; SHOW"
        }),
        Fault::new("TLS 1.1", old_tls(&good), versions, "`openssl s_client -connect SERVER`"),
    ];
    for fault in &mut all {
        fault.keys = ca.clone();
    }
    let revoked = own("revoked.pem", 66, authority);
    let stranger = own("stranger.pem", 7, other);
    all.extend([
        Fault::new("wrong pin", of(&good), "which is not the pinned one", SET_PIN).with(pinned),
        Fault::new("CA unknown to the system", of(&good), no_ca, SET_CA),
        Fault::new("revoked", strict(), &format!("{refused}it is revoked"), SET_CERTIFICATE).with(revoked),
        Fault::new(
            "CA unknown there",
            strict(),
            &format!("{refused}its signature is not valid there"),
            SET_CERTIFICATE,
        )
        .with(stranger),
        Fault {
            scheme: "http",
            ..Fault::new(
                "TLS port",
                of(&good),
                "it speaks TLS, as an HTTPS server does",
                "name it as https://SERVER; SHOW",
            )
        },
    ]);
    all
}

/// Calls `check` with each fault, and fails the test with all that is wrong.
fn each_fault(check: impl Fn(&Fault, &Home) -> Result<(), String>) {
    let (authority, other) = (Authority::new(), Authority::new());
    let wrong: Vec<String> = faults(&authority, &other)
        .iter()
        .filter_map(|fault| check(fault, &fault.home()).err().map(|why| format!("{}: {why}", fault.name)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

const SET: &str = "kohakuriver --cluster lab config set KEY ";
const SHOW: &str = "; `kohakuriver --cluster lab config show` shows where it is set";

fn holds(text: &str, parts: &[&str]) -> Result<(), String> {
    match parts.iter().find(|part| !text.contains(**part)) {
        Some(part) => Err(format!("no {part:?} in\n{text}")),
        None => Ok(()),
    }
}

#[test]
fn the_helper_names_each() {
    each_fault(|fault, home| {
        let run = Run::new(HELPER, home).args(["--cluster", "lab", ID]).output();
        run.exits(1).prints_nothing();
        holds(&run.stderr, &["kohakuriver-proxy: cluster lab: ", &fault.message, "  hint: ", &fault.hint(SET, SHOW)])
    });
}

#[test]
fn the_helper_that_knows_no_cluster_names_options() {
    each_fault(|fault, home| {
        let proxy = if fault.scheme == "http" { fault.address.to_string() } else { fault.url() };
        let run = Run::new(HELPER, home).args(["--proxy", &proxy]).args(fault.options()).arg(ID).output();
        run.exits(1).prints_nothing();
        holds(&run.stderr, &[&fault.message, "  hint: ", &as_options(fault)])
    });
}

impl Fault {
    /// The message of the client of the Host's API.
    fn message_of_api(&self) -> &str {
        if self.scheme == "http" { "gave an unusable answer: it is not HTTP" } else { &self.message }
    }
}

/// The hint where nothing is stored.
fn as_options(fault: &Fault) -> String {
    let hint = fault.hint("--KEY ", "");
    ["ca_file", "pinned_key", "client_cert"]
        .into_iter()
        .fold(hint, |hint, key| hint.replace(&format!("--{key}"), &format!("--{}", key.replace('_', "-"))))
}

#[test]
fn the_command_names_each() {
    each_fault(|fault, home| {
        let run = Run::new(CLI, home).args(["--cluster", "lab", "vps", "list"]).output();
        run.exits(1).prints_nothing();
        holds(&run.stderr, &["kohakuriver: cluster lab: ", fault.message_of_api(), "  hint: ", &fault.hint(SET, SHOW)])
    });
}

#[test]
fn login_names_each_with_its_own_options() {
    each_fault(|fault, home| {
        let before = std::fs::read(home.join(CONFIG)).unwrap();
        let run = Run::new(CLI, home).args(["login", &fault.url(), "--cluster", "new"]).args(fault.options()).output();
        run.check_fails().prints_nothing();
        assert_eq!(std::fs::read(home.join(CONFIG)).unwrap(), before);
        if fault.name == "CA unknown to the system" {
            // It asks about the key, and nobody is there.
            return holds(
                &run.stderr,
                &["its key is sha256//", "  hint: ", "`--ca-file FILE`", "--pinned-key 'sha256//"],
            );
        }
        holds(&run.stderr, &[fault.message_of_api(), "  hint: ", &as_options(fault)])
    });
}

#[test]
fn doctor_names_each() {
    each_fault(|fault, home| {
        let run = Run::new(CLI, home).args(["--cluster", "lab", "doctor", "--json", "--all"]).deadline(120).output();
        let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
        let text = |check: &str| {
            let found = of_check(&report, check);
            (found["verdict"] == "wrong").then(|| format!("{} {}", found, found["command"]))
        };
        // The command of a hint stands beside it.
        let hint = fault.hint(SET, SHOW);
        let command = hint.split('`').nth(1).filter(|command| !command.is_empty());
        let proxy = text("proxy-port").or_else(|| text("proxy")).unwrap_or_else(|| panic!("{report:#}"));
        let api = text("host-api").unwrap_or_else(|| panic!("{report:#}"));
        let of_proxy = if fault.scheme == "http" { "it answered in TLS" } else { &fault.message };
        for (found, message) in [(&proxy, of_proxy), (&api, fault.message_of_api())] {
            holds(found, &[message])?;
            holds(found, &[command.unwrap_or(hint.as_str()).trim_end_matches(SHOW)])?;
        }
        Ok(())
    });
}

/// A file that can't be used is named, by each program.
#[test]
fn a_file_that_is_missing_is_named() {
    let authority = Authority::new();
    let (address, _kept) = tls(server_config(&authority.server(1)));
    let home = Home::new();
    let missing = Path::new("/nonexistent/ca.pem");
    home.write(CONFIG, json!({ "host": format!("https://{address}"), "ca_file": missing }).to_string());
    let what = ["cannot use the file of CAs /nonexistent/ca.pem", "it can't be read", "  hint: "];
    Run::new(HELPER, &home).arg(ID).output().exits(2).says(&what);
    Run::new(CLI, &home).args(["vps", "list"]).output().check_fails().says(&what);
    let doctor = Run::new(CLI, &home).args(["doctor", "--json"]).output();
    doctor.check(doctor.text().contains(what[0]), what[0]);
}
