//! Clusters whose Host is an https:// one: a login to an unknown key, entries, tokens, and two clusters with a CA each.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::doctor::of_check;
use crate::support::certificates::{Authority, Issued, self_signed};
use crate::support::front::{Front, TlsFront, server_config};
use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::Home;
use crate::support::host_api::{OWNER, host_api};
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::sshd::Sshd;
use crate::support::terminal::Terminal;
use crate::support::tools::{CLI, sh_quote, tool, user};
use crate::support::two_clusters::{CONFIG, WHERE, json_of};

/// The names that the clusters' VPS has.
const NAME: &str = "trainer";

/// A gateway with TLS, and TLS before its Host API, with the same certificate.
struct Site {
    sshd: Sshd,
    gateway: Gateway,
    api: TlsFront,
    tls: SocketAddr,
    /// The gateway's certificate.
    file: PathBuf,
    kept: Home,
}

impl Site {
    fn new(own: &Issued) -> Self {
        let (sshd, kept) = (Sshd::start(), Home::new());
        let file = kept.secret("gateway.pem", &own.pem);
        let mut vps = running(ID, sshd.port);
        vps["name"] = NAME.into();
        let options = ["--tls-listen", "127.0.0.1:0", "--tls-cert", file.to_str().unwrap()];
        let gateway = Gateway::with_inventory_and(&inventory(&[vps]), &options);
        let tls = gateway.process.stderr_line("listening with TLS on ").parse().unwrap();
        let api = TlsFront::new(gateway.api(), server_config(own), Front::Tls);
        Self { sshd, gateway, api, tls, file, kept }
    }

    fn url(&self) -> String {
        format!("https://{}", self.api.address)
    }

    fn proxy(&self) -> String {
        format!("https://{}", self.tls)
    }

    /// The output of [`WHERE`] in a login to the site's sshd.
    fn says(&self) -> String {
        format!("{}\n", self.sshd.host_key_file().parent().unwrap().display())
    }
}

/// A user.
struct User(Home);

impl User {
    fn new() -> Self {
        Self(Home::new())
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::new(CLI, &self.0).args(args)
    }

    fn ssh(&self, host: &str) -> Outcome {
        let own = ["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", &format!("User={}", user())];
        let run = Run::new(tool("ssh"), &self.0).arg("-F").arg(self.0.join(".ssh/config")).args(own);
        run.arg(host).arg(WHERE).output()
    }
}

/// The pin of a server, as the message of a login without a terminal gives it.
fn pin_in(text: &str) -> String {
    let (_, rest) = text.split_once("its key is sha256//").unwrap_or_else(|| panic!("{text}"));
    format!("sha256//{}", &rest[..44])
}

