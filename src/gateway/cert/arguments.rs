//! The command line of `kohakuriver-gateway cert`, as typed.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ArgAction;
use rustls::pki_types::DnsName;

use crate::target::without_brackets;

/// The longest time that Apple's systems accept in a certificate of one's own CA.
const MAX_DAYS: i64 = 825;
/// How long a certificate is valid without `--days`: more than about a year is against the advice for servers.
const DEFAULT_DAYS: u32 = 365;
/// The longest name in a subject (RFC 5280, ub-common-name).
const MAX_SUBJECT: usize = 64;

/// Make a CA and a server certificate for a cluster without a public name
///
/// The CA is made once, and signs each later certificate. The same command makes the server's certificate anew before it
/// expires: users keep ca.pem. Without --name, the new certificate has the names of the old one, and without --new-key, it
/// has the key of the old one.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Name or address that users connect to; may be given several times
    #[arg(
        long,
        value_name = "NAME",
        help = "Name or address that users connect to; may be given several times \
                  [default: this machine's host name, and localhost]"
    )]
    pub(super) name: Vec<Name>,

    /// Folder of the files; it is made if it is missing
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(super) dir: PathBuf,

    /// Make the certificate valid for this many days, at most 825
    ///
    /// Apple's systems accept no longer ones. A certificate ends no later than its CA, which is valid for ten years.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_DAYS,
          value_parser = clap::value_parser!(u32).range(1..=MAX_DAYS))]
    pub(super) days: u32,

    /// Make a certificate for this client instead, signed by the CA in the folder
    ///
    /// A gateway with `--tls-client-ca ca.pem` serves clients with such a certificate only.
    #[arg(long, value_name = "CLIENT", conflicts_with = "name")]
    pub(super) client: Option<ClientName>,

    /// Make a new private key when a certificate is made anew; users who pin the key need the new pin
    #[arg(long)]
    pub(super) new_key: bool,

    /// Print help
    // As the gateway's own.
    #[arg(long, short = 'h', action = ArgAction::HelpShort)]
    help: Option<bool>,
}

const AFTER_HELP: &str = "\
Files:
  ca.pem      The CA: the only file for users
  ca.key      Signs certificates: for nobody else, and not needed to serve
  server.pem  The server's certificate, for --tls-cert
  server.key  Its private key, for --tls-key

Exit status:
  0  Success
  1  A file could not be written
  2  Wrong usage, or a file in the folder can't be used

Examples:
  kohakuriver-gateway cert --name gpu-head --name 10.0.0.5
  kohakuriver-gateway cert --dir /etc/kohakuriver --client alice";

/// A name or an address in the server's certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    Dns(String),
    Address(IpAddr),
}

impl Name {
    /// The names of this machine, whose host name is `own`.
    pub(super) fn of_this_machine(own: &str) -> Vec<Self> {
        // A host name may be one that no certificate can have.
        let own = own.parse().ok();
        Self::unique(own.into_iter().chain([Self::Dns("localhost".to_owned())]).collect())
    }

    /// `names` without repetitions, in their order.
    pub(super) fn unique(names: Vec<Self>) -> Vec<Self> {
        names.into_iter().fold(Vec::new(), |mut unique, name| {
            if !unique.contains(&name) {
                unique.push(name);
            }
            unique
        })
    }

    /// The name in a URL.
    pub(super) fn in_url(&self) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]"),
            name => name.to_string(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = without_brackets(typed).parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        // A name with a dot at its end is the same name, but certificates have none.
        let name = typed.strip_suffix('.').unwrap_or(typed).to_ascii_lowercase();
        match DnsName::try_from(name.as_str()) {
            Ok(_) => Ok(Self::Dns(name)),
            Err(_) if !typed.is_ascii() => Err("write it as in DNS, with xn--"),
            Err(_) => Err("it is neither a host name, such as gpu-head or gpu.example.org, nor an IP address"),
        }
    }
}

/// The name of a client, and of its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClientName(String);

impl ClientName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientName {
    type Err = &'static str;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
        let is_plain = typed.starts_with(|c: char| c.is_ascii_alphanumeric()) && typed.chars().all(is_plain);
        match typed {
            _ if typed.eq_ignore_ascii_case("ca") || typed.eq_ignore_ascii_case("server") => {
                Err("the files of the CA and of the server have this name")
            }
            _ if !is_plain || typed.len() > MAX_SUBJECT => Err(
                "it is not a name of at most 64 letters, digits and `.`, `_`, `-`, `@`, which begins with a letter or digit",
            ),
            _ => Ok(Self(typed.to_owned())),
        }
    }
}

/// The name of a certificate's subject: the first one that is short enough.
pub(super) fn subject_of(names: &[Name]) -> String {
    let names = names.iter().map(Name::to_string);
    names.into_iter().find(|name| name.len() <= MAX_SUBJECT).unwrap_or_else(|| "kohakuriver-gateway".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        let dns = |name: &str| Ok(Name::Dns(name.to_owned()));
        let address = |address: &str| Ok(Name::Address(address.parse().unwrap()));
        for (typed, expected) in [
            ("gpu-head", dns("gpu-head")),
            ("GPU.Example.org.", dns("gpu.example.org")),
            ("node_1", dns("node_1")),
            ("10.0.0.5", address("10.0.0.5")),
            ("::ffff:10.0.0.5", address("10.0.0.5")),
            ("[2001:db8::1]", address("2001:db8::1")),
        ] {
            assert_eq!(typed.parse::<Name>(), expected, "{typed}");
        }
        for wrong in ["", "a b", "https://gpu-head", "gpu-head:8443", "10.0.0.5:1", "*.example.org", "-x", "a..b", "."]
        {
            assert!(wrong.parse::<Name>().unwrap_err().starts_with("it is neither"), "{wrong}");
        }
        assert!("gpü".parse::<Name>().unwrap_err().contains("xn--"));
        let own = |name| Name::of_this_machine(name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(own("GPU-Head"), ["gpu-head", "localhost"]);
        assert_eq!(own("localhost"), ["localhost"]);
        assert_eq!(own("not a name"), ["localhost"]);
        let name: Name = "2001:db8::1".parse().unwrap();
        assert_eq!((name.in_url().as_str(), subject_of(&[name]).as_str()), ("[2001:db8::1]", "2001:db8::1"));
        assert_eq!(subject_of(&[Name::Dns("x".repeat(65))]), "kohakuriver-gateway");
    }

    #[test]
    fn names_of_clients_are_names_of_files() {
        for name in ["alice", "alice@lab.example", "7", "a-b_c.d"] {
            assert_eq!(name.parse::<ClientName>().unwrap().as_str(), name);
        }
        let long = "x".repeat(65);
        for wrong in ["", "a b", "../x", "/etc/x", ".x", "-x", "ca", "CA", "server", "a\nb", "é", &long] {
            assert!(wrong.parse::<ClientName>().is_err(), "{wrong:?}");
        }
    }
}
