//! The files that the command makes, as our own TLS sees them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use rustls::server::UnbufferedServerConnection;
use tempfile::TempDir;

use super::*;
use crate::gateway::front::certificates;
use crate::settings::Trust;
use crate::tls::Fault;
use crate::tls::tests::shake_hands_with;

/// A time: 2026-11-23.
const NOW: u64 = 1_795_435_200;
const DAY: u64 = 86_400;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

/// The arguments of a command line.
fn arguments(folder: &Path, words: &str) -> Arguments {
    let words = ["cert", "--dir", folder.to_str().unwrap()].into_iter().chain(words.split_whitespace());
    // The flag for help is the parser's own here.
    let definition = <Line as clap::CommandFactory>::command().disable_help_flag(true);
    <Line as clap::FromArgMatches>::from_arg_matches(&definition.try_get_matches_from(words).unwrap())
        .unwrap()
        .arguments
}

fn made(folder: &Path, words: &str) -> String {
    make(&arguments(folder, words), unix_now()).unwrap()
}

fn refused(folder: &Path, words: &str, now: u64) -> String {
    let before = contents(folder);
    let failure = make(&arguments(folder, words), now).unwrap_err();
    assert_eq!(contents(folder), before, "{failure:?}");
    failure.render("p")
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let entry =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default());
    entries.map(|found| entry(found.unwrap())).collect()
}

fn trust(folder: &Path) -> Trust {
    Trust { ca_file: Some(folder.join("ca.pem")), ..Trust::default() }
}

/// The server of a gateway with the files in `folder`. It may ask for a client's certificate.
fn server(folder: &Path, asks: bool) -> UnbufferedServerConnection {
    let [certificate, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|name| folder.join(name));
    let files = certificates::Files { certificate, key, client_ca: asks.then_some(ca) };
    UnbufferedServerConnection::new(files.read().unwrap().config).unwrap()
}

/// The handshake of a client with this trust, which connects to `name`. Both ends must be content.
fn shake_hands(trust: &Trust, name: &str, server: UnbufferedServerConnection) -> Result<(), Fault> {
    let (client, server) = shake_hands_with(name, trust, server);
    client.and(server)
}

#[test]
fn our_clients_trust_the_server_under_its_names_only() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("new/folder");
    let text = made(&folder, "--name gpu-head --name 10.0.0.5 --name 2001:db8::1");
    let expected = ["ca.key", "ca.pem", "server.key", "server.pem"];
    assert_eq!(contents(&folder).keys().collect::<Vec<_>>(), expected);
    for name in ["gpu-head", "GPU-HEAD", "10.0.0.5", "2001:db8::1"] {
        assert_eq!(shake_hands(&trust(&folder), name, server(&folder, false)), Ok(()), "{name}");
    }
    for name in ["localhost", "gpu-head.example.org", "10.0.0.6"] {
        let fault = shake_hands(&trust(&folder), name, server(&folder, false)).unwrap_err();
        assert!(matches!(fault, Fault::WrongName(_)), "{name}: {fault}");
    }
    let pin = text.lines().map(str::trim).find(|line| line.starts_with("sha256//")).unwrap();
    let pinned = Trust { pins: Some(pin.parse().unwrap()), ..Trust::default() };
    assert_eq!(shake_hands(&pinned, "any.name", server(&folder, false)), Ok(()));
    // Public files have the permissions of any new file, which the umask decides.
    fs::write(folder.join("new"), "").unwrap();
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().mode() & 0o777;
    assert_eq!(["ca.key", "server.key"].map(mode), [0o600; 2]);
    assert_eq!(["ca.pem", "server.pem"].map(mode), [mode("new"); 2]);
}