#[test]
fn a_login_to_a_host_that_no_ca_vouches_for_asks_once_about_its_key() {
    let site = Site::new(&self_signed(&["127.0.0.1"]));
    let me = User::new();
    site.sshd.copy_key_to(&me.0.join(&format!(".ssh/id-kohakuriver-{ID}")));
    let (url, proxy) = (site.url(), site.proxy());
    let login = ["login", &url, "--proxy", &proxy];

    // Without a terminal it can't ask.
    let refused = me.run(&login).args(["--cluster", "lab"]).output();
    let pin = pin_in(&refused.stderr);
    let command = format!("`kohakuriver login {url} --cluster lab --pinned-key '{pin}'`");
    refused.exits(2).prints_nothing().says(&["hint: ", "`--ca-file FILE`", &command]);
    assert!(!me.0.join(CONFIG).exists(), "something is stored");
    assert_eq!(me.0.read(".ssh/config"), "");

    let terminal = |answer: &str| {
        let mut terminal = Terminal::with_status(&me.0, "dumb", &login.join(" "));
        terminal.sees(&pin[..20]);
        terminal.sees("Is that the key that the cluster's admin has told you? [y/N] ");
        terminal.types(answer);
        terminal.sees("status=");
        terminal.finish()
    };
    let no = terminal("n\r");
    no.check(no.text().contains("status=1"), "a no");
    assert!(!me.0.join(CONFIG).exists(), "something is stored after a no");
    let yes = terminal("y\r");
    yes.check(yes.text().contains("status=0") && yes.text().matches("[y/N]").count() == 1, "one question");

    let stored = me.0.json(CONFIG);
    assert_eq!((&stored["host"], &stored["pinned_key"]), (&json!(url), &json!(pin)), "{stored}");
    assert!(me.0.read(".ssh/kohakuriver.conf").contains(&pin));
    for name in [NAME, ID] {
        me.ssh(&format!("{name}.kohakuriver")).succeeds().prints(&site.says()).says_nothing();
    }
    // It is known now.
    me.run(&login).output().succeeds().says(&[" is stored in "]);
    me.run(&["vps", "list"]).output().succeeds().says_nothing();

    // Another key is refused, whoever has it.
    fs::write(&site.file, self_signed(&["127.0.0.1"]).pem).unwrap();
    site.gateway.process.signal(Signal::HUP);
    site.gateway.process.wait_for_stderr("the new certificates are in force");
    let refused = me.ssh("trainer.kohakuriver");
    refused.exits(255).says(&["which is not the pinned one", "somebody may be between you and the Host"]);
    let new = pin_in(&refused.stderr);
    assert_ne!(new, pin);
    // The command in the hint, and what it says.
    refused.says(&[&format!("`kohakuriver config set pinned_key '{new}'`")]);
    let set = me.run(&["config", "set", "pinned_key", &format!("{pin};{new}")]).output();
    set.succeeds().says(&["your ssh_config entries have the old value: `kohakuriver ssh config --write`"]);
    me.run(&["ssh", "config", "--write"]).output().succeeds();
    me.ssh("trainer.kohakuriver").succeeds().prints(&site.says());
    drop(site.kept);
}

