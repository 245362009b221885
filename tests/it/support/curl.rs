//! The system's curl as a client of the gateway, with no helper of ours.

use std::net::SocketAddr;

use super::home::Home;
use super::run::Run;
use super::tools::tool;

/// The gateway's answer as curl understood it.
pub(crate) struct Connected {
    /// The status of the answer to its CONNECT.
    pub(crate) status: u16,
    /// The head of that answer, lines ended by LF.
    pub(crate) head: String,
}

impl Connected {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Asks for a tunnel to `target`, as in `42.kohakuriver:22`, with this value of `Proxy-Authorization`, if any. What is
/// in the tunnel doesn't matter: whatever answers there is no web server.
pub(crate) fn curl(gateway: SocketAddr, target: &str, authorization: Option<&str>) -> Connected {
    let home = Home::new();
    let mut run = Run::new(tool("curl"), &home).args(["-sS", "--http0.9", "-m", "30", "-o", "body", "-D", "-", "-p"]);
    run = run.args(["-w", "status %{http_connect}\n", "-x"]).arg(format!("http://{gateway}"));
    if let Some(value) = authorization {
        run = run.arg("--proxy-header").arg(format!("Proxy-Authorization: {value}"));
    }
    let outcome = run.arg(format!("http://{target}/")).output();
    let text = outcome.text().replace("\r\n", "\n");
    let (head, status) = text.rsplit_once("status ").unwrap_or_else(|| panic!("{outcome}"));
    let status = status.trim().parse().unwrap_or_else(|error| panic!("{error}\n{outcome}"));
    Connected { status, head: head.to_owned() }
}
