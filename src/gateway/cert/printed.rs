//! What the command says at its end: the files, and what to do with them.

use std::ffi::OsString;
use std::path::Path;

use super::arguments::{ClientName, Name};
use super::authority::Authority;
use super::day::day;
use crate::gateway::words::PROGRAM;
use crate::ssh::quote::{shell_line, shell_word};

/// The port in the examples.
const PORT: u16 = 8443;

/// What there is to say about the files of a server.
pub(super) struct Server<'a> {
    pub(super) folder: &'a Path,
    pub(super) names: &'a [Name],
    pub(super) ca: &'a Authority,
    pub(super) ca_is_new: bool,
    pub(super) until: u64,
    pub(super) is_renewal: bool,
    pub(super) pin: &'a str,
}

/// The text about the files of a server.
pub(super) fn server(made: &Server<'_>) -> String {
    let Server { folder, names, ca, pin, .. } = made;
    let (ca_until, until) = (day(ca.until()), day(made.until));
    let listed = names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ");
    let mut text = format!("In {}:\n", folder.display());
    if made.ca_is_new {
        text += &format!("  ca.pem      a new CA, until {ca_until}\n");
        text += "  ca.key      signs certificates: keep it private, keep a copy, and give it to nobody\n";
    } else {
        text += &format!("  ca.pem      the CA as before, until {ca_until}\n");
    }
    let kind = if made.is_renewal { "a renewed certificate" } else { "a certificate" };
    text += &format!("  server.pem  {kind} for {listed}, until {until}\n");
    text += "  server.key  its private key\n";
    if made.until == ca.until() {
        text += "The certificate ends with its CA: make a new CA before that.\n";
    }
    let file = |name: &str| folder.join(name).into_os_string();
    let tls = |option: &str, name: &str| [OsString::from(option), file(name)];
    let serve = [PROGRAM.into(), "--tls-listen".into(), format!("[::]:{PORT}").into()];
    let serve =
        shell_line(serve.into_iter().chain(tls("--tls-cert", "server.pem")).chain(tls("--tls-key", "server.key")));
    text += &format!("\nStart the gateway with it:\n  {}\n", serve.to_string_lossy());
    let url = names.first().map_or_else(|| "localhost".to_owned(), Name::in_url);
    let log_in = shell_line(["kohakuriver", "login", &format!("https://{url}:{PORT}"), "--ca-file", "ca.pem"]);
    text += &format!("\nGive users ca.pem, and no other file. They type:\n  {}\n", log_in.to_string_lossy());
    text += &format!("\nThe pin of the server's key, for users who pin it:\n  {pin}\n");
    let again = shell_line([PROGRAM.into(), "cert".into(), "--dir".into(), folder.as_os_str().to_owned()]);
    text += &format!("\nBefore {until}, renew the certificate. Users keep ca.pem, and the pin stays:\n");
    text + &format!("  {}\n", again.to_string_lossy())
}

/// The text about the files of a client.
pub(super) fn client(folder: &Path, client: &ClientName, until: u64, is_renewal: bool) -> String {
    let name = client.as_str();
    let kind = if is_renewal { "a renewed certificate" } else { "a certificate" };
    let ca = folder.join("ca.pem");
    format!(
        "In {folder}:\n  {name}.pem  {kind} for the client {name}, until {until}\n  {name}.key  its private key\n\n\
         Give {name} both files and ca.pem, in a way that nobody else can read. {name} stores them in a folder, and types:\n\
         \x20 kohakuriver config set client_cert FOLDER/{name}.pem\n  kohakuriver config set client_key FOLDER/{name}.key\n\n\
         With this option, too, the gateway serves only clients with such a certificate:\n  --tls-client-ca {ca}\n",
        folder = folder.display(),
        until = day(until),
        ca = shell_word(ca.as_os_str()).to_string_lossy(),
    )
}