#[test]
fn a_renewal_keeps_the_ca_the_names_and_the_key() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    made(folder, "--name gpu-head --name 10.0.0.5");
    fs::set_permissions(folder.join("server.key"), fs::Permissions::from_mode(0o640)).unwrap();
    let first = contents(folder);
    let text = made(folder, "");
    assert!(text.contains("a renewed certificate for gpu-head, 10.0.0.5, until"), "{text}");
    let second = contents(folder);
    let changed = |a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>| {
        let names = a.keys().filter(|name| a[*name] != b[*name]);
        names.cloned().collect::<Vec<_>>()
    };
    assert_eq!(changed(&first, &second), ["server.pem"]);
    assert_eq!(shake_hands(&trust(folder), "10.0.0.5", server(folder, false)), Ok(()));
    // An expired one is renewed as well. The new names count.
    make(&arguments(folder, "--days 1"), unix_now() - 30 * DAY).unwrap();
    let fault = shake_hands(&trust(folder), "gpu-head", server(folder, false)).unwrap_err();
    assert!(matches!(fault, Fault::Expired(_)), "{fault}");
    made(folder, "--name gpu.example.org --new-key");
    let third = contents(folder);
    assert_eq!(changed(&second, &third), ["server.key", "server.pem"]);
    assert_eq!(fs::metadata(folder.join("server.key")).unwrap().mode() & 0o777, 0o640);
    assert_eq!(shake_hands(&trust(folder), "gpu.example.org", server(folder, false)), Ok(()));
    assert!(shake_hands(&trust(folder), "gpu-head", server(folder, false)).is_err());
}

#[test]
fn a_client_certificate_is_one_of_a_client_only() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let told = refused(folder, "--client alice", unix_now());
    assert!(told.contains("there is no CA in") && told.contains("kohakuriver-gateway cert"), "{told}");
    made(folder, "--name gpu-head");
    let text = made(folder, "--client alice");
    assert!(text.contains("alice.pem  a certificate for the client alice"), "{text}");
    let alice = Trust {
        client_cert: Some(folder.join("alice.pem")),
        client_key: Some(folder.join("alice.key")),
        ..trust(folder)
    };
    assert_eq!(shake_hands(&alice, "gpu-head", server(folder, true)), Ok(()));
    assert!(shake_hands(&trust(folder), "gpu-head", server(folder, true)).is_err());
    let as_server = Trust {
        client_cert: Some(folder.join("server.pem")),
        client_key: Some(folder.join("server.key")),
        ..trust(folder)
    };
    assert!(shake_hands(&as_server, "gpu-head", server(folder, true)).is_err());
    let before = contents(folder);
    assert!(made(folder, "--client alice").contains("a renewed certificate"));
    assert_eq!(contents(folder)["alice.key"], before["alice.key"]);
    assert_ne!(contents(folder)["alice.pem"], before["alice.pem"]);
    // The key of the server stays out of it.
    assert_eq!(contents(folder)["server.pem"], before["server.pem"]);
}

