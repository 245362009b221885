//! Whether the names of the Host and of its SSH proxy have addresses.

use std::net::IpAddr;
use std::time::Duration;

use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::dial::{self, Watch};
use crate::failure::Failure;
use crate::route::Route;
use crate::settings::Settings;

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
            Ok(settings) => format!("the addresses of {}", hosts(settings).join(" and ")),
            Err(_) => "the address of the Host".to_owned(),
        }
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        let settings = self.settings.as_ref()?;
        let mut found = Vec::new();
        for host in &hosts(settings) {
            if let Some(proxy) = resolving_proxy(settings, host) {
                found.push(format!("{host} is resolved by {proxy}"));
                continue;
            }
            let addresses = dial::resolve(host, settings.port.value, Watch::at_most(LIMIT)).map_err(|error| {
                let proxy = settings.proxy.as_ref().filter(|_| *host != settings.host.value);
                let from = proxy.map_or(&settings.host.source, |proxy| &proxy.source);
                let failure = Failure::new(format!("the name {host} has no address"))
                    .because(&error)
                    .cause(format!("the name was set by: {from}"))
                    .hint("correct the name; to see each setting and its source: `kohakuriver config show`");
                Verdict::wrong(&failure, "kohakuriver config show")
            })?;
            found.extend(addresses.iter().map(|address| address.ip().to_string()));
        }
        Ok(Verdict::Fine(shown(found)).into())
    }
}

/// The Host, and its SSH proxy where that is another machine.
fn hosts(settings: &Settings) -> Vec<String> {
    let mut hosts = vec![settings.host.value.clone()];
    let proxy = settings.ssh_proxy().host;
    if !hosts.contains(&proxy) {
        hosts.push(proxy);
    }
    hosts
}

/// The upstream proxy, if it resolves the name `host`. This machine may not know the name then, and need not.
fn resolving_proxy(settings: &Settings, host: &str) -> Option<String> {
    let origin = [settings.api(), settings.ssh_proxy()].into_iter().find(|origin| origin.host == host)?;
    // Settings that can't be used are another check's.
    let upstream = Route::of(settings, &origin).ok()?.upstream?;
    (upstream.resolves() && host.parse::<IpAddr>().is_err()).then(|| upstream.named())
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
            assert!(text.starts_with("gpu.invalid is resolved by the upstream proxy at proxy.invalid:"), "{text}");
        }
        for (host, proxy) in [("gpu.invalid", "none"), ("gpu.invalid", "socks5://proxy.invalid"), ("::1", "http://p")] {
            assert_eq!(resolving_proxy(&settings(host, proxy), host), None, "{host} {proxy}");
        }
    }
}
