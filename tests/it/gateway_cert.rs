//! `kohakuriver-gateway cert`, judged by OpenSSL.

use std::fs;

use crate::support::home::{Home, mode};
use crate::support::run::{Outcome, Run};
use crate::support::tools::{GATEWAY, tool};

fn cert(home: &Home, words: &[&str]) -> Outcome {
    Run::new(GATEWAY, home).args(["cert", "--dir", "tls"]).args(words).output()
}

/// OpenSSL in the folder of the files.
fn openssl(home: &Home, words: &str) -> Outcome {
    let words = words.split_whitespace().map(|word| match word.split_once('.') {
        Some((_, "pem" | "key")) => home.join("tls").join(word).to_str().unwrap().to_owned(),
        _ => word.to_owned(),
    });
    Run::new(tool("openssl"), home).args(words).output()
}

#[test]
fn openssl_verifies_the_chain_the_names_and_the_purposes() {
    let home = Home::new();
    let made = cert(&home, &["--name", "gpu-head", "--name", "gpu.example.org", "--name", "10.0.0.5", "--name", "::1"]);
    made.succeeds().check(made.stderr.is_empty(), "nothing on stderr");
    let folder = home.join("tls");
    let folder = folder.to_str().unwrap();
    for line in [
        &format!("--tls-listen '[::]:8443' --tls-cert {folder}/server.pem --tls-key {folder}/server.key --api-proxy\n"),
        "  kohakuriver login https://gpu-head:8443 --ca-file ca.pem\n",
        "  server.pem  a certificate for gpu-head, gpu.example.org, 10.0.0.5, ::1, until ",
    ] {
        made.check(made.text().contains(line), line);
    }
    cert(&home, &["--client", "alice"]).succeeds();

    for (purpose, file, is_right) in [
        ("sslserver", "server.pem", true),
        ("sslclient", "server.pem", false),
        ("sslclient", "alice.pem", true),
        ("sslserver", "alice.pem", false),
    ] {
        let words = format!("verify -x509_strict -purpose {purpose} -CAfile ca.pem {file}");
        let verified = openssl(&home, &words);
        verified.check(verified.status.success() == is_right, &words);
    }
    for (check, matches) in [
        ("-checkhost gpu-head", true),
        ("-checkhost gpu.example.org", true),
        ("-checkhost localhost", false),
        ("-checkip 10.0.0.5", true),
        ("-checkip ::1", true),
        ("-checkip 10.0.0.6", false),
    ] {
        let checked = openssl(&home, &format!("x509 -in server.pem -noout {check}"));
        checked.check(checked.text().contains("does match certificate") == matches, check);
    }
    let ca = openssl(&home, "x509 -in ca.pem -noout -text");
    for part in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign"] {
        ca.check(ca.text().contains(part), part);
    }
    let subject = openssl(&home, "x509 -in alice.pem -noout -subject -nameopt RFC2253");
    subject.prints("subject=CN=alice\n");

    let pin = made.text().lines().find_map(|line| line.trim().strip_prefix("sha256//").map(str::to_owned)).unwrap();
    let script = "openssl pkey -in tls/server.key -pubout -outform der | openssl dgst -sha256 -binary | base64";
    Run::new(tool("sh"), &home).args(["-c", script]).output().prints(&format!("{pin}\n"));
}

#[test]
fn a_renewal_is_for_the_same_ca_and_names() {
    let home = Home::new();
    cert(&home, &["--name", "gpu-head", "--days", "1"]).succeeds();
    let read = |name: &str| fs::read(home.join("tls").join(name)).unwrap();
    let before = ["ca.pem", "ca.key", "server.key", "server.pem"].map(read);
    let renewed = cert(&home, &[]);
    renewed.succeeds().check(renewed.text().contains("a renewed certificate for gpu-head, until "), "the names");
    let after = ["ca.pem", "ca.key", "server.key", "server.pem"].map(read);
    assert_eq!(before[..3], after[..3]);
    assert_ne!(before[3], after[3]);
    openssl(&home, "verify -x509_strict -purpose sslserver -CAfile ca.pem server.pem").succeeds();
    for name in ["ca.key", "server.key"] {
        assert_eq!(mode(&home.join("tls").join(name)), 0o600);
    }
}

#[test]
fn wrong_usage_says_what_helps_and_leaves_no_file() {
    let home = Home::new();
    for (words, what, cause) in [
        (&["--name", "gpu head"][..], "invalid value 'gpu head' for '--name <NAME>'", "it is neither a host name"),
        (&["--days", "0"], "invalid value '0' for '--days <N>'", "0 is not in 1..=825"),
        (&["--days", "826"], "invalid value '826' for '--days <N>'", "826 is not in 1..=825"),
        (&["--client", "../x"], "invalid value '../x' for '--client <CLIENT>'", "it is not a name"),
    ] {
        let outcome = cert(&home, words);
        outcome.exits(2).prints_nothing().fails_with(
            "kohakuriver-gateway",
            what,
            "see `kohakuriver-gateway cert --help`",
        );
        outcome.says(&[cause]);
    }
    let serving = Run::new(GATEWAY, &home).args(["--listen", "127.0.0.1:0", "cert"]).output();
    serving.exits(2).says(&["the subcommand 'cert' cannot be used with '--listen <ADDR>'"]);
    home.write("file", "");
    let blocked = Run::new(GATEWAY, &home).args(["cert", "--dir", "file/x"]).output();
    blocked.exits(2).says(&["  caused by: Not a directory", "--dir"]);
    assert!(!home.join("tls").exists());
}