#[test]
fn two_clusters_with_a_ca_each() {
    let (first, second) = (Authority::new(), Authority::new());
    let (work, lab) = (Site::new(&first.server(1)), Site::new(&second.server(1)));
    let me = User::new();
    for (site, name) in [(&work, "id-kohakuriver"), (&lab, "id-kohakuriver-lab")] {
        site.sshd.copy_key_to(&me.0.join(&format!(".ssh/{name}-{ID}")));
    }
    me.0.write("work.pem", &first.pem);
    me.0.write("certificates/lab.pem", &second.pem);
    // Relative to the working directory, and stored so that it is the same everywhere.
    me.run(&["login", &work.url(), "--proxy", &work.proxy(), "--ca-file", "work.pem"]).output().succeeds();
    let ca = "certificates/lab.pem";
    let login = ["--cluster", "lab", "login", &lab.url(), "--proxy", &lab.proxy(), "--ca-file", ca];
    me.run(&login).output().succeeds();
    let config = me.0.json(CONFIG);
    assert_eq!(config["ca_file"], json!(me.0.join("work.pem")), "{config:#}");
    assert_eq!(config["clusters"]["lab"]["ca_file"], json!(me.0.join(ca)), "{config:#}");
    let entries = me.0.read(".ssh/kohakuriver.conf");
    // With TLS, too, --fdpass takes less CPU than pipes, up and down (benches/README.md).
    for option in [
        format!("--proxy {}", lab.proxy()),
        format!("--ca-file {}", me.0.join(ca).display()),
        format!("kohakuriver-proxy --fdpass --proxy {}", lab.proxy()),
        "ProxyUseFdpass yes\n".to_owned(),
    ] {
        assert!(entries.contains(&option), "{option}\n{entries}");
    }
    assert!(!entries.contains("ProxyUseFdpass no"), "{entries}");

    for (host, site) in [
        ("trainer.kohakuriver".to_owned(), &work),
        (format!("{ID}.kohakuriver"), &work),
        ("trainer.lab.kohakuriver".to_owned(), &lab),
        (format!("{ID}.lab.kohakuriver"), &lab),
    ] {
        me.ssh(&host).succeeds().prints(&site.says()).says_nothing();
    }
    // The host keys were asked for by KnownHostsCommand, over https.
    let known = me.0.read(".ssh/.kohakuriver_known_hosts");
    assert!(
        known.contains(&format!("kohakuriver-{ID},")) && known.contains(&format!("kohakuriver-{ID}.lab,")),
        "{known}"
    );

    for (before, site) in [(&[][..], &work), (&["--cluster", "lab"], &lab)] {
        let words = ["vps", "connect", NAME, "--user", user()];
        let connect = me.run(before).args(words).args(["--", "-F", "none", "-o", "BatchMode=yes", WHERE]).output();
        connect.succeeds().prints(&site.says());
        let listed = json_of(&me.run(before).args(["vps", "list", "--json"]).output());
        assert_eq!(listed[0]["name"], NAME, "{listed:#}");
        let shown = json_of(&me.run(before).args(["config", "show", "--json"]).output());
        assert_eq!((&shown["host"]["value"], &shown["proxy"]["value"]), (&json!(site.url()), &json!(site.proxy())));
        let doctor = me.run(before).args(["doctor", NAME, "--json", "--all", "--user", user()]);
        let report: Value = serde_json::from_slice(&doctor.deadline(120).output().stdout).unwrap();
        for check in ["host-api", "proxy-port", "proxy", "tunnel", "login"] {
            assert_eq!(of_check(&report, check)["verdict"], "ok", "{check}: {report:#}");
        }
    }
    // Written again, by the settings and as the file itself says, entries stay those of their Host.
    let made_by = entries.lines().filter_map(|line| line.strip_prefix("# Made by: kohakuriver "));
    let commands: Vec<_> =
        made_by.chain(["ssh config --write"]).map(|words| format!("{} {words}", sh_quote(CLI))).collect();
    assert_eq!(commands.len(), 3, "{entries}");
    for command in commands {
        let again = Run::new(tool("sh"), &me.0).args(["-c", &command]).output();
        again.succeeds().check(!again.stderr.contains("the entries of cluster"), "the same Host");
        assert_eq!(me.0.read(".ssh/kohakuriver.conf"), entries, "{command}");
    }
    let clusters = me.run(&["cluster", "list"]).output();
    clusters.check(clusters.text().contains(&work.url()) && clusters.text().contains(&lab.url()), "both Hosts");
    let offered = me.run(&[]).completing(&["vps", "connect", "t"]).output();
    assert_eq!(offered.text().lines().collect::<Vec<_>>(), ["trainer", "trainer.lab.kohakuriver"]);

    // Each CA counts for its own cluster.
    let lab_file = me.0.join("work.pem").display().to_string();
    me.run(&["--cluster", "lab", "config", "set", "ca_file", &lab_file]).output().succeeds();
    let heard = lab.api.heard();
    let refused = me.run(&["--cluster", "lab", "vps", "list"]).output();
    refused.exits(1).says(&["cluster lab: ", "`kohakuriver --cluster lab config set ca_file FILE`"]);
    me.run(&["vps", "list"]).output().succeeds();
    assert_eq!(lab.api.heard(), heard, "a server that is not trusted has heard something");
}

/// A token belongs to a scheme, a host and a port.
#[test]
fn a_token_goes_to_its_own_origin_alone() {
    let authority = Authority::new();
    let plain = host_api(vec![running(ID, 22)]);
    let front = TlsFront::new(plain.address, server_config(&authority.server(1)), Front::Tls);
    let ca = authority.file.to_str().unwrap();
    for (own, other) in [
        (format!("http://{}", plain.address), format!("https://{}", plain.address)),
        (format!("https://{}", front.address), format!("http://{}", front.address)),
    ] {
        let me = User::new();
        let login = me.run(&["login", &own, "--proxy", "127.0.0.1:1", "--ca-file", ca, "--token-stdin"]);
        login.stdin(OWNER).output().succeeds();
        let token = || json_of(&me.run(&["config", "show", "--json"]).output())["token"]["value"].clone();
        assert_eq!(token(), "set", "{own}");
        me.run(&["auth", "status"]).output().succeeds();
        me.run(&["config", "set", "host", &other]).output().succeeds();
        assert_eq!(token(), "none", "{own} and {other}");
        me.run(&["config", "set", "host", &own]).output().succeeds();
        assert_eq!(token(), "set", "{own}");
        // A flag that names the other one gets none either.
        let shown = json_of(&me.run(&["--host", &other, "config", "show", "--json"]).output());
        assert_eq!(shown["token"]["value"], "none", "{shown:#}");
    }
}
