//! The words of the command at its end: the files, and the next steps.

use std::path::Path;

use super::arguments::{ClientName, Name};
use super::authority::{Authority, day};
use crate::gateway::words::PROGRAM;
use crate::sys::Shell;

/// The port in the examples.
const PORT: u16 = 8443;

/// The facts about a server's certificate that are printed.
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
    let (ca_until, until) = (day(ca.until), day(made.until));
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
    if made.until == ca.until {
        text += "The certificate ends with its CA: make a new CA before that.\n";
    }
    let (certificate, key) = (quoted(&folder.join("server.pem")), quoted(&folder.join("server.key")));
    text += "\nStart the gateway with it:\n";
    text += &format!("  {PROGRAM} --tls-listen '[::]:{PORT}' --tls-cert {certificate} --tls-key {key} --api-proxy\n");
    let url = names.first().map_or_else(|| "localhost".to_owned(), Name::in_url);
    text += "\nGive users ca.pem, and no other file. They type:\n";
    // A shell may take brackets for a pattern.
    let url = quoted(Path::new(&format!("https://{url}:{PORT}")));
    text += &format!("  kohakuriver login {url} --ca-file ca.pem\n");
    text += &format!("\nThe pin of the server's key, for users who pin it:\n  {pin}\n");
    text += &format!("\nBefore {until}, renew the certificate. Users keep ca.pem, and the pin stays:\n");
    text + &format!("  {PROGRAM} cert --dir {}\n", quoted(folder))
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
        ca = quoted(&ca),
    )
}

/// `path` as a word for a POSIX shell.
fn quoted(path: &Path) -> String {
    Shell::Posix.word(path.as_os_str()).display().to_string()
}
