//! Warnings about a gateway that anyone can use.

use std::net::SocketAddr;
use std::time::Duration;

use crate::failure::Failure;
use crate::gateway::decide::directory::Directory;
use crate::gateway::decide::policy;
use crate::gateway::front::terms::Terms;
use crate::gateway::watch::records::Records;

/// The pause before a Host that didn't answer is asked again.
const HOST_PAUSE: Duration = Duration::from_secs(10);

/// Warns the admin if every client that can connect to one of the `listening` addresses may reach every VPS. It waits
/// until the Host answers.
pub(crate) async fn warn(listening: &[SocketAddr], directory: &Directory, terms: &Terms, records: &Records) {
    if terms.proxy_protocol && terms.proxy_from.is_empty() && policy::is_wide_open(listening, None) {
        let failure = Failure::new("anyone who can connect to this gateway may claim to come from any address");
        let failure = failure.cause("--proxy-protocol believes the header, and it listens beyond this machine");
        records.notices.warn(&failure.hint("name the proxies with --proxy-from"));
    }
    if matches!(directory, Directory::Host(_)) && terms.rules.current().runners.is_none() {
        let failure = Failure::new("anyone who can register a Runner at the Host decides where this gateway connects");
        let failure = failure.cause("a Host takes every registration, and no network of Runners is set");
        records.notices.warn(&failure.hint("name the networks of the Runners with --allow-runner"));
    }
    if !policy::is_wide_open(listening, terms.rules.current().clients.as_ref()) {
        return;
    }
    let open_to_everyone = loop {
        match directory.is_open_to_everyone(&records.metrics).await {
            Some(open) => break open,
            None => tokio::time::sleep(HOST_PAUSE).await,
        }
    };
    if open_to_everyone {
        let failure = Failure::new("anyone who can connect to this gateway reaches every VPS");
        let failure = failure.cause("there is no authentication, and it listens beyond this machine");
        records.notices.warn(&failure.hint("name the networks to serve with --allow"));
    }
}
