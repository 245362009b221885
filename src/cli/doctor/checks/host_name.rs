//! Whether the names of the Host and of its SSH proxy have addresses, unless an upstream proxy resolves them.

use std::time::Duration;

use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::{SHOW, Verdict};
use crate::dial::{self, Watch};
use crate::failure::Failure;
use crate::route::{Route, Upstream};
use crate::settings::{Origin, Settings};

/// How long the resolver may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Most addresses in the report.
const SHOWN: usize = 4;

pub(super) struct HostName<'a> {
    pub(super) settings: &'a Given<Settings>,
}

impl Check for HostName<'_> {
    const NAME: &'static str = "host-name";
    type Gives = ();

    fn tried(&self) -> String {
        match self.settings {
            Ok(settings) => {
                let hosts = servers(settings).into_iter().map(|server| server.host);
                format!("the addresses of {}", once(hosts.collect()).join(" and "))
            }
            Err(_) => "the address of the Host".to_owned(),
        }
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        let settings = self.settings.as_ref()?;
        let mut found = Vec::new();
        let mut resolvers = Vec::new();
        let mut resolved_here: Vec<String> = Vec::new();
        for server in servers(settings) {
            let route = Route::of(settings, &server).map_err(|failure| Verdict::wrong(&failure, SHOW))?;
            match route.upstream.filter(Upstream::resolves) {
                Some(upstream) => resolvers.push(format!("{} resolves {}", upstream.named(), server.host)),
                None if resolved_here.contains(&server.host) => {}
                None => {
                    found.extend(addresses(&server, settings)?);
                    resolved_here.push(server.host);
                }
            }
        }
        let found = if found.is_empty() { Vec::new() } else { vec![shown(found)] };
        Ok(Verdict::Fine([found, once(resolvers)].concat().join("; ")).into())
    }
}

/// The addresses of `server`.
fn addresses(server: &Origin, settings: &Settings) -> Result<Vec<String>, Verdict> {
    let host = &server.host;
    let addresses = dial::resolve(host, server.port, Watch::at_most(LIMIT)).map_err(|error| {
        let proxy = settings.proxy.as_ref().filter(|_| *host != settings.host.value);
        let from = proxy.map_or(&settings.host.source, |proxy| &proxy.source);
        let failure = Failure::new(format!("the name {host} has no address"))
            .because(&error)
            .cause(format!("the name was set by: {from}"))
            .hint(format!("correct the name; to see each setting and its source: `{SHOW}`"));
        Verdict::wrong(&failure, SHOW)
    })?;
    Ok(addresses.iter().map(|address| address.ip().to_string()).collect())
}

/// The Host API and the SSH proxy.
fn servers(settings: &Settings) -> [Origin; 2] {
    [settings.api(), settings.ssh_proxy()]
}

fn once(mut texts: Vec<String>) -> Vec<String> {
    texts.dedup();
    texts
}

fn shown(mut addresses: Vec<String>) -> String {
    addresses.dedup();
    let more = addresses.len().saturating_sub(SHOWN);
    addresses.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", addresses.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{ConfigFile, Flags, UpstreamSetting};

    #[test]
    fn a_name_with_many_addresses_is_cut() {
        let addresses = |count: u8| (0..count).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>();
        assert_eq!(shown(addresses(4)), "10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3");
        assert_eq!(shown([addresses(1), addresses(6)].concat()), "10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3 and 2 more");
    }

    /// Behind a proxy, many machines can't resolve names of the internet.
    #[test]
    fn a_name_that_the_proxy_resolves_is_not_looked_up() {
        let settings = |host: &str, proxy: &str| {
            let upstream_proxy = Some(UpstreamSetting::from_flag(proxy).unwrap());
            let flags = Flags { host: Some(host.to_owned()), upstream_proxy, ..Flags::default() };
            Settings::resolve(flags, &|_| None, ConfigFile::default()).unwrap()
        };
        for proxy in ["http://proxy.invalid:3128", "https://proxy.invalid", "socks5h://proxy.invalid"] {
            let given = Ok(settings("https://gpu.invalid", proxy));
            let Ok(Examined { verdict: Verdict::Fine(text), .. }) = HostName { settings: &given }.examine() else {
                panic!("{proxy}")
            };
            let (by, what) = text.split_once(" resolves ").unwrap();
            assert!(by.starts_with("the upstream proxy at proxy.invalid:") && what == "gpu.invalid", "{text}");
        }
        for proxy in ["none", "socks5://proxy.invalid"] {
            let given = Ok(settings("https://gpu.invalid", proxy));
            assert!(HostName { settings: &given }.examine().is_err(), "{proxy}");
        }
    }
}
