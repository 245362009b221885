//! The kind of server that answered a CONNECT: a gateway of this project, an older Host, or something else.
//!
//! [`connect::read`] finds the end of the answer and tells the protocols apart; this module looks at the fields of an
//! answer in HTTP, which only a diagnosis needs.

use super::connect::{self, Answer};
use super::{Step, first_line, head_end, http};
use crate::text::{excerpt, excerpt_bytes};

/// How the `Server` field of our gateway begins.
const GATEWAY: &str = "kohakuriver-gateway";

/// Names of HTTP proxies in a `Server` field.
const PROXIES: [&str; 7] = ["squid", "tinyproxy", "privoxy", "proxy", "haproxy", "envoy", "varnish"];

/// Fields that only HTTP proxies send.
const PROXY_FIELDS: [&str; 6] =
    ["via", "proxy-authenticate", "proxy-connection", "proxy-agent", "x-squid-error", "proxy-status"];

/// The kind of server that answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Server {
    /// A gateway of this project. Holds its version, where it names one.
    Gateway(Option<String>),
    /// The SSH proxy of an older Host, which knows only the line protocol.
    OlderHost,
    /// Another server that speaks HTTP.
    Http {
        /// An HTTP proxy rather than a web server.
        is_proxy: bool,
        /// The status code and the reason phrase.
        status: String,
        /// The `Server` field, in lower case.
        name: Option<String>,
    },
    /// An SSH server. Holds its banner.
    Ssh(String),
    /// A server that speaks TLS.
    Tls,
    /// Another server. Holds the first line of its answer.
    Unknown(String),
}

impl Server {
    /// The server that sent `answer`, which is cut off or in an unknown protocol.
    pub fn unknown(answer: &[u8]) -> Self {
        Self::Unknown(excerpt_bytes(first_line(answer).map_or(answer, |(line, _)| line)))
    }
}

/// Reads the answer to a CONNECT in everything that has arrived so far.
pub fn read(bytes: &[u8]) -> Step<Server> {
    let Step::Done(answer, eaten) = connect::read(bytes) else { return Step::Incomplete };
    let server = match answer {
        Answer::Established(_) | Answer::Refused(_) => {
            of_head(last_head(&bytes[..eaten])).unwrap_or_else(|| Server::unknown(bytes))
        }
        Answer::OlderHost(_) => Server::OlderHost,
        Answer::Ssh(banner) => Server::Ssh(banner),
        Answer::Tls => Server::Tls,
        Answer::NotHttp(line) => Server::Unknown(line),
        Answer::Malformed(_) => Server::unknown(bytes),
    };
    Step::Done(server, eaten)
}

/// The head of the final answer: heads of status 1xx may stand before it.
fn last_head(mut heads: &[u8]) -> &[u8] {
    while let Some(end) = head_end(heads).filter(|&end| end < heads.len()) {
        heads = &heads[end..];
    }
    heads
}

fn of_head(head: &[u8]) -> Option<Server> {
    http::parse(head, |status, response| {
        let field = |name: &str| http::field(response, name).map(|value| excerpt(&value));
        let name = field("server");
        if field("proxy-status").is_some_and(|status| status.starts_with(GATEWAY)) {
            let version = name.and_then(|name| Some(name.strip_prefix(GATEWAY)?.strip_prefix('/')?.to_owned()));
            return Server::Gateway(version);
        }
        let is_named = name.as_ref().is_some_and(|name| PROXIES.iter().any(|proxy| name.contains(proxy)));
        let is_proxy = is_named || status == 407 || PROXY_FIELDS.iter().any(|name| field(name).is_some());
        let status = excerpt(&format!("{status} {}", response.reason.unwrap_or_default()));
        Server::Http { is_proxy, status, name }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAYS_NO: &str = "HTTP/1.1 400 Bad Request\r\nServer: kohakuriver-gateway/9.8.7\r\n\
                               Proxy-Status: kohakuriver-gateway; error=x\r\n\r\n";

    #[test]
    fn each_kind_of_server() {
        use Server as S;
        let http = |is_proxy, status: &str, name: Option<&str>| S::Http {
            is_proxy,
            status: status.to_owned(),
            name: name.map(str::to_owned),
        };
        let nameless = GATEWAYS_NO.replace("Server: kohakuriver-gateway/9.8.7\r\n", "");
        let behind_interim = format!("HTTP/1.1 103 Early\r\nVia: x\r\n\r\n{GATEWAYS_NO}");
        for (answer, server) in [
            (GATEWAYS_NO, S::Gateway(Some("9.8.7".to_owned()))),
            (&nameless, S::Gateway(None)),
            (&behind_interim, S::Gateway(Some("9.8.7".to_owned()))),
            ("ERROR Invalid request format.\n", S::OlderHost),
            ("b'ERROR 'Invalid request format.\n", S::OlderHost),
            ("SSH-2.0-OpenSSH_9.2p1\r\n", S::Ssh("SSH-2.0-OpenSSH_9.2p1".to_owned())),
            ("\x15\x03\x01\0\x02\x02\x32", S::Tls),
            ("220 mail\r\n", S::Unknown("220 mail".to_owned())),
            ("HTTP/9.9 200 \x1b[2JOK\r\n\r\n", S::Unknown("HTTP/9.9 200 [2JOK".to_owned())),
            (
                "HTTP/1.1 405 Not Allowed\r\nServer: nginx/1.2\r\n\r\n<html>",
                http(false, "405 Not Allowed", Some("nginx/1.2")),
            ),
            ("HTTP/1.0 404\r\n\r\n", http(false, "404", None)),
            ("HTTP/1.0 200 OK\r\nServer: Apache\r\n\r\n", http(false, "200 OK", Some("apache"))),
            ("HTTP/1.0 200 OK\r\nServer: Squid\r\n\r\n", http(true, "200 OK", Some("squid"))),
            ("HTTP/1.1 400 Bad Request\r\nVia: 1.1 office\r\n\r\n", http(true, "400 Bad Request", None)),
            ("HTTP/1.1 407 x\r\n\r\n", http(true, "407 x", None)),
            ("HTTP/1.1 502 x\r\nProxy-Status: kohaku; error=y\r\n\r\n", http(true, "502 x", None)),
            ("HTTP/1.1 400 x\r\nServer: kohakuriver-gateway/1\r\n\r\n", {
                http(false, "400 x", Some("kohakuriver-gateway/1"))
            }),
        ] {
            let Step::Done(found, _) = read(answer.as_bytes()) else { panic!("incomplete: {answer}") };
            assert_eq!(found, server, "{answer}");
        }
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        for cut in 0..GATEWAYS_NO.len() {
            assert_eq!(read(&GATEWAYS_NO.as_bytes()[..cut]), Step::Incomplete, "{cut}");
        }
        assert_eq!(Server::unknown(b"SSH-2.0-cut"), Server::Unknown("SSH-2.0-cut".to_owned()));
        assert_eq!(Server::unknown(b"one\r\ntwo"), Server::Unknown("one".to_owned()));
    }
}
