//! When files count as changed, which of them come into force, and what the admin hears of their ends.

use super::*;
use crate::gateway::watch::notices::tests::Heard;
use crate::settings::Trust;
use crate::tls::ClientConfig;
use crate::tls::tests::{Authority, Issued};
use rcgen::{DistinguishedName, DnType};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::UNIX_EPOCH;
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The files of a TLS port called `gpu.example`, and what its admin hears of them.
pub(in crate::gateway) struct Scene {
    pub(in crate::gateway) authority: Authority,
    folder: TempDir,
    heard: Heard,
}

impl Scene {
    pub(in crate::gateway) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scene = Self { authority: Authority::new(), folder, heard: Heard::default() };
        scene.renew();
        scene
    }

    /// Replaces a file by a new one.
    fn put(&self, name: &str, text: &str) -> PathBuf {
        let [path, new] = [name.to_owned(), format!("{name}.new")].map(|name| self.folder.path().join(name));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }

    fn put_pair(&self, name: &str, issued: &Issued) -> [PathBuf; 2] {
        [("pem", &issued.pem), ("key", &issued.key_pem)].map(|(end, text)| self.put(&format!("{name}.{end}"), text))
    }

    /// Puts a new certificate into the place of the old one.
    fn renew(&self) {
        self.put_pair("own", &self.authority.issue(&["gpu.example"], |_| {}));
    }

    /// Opens the files. `of_clients_too`: a client needs a certificate of the same authority.
    pub(in crate::gateway) fn open(&self, of_clients_too: bool) -> Arc<Certificates> {
        let [certificate, key] = ["own.pem", "own.key"].map(|name| self.folder.path().join(name));
        let client_ca = of_clients_too.then(|| self.authority.file());
        let files = Files { certificate, key, client_ca };
        Arc::new(Certificates::open(files, Notices::to(self.heard.clone())).unwrap())
    }

    /// A client with a certificate of this name.
    pub(in crate::gateway) fn client_with_certificate(&self, name: &str) -> ClientConfig {
        let [certificate, key] = self.put_pair(
            name,
            &self.authority.issue(&[], |params| {
                params.distinguished_name = DistinguishedName::new();
                params.distinguished_name.push(DnType::CommonName, name);
            }),
        );
        let ca_file = Some(self.authority.file());
        let (client_cert, client_key) = (Some(certificate), Some(key));
        ClientConfig::load(&Trust { ca_file, client_cert, client_key, ..Trust::default() }).unwrap()
    }
}

/// Lets the last look at the files be long ago.
fn long_ago(certificates: &Certificates) {
    lock(&certificates.seen).at = Instant::now().checked_sub(2 * PAUSE).unwrap();
}

/// Lets the last look at the files be so recent that no time passes until the next one.
fn just_now(certificates: &Certificates) {
    lock(&certificates.seen).at = Instant::now() + DAY;
}

#[test]
fn a_change_is_noticed_once_and_not_right_after_another_look() {
    let scene = Scene::new();
    let [plain, of_clients_too] = [false, true].map(|of_clients_too| scene.open(of_clients_too));
    assert!(!plain.are_of_clients_too() && of_clients_too.are_of_clients_too());
    let have_changed = |look: fn(&Certificates)| {
        [&plain, &of_clients_too].map(|certificates| {
            look(certificates);
            certificates.have_changed()
        })
    };
    assert_eq!(have_changed(long_ago), [false; 2], "nothing has changed");
    scene.renew();
    assert_eq!(have_changed(just_now), [false; 2], "the files are looked at too often");
    assert_eq!(have_changed(long_ago), [true; 2]);
    assert_eq!(have_changed(long_ago), [false; 2], "a change is noticed twice");
    // The file of the clients' authorities, where it counts. A file that is gone has changed, too.
    std::fs::remove_file(scene.authority.file()).unwrap();
    assert_eq!(have_changed(long_ago), [false, true]);
}

#[tokio::test]
async fn new_files_come_into_force_and_files_that_can_not_be_used_leave_the_old_ones_there() {
    let scene = Scene::new();
    let certificates = scene.open(false);
    let said = |text: &str| scene.heard.messages().matches(text).count();
    let next = async |look: fn(&Certificates)| {
        look(&certificates);
        certificates.current().await
    };
    let first = next(long_ago).await;
    assert!(Arc::ptr_eq(&first, &next(long_ago).await) && scene.heard.text().is_empty(), "nothing has changed");
    scene.renew();
    let second = next(long_ago).await;
    assert!(!Arc::ptr_eq(&first, &second), "the old certificate stays");
    assert_eq!(said("the new certificates are in force\n"), 1);
    // Another certificate's key: certbot changes both one by one. It is said once for each change, and each time that an
    // admin asks for it.
    scene.put("own.key", &scene.authority.issue(&["gpu.example"], |_| {}).key_pem);
    for asks in [false, false, true] {
        if asks {
            certificates.reload();
        }
        assert!(Arc::ptr_eq(&second, &next(long_ago).await), "the old certificate does not stay");
        assert_eq!(said("cannot use the private key"), if asks { 2 } else { 1 });
    }
    assert_eq!(said("the certificates in force stay"), 2);
    scene.renew();
    just_now(&certificates);
    certificates.reload();
    assert!(!Arc::ptr_eq(&second, &next(just_now).await), "nothing is read again");
    assert_eq!(said("the new certificates are in force\n"), 2);
}

#[test]
fn a_certificate_that_has_ended_or_will_soon_is_warned_about_when_it_is_read() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let soon = "ends soon: on ";
    for (until, expected) in [
        (now + 365 * DAY, None),
        (now + 15 * DAY, None),
        (now + 13 * DAY, Some(soon)),
        (now - DAY, Some("has ended: on ")),
    ] {
        let scene = Scene::new();
        let issued = scene.authority.issue(&["gpu.example"], |params| {
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + until;
        });
        let [file, _] = scene.put_pair("own", &issued);
        let certificates = scene.open(true);
        certificates.reload();
        let text = scene.heard.messages();
        assert_eq!(text.matches("the certificate in ").count(), if expected.is_some() { 2 } else { 0 }, "{text}");
        assert_eq!(text.matches(expected.unwrap_or(soon)).count(), if expected.is_some() { 2 } else { 0 }, "{text}");
        // The first of the clients' authorities that ends counts as well.
        let ends = certificates.ends();
        assert_eq!(ends.iter().map(|end| &end.file).collect::<Vec<_>>(), [&file, &scene.authority.file()]);
        assert_eq!(ends[0].until, UNIX_EPOCH + Duration::from_secs(until.as_secs()));
    }
}
