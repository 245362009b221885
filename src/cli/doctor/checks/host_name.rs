//! Whether the names of the Host and of its SSH proxy have addresses.

use std::time::Duration;

use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::dial::{self, Watch};
use crate::failure::Failure;
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

    #[test]
    fn a_name_with_many_addresses_is_cut() {
        let addresses = |count: u8| (0..count).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>();
        assert_eq!(shown(addresses(4)), "10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3");
        assert_eq!(shown([addresses(1), addresses(6)].concat()), "10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3 and 2 more");
    }
}
