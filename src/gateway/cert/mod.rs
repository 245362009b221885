//! `kohakuriver-gateway cert`: certificates for a cluster without a public name.
//!
//! A CA of the cluster's own signs the certificate of the server, and those of clients. Users get the CA's certificate once.
//! That certificate stays the same when the server's is renewed, and so does the server's key, which some users pin.
//!
//! The CA has no name constraints: it outlives the names of a cluster, and users would need a new file for each new name.
//! Our programs trust it for this cluster only.
//!
//! This room serves nothing. Only the start of the gateway knows it.

mod arguments;
mod authority;
mod files;
mod pair;
mod printed;
#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{KeyPair, PublicKeyData as _};

use crate::failure::Failure;
use crate::sys;
pub(super) use arguments::Arguments;
use arguments::{ClientName, Name};
use authority::{Authority, Purpose};
use files::{Files, NewFile};
use pair::Pair;

/// Makes what the command line says, and tells what it is for.
///
/// # Errors
/// When a file that exists can't be used, or a new one can't be written. Then nothing has changed.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = make(arguments, since_epoch.as_secs())?;
    // The files are there: a reader that has gone changes nothing.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// [`run`] at the time `now`, in seconds since 1970. Returns the text to print.
fn make(arguments: &Arguments, now: u64) -> Result<String, Failure> {
    let folder = std::path::absolute(&arguments.dir).unwrap_or_else(|_| arguments.dir.clone());
    let ca = Ca::open(&folder, arguments.client.is_none(), now)?;
    match &arguments.client {
        Some(client) => for_client(arguments, client, &folder, &ca, now),
        None => for_server(arguments, &folder, ca, now),
    }
}

/// The CA of a folder.
struct Ca {
    authority: Authority,
    files: Files,
    is_new: bool,
}

impl Ca {
    /// The CA in `folder`. If there is none, a new one that is not written yet, where that is `wanted`.
    fn open(folder: &Path, wanted: bool, now: u64) -> Result<Self, Failure> {
        let files = Files::of(folder, "ca");
        match Pair::read(&files, "the CA")? {
            Some(pair) => {
                let authority = Authority::load(pair, now).map_err(|why| {
                    Failure::usage(format!("cannot sign with the CA {}", files.certificate.display()))
                        .cause(why)
                        .hint("move ca.pem and ca.key away to make a new CA; users need the new ca.pem then")
                })?;
                Ok(Self { authority, files, is_new: false })
            }
            None if wanted => {
                let authority = Authority::new(&sys::host_name(), now).map_err(|error| cannot_make("a CA", &error))?;
                Ok(Self { authority, files, is_new: true })
            }
            None => Err(Failure::usage(format!("there is no CA in {}", folder.display()))
                .cause("the same CA signs the certificates of the server and of clients")
                .hint("make one with `kohakuriver-gateway cert`, or name its folder with --dir")),
        }
    }

    fn new_files(&self) -> Vec<NewFile> {
        if !self.is_new {
            return Vec::new();
        }
        vec![
            NewFile::private(&self.files.key, self.authority.key_pem(), false),
            NewFile::public(&self.files.certificate, self.authority.pem.clone(), false),
        ]
    }
}

fn for_server(arguments: &Arguments, folder: &Path, ca: Ca, now: u64) -> Result<String, Failure> {
    let files = Files::of(folder, "server");
    let old = renewable(&files, &ca, "the server")?;
    let names = match (&arguments.name[..], &old) {
        ([], Some(old)) => old.names(),
        ([], None) => Vec::new(),
        (given, _) => given.to_vec(),
    };
    let names = if names.is_empty() { Name::of_this_machine(&sys::host_name()) } else { Name::unique(names) };
    let issued = issue(&ca, &Purpose::Server(&names), old, arguments, now)?;
    let mut new = ca.new_files();
    new.extend(issued.files(&files));
    files::write(folder, &new)?;
    Ok(printed::server(&printed::Server {
        folder,
        names: &names,
        ca: &ca.authority,
        ca_is_new: ca.is_new,
        until: issued.until,
        is_renewal: issued.is_renewal,
        pin: &issued.pin,
    }))
}

fn for_client(arguments: &Arguments, client: &ClientName, folder: &Path, ca: &Ca, now: u64) -> Result<String, Failure> {
    let files = Files::of(folder, client.as_str());
    let old = renewable(&files, ca, &format!("the client {}", client.as_str()))?;
    let issued = issue(ca, &Purpose::Client(client), old, arguments, now)?;
    files::write(folder, &issued.files(&files))?;
    Ok(printed::client(folder, client, issued.until, issued.is_renewal))
}

/// The certificate in `files` and its key, which `ca` has signed. Another one is not replaced.
fn renewable(files: &Files, ca: &Ca, whose: &str) -> Result<Option<Pair>, Failure> {
    let Some(old) = Pair::read(files, whose)? else { return Ok(None) };
    if ca.is_new || !ca.authority.has_signed(&old) {
        let by = if ca.is_new { "a new CA can't renew it" } else { "another CA than ca.pem has signed it" };
        return Err(Failure::usage(format!("cannot replace {}", files.certificate.display())).cause(by).hint(format!(
            "move it and {} away to make new ones, or name another folder with --dir",
            files.key.display()
        )));
    }
    Ok(Some(old))
}

/// A certificate that is not written yet.
struct Issued {
    pem: String,
    /// `None` if the key stays.
    new_key: Option<String>,
    is_renewal: bool,
    until: u64,
    pin: String,
}

impl Issued {
    /// The key comes first: whoever reads a certificate finds its key.
    fn files(&self, files: &Files) -> Vec<NewFile> {
        let key = self.new_key.as_ref().map(|key| NewFile::private(&files.key, key.clone(), self.is_renewal));
        let certificate = NewFile::public(&files.certificate, self.pem.clone(), self.is_renewal);
        key.into_iter().chain([certificate]).collect()
    }
}

fn issue(
    ca: &Ca,
    purpose: &Purpose<'_>,
    old: Option<Pair>,
    arguments: &Arguments,
    now: u64,
) -> Result<Issued, Failure> {
    let failed = |error: &rcgen::Error| cannot_make("a certificate", error);
    let is_renewal = old.is_some();
    let (key, is_new) = match old {
        Some(old) if !arguments.new_key => (old.key, false),
        _ => (KeyPair::generate().map_err(|error| failed(&error))?, true),
    };
    let (pem, until) = ca.authority.sign(purpose, &key, arguments.days, now).map_err(|error| failed(&error))?;
    let pin = authority::pin(&key.subject_public_key_info());
    Ok(Issued { pem, new_key: is_new.then(|| key.serialize_pem()), is_renewal, until, pin })
}

fn cannot_make(what: &str, error: &rcgen::Error) -> Failure {
    Failure::new(format!("cannot make {what}")).because(error)
}
