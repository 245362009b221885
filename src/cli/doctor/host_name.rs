//! Whether the names of the Host and of its SSH proxy have addresses.

use std::time::Duration;

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use crate::dial;
use crate::failure::Failure;

/// How long the resolver may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Most addresses that are shown.
const SHOWN: usize = 4;

pub(super) const CHECKS: &[Check] = &[Check { name: "host-name", of_vps: false, examine: host_name }];

fn host_name(case: &mut Case) -> (String, Verdict) {
    let Some(settings) = &case.settings else {
        return ("the Host's name".to_owned(), Verdict::Skipped("there are no settings".to_owned()));
    };
    let mut hosts = vec![settings.host.value.clone()];
    let proxy = settings.ssh_proxy().host;
    if !hosts.contains(&proxy) {
        hosts.push(proxy);
    }
    let tried = format!("the addresses of {}", hosts.join(" and "));
    let mut found = Vec::new();
    for host in &hosts {
        let Some(watch) = case.watch(LIMIT) else {
            return (tried, Verdict::Skipped("this machine has no sockets left".to_owned()));
        };
        match dial::resolve(host, settings.port.value, watch) {
            Ok(addresses) => found.extend(addresses.iter().map(|address| address.ip().to_string())),
            Err(error) => {
                let proxy = settings.proxy.as_ref().filter(|_| *host != settings.host.value);
                let from = proxy.map_or(&settings.host.source, |proxy| &proxy.source);
                let failure = Failure::new(format!("the name {host} has no address"))
                    .because(&error)
                    .cause(format!("it was set by: {from}"))
                    .hint("correct the name; see what is set, and where, with `kohakuriver config show`");
                return (tried, Verdict::wrong(&failure, "kohakuriver config show"));
            }
        }
    }
    found.dedup();
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (tried, Verdict::Fine(format!("{}{more}", found.join(", "))))
}