#[test]
fn nothing_of_another_origin_is_replaced() {
    let (ours, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (ours, other) = (ours.path(), other.path());
    made(ours, "--name a");
    made(other, "--name a");
    let copy = |from: &Path, name: &str, to: &Path, as_name: &str| {
        fs::copy(from.join(name), to.join(as_name)).unwrap();
    };
    let check = |change: &dyn Fn(&Path), words: &str, now: u64, parts: &[&str]| {
        let folder = TempDir::new().unwrap();
        for name in contents(ours).keys() {
            copy(ours, name, folder.path(), name);
        }
        change(folder.path());
        let told = refused(folder.path(), words, now);
        assert!(parts.iter().all(|part| told.contains(part)) && told.contains("hint: "), "{parts:?}: {told}");
    };
    let remove = |name: &'static str| move |folder: &Path| fs::remove_file(folder.join(name)).unwrap();
    let now = unix_now();
    check(&remove("ca.key"), "", now, &["ca.key is missing", "ca.pem is there"]);
    check(&remove("ca.pem"), "", now, &["ca.pem is missing", "ca.key is there"]);
    check(&remove("server.key"), "", now, &["server.key is missing"]);
    check(&remove("server.pem"), "", now, &["server.pem is missing"]);
    let both = |folder: &Path| ["ca.pem", "ca.key"].iter().for_each(|name| fs::remove_file(folder.join(name)).unwrap());
    check(&both, "", now, &["cannot replace", "a new CA can't renew it", "--dir"]);
    let server = |folder: &Path| ["server.pem", "server.key"].iter().for_each(|name| copy(other, name, folder, name));
    check(&server, "", now, &["cannot replace", "another CA than ca.pem has signed it"]);
    check(&|folder| copy(other, "ca.key", folder, "ca.key"), "", now, &["ca.key is not its private key"]);
    check(&|folder| copy(other, "server.key", folder, "server.key"), "", now, &["server.key is not its private key"]);
    let leaf = |folder: &Path| {
        copy(ours, "server.pem", folder, "ca.pem");
        copy(ours, "server.key", folder, "ca.key");
    };
    check(&leaf, "", now, &["cannot sign with the CA", "it is not a certificate of a CA"]);
    check(&|_| {}, "", now + 3700 * DAY, &["cannot sign with the CA", "it has expired, on 20"]);
    check(&|folder| fs::write(folder.join("ca.pem"), "x").unwrap(), "", now, &["it has no certificate"]);
    check(&|folder| fs::write(folder.join("server.key"), "x").unwrap(), "", now, &["it has no private key"]);
    let open = |folder: &Path| {
        fs::set_permissions(folder.join("ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
    };
    check(&open, "", now, &["everybody may read it"]);
    let link = |folder: &Path| {
        fs::remove_file(folder.join("server.pem")).unwrap();
        symlink(folder.join("nothing"), folder.join("server.pem")).unwrap();
    };
    check(&link, "", now, &["server.pem"]);
}

#[test]
fn an_error_leaves_nothing_behind() {
    let home = TempDir::new().unwrap();
    // A file in the place of the folder.
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let failure = make(&arguments(&file.join("x"), "--name a"), NOW).unwrap_err();
    assert!(failure.render("p").contains("hint: "), "{failure:?}");
    // The third of three files can't be put there.
    let folder = home.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::create_dir(folder.join("in-the-way")).unwrap();
    let new = |name: &str| NewFile::public(&folder.join(name), "x".to_owned(), false);
    let failure = files::write(&folder, &[new("a"), new("b"), new("in-the-way")]).unwrap_err();
    assert!(failure.what().ends_with("in-the-way"), "{failure:?}");
    assert_eq!(contents(&folder).keys().collect::<Vec<_>>(), ["in-the-way"]);
}

#[test]
fn a_certificate_ends_in_time_and_no_later_than_its_ca() {
    let home = TempDir::new().unwrap();
    let end = |folder: &Path| {
        let pair = Pair::read(&Files::of(folder, "server"), "x").unwrap().unwrap();
        pair::until(&pair::parse(&pair.certificate).unwrap())
    };
    let folder = home.path().join("a");
    make(&arguments(&folder, "--name a --days 10"), NOW).unwrap();
    assert_eq!(end(&folder), NOW - 3600 + 10 * DAY - 1);
    let text = make(&arguments(&folder, "--days 825"), NOW + 3000 * DAY).unwrap();
    assert_eq!(end(&folder), NOW - 3600 + 3650 * DAY - 1);
    assert!(text.contains("ends with its CA"), "{text}");
}

#[test]
fn two_certificates_have_different_serial_numbers() {
    let folder = TempDir::new().unwrap();
    let serial = || {
        let pair = Pair::read(&Files::of(folder.path(), "server"), "x").unwrap().unwrap();
        pair::parse(&pair.certificate).unwrap().raw_serial().to_vec()
    };
    made(folder.path(), "--name a");
    let first = serial();
    made(folder.path(), "");
    assert_ne!(serial(), first);
    assert_eq!((serial().len(), first.len()), (16, 16));
}
