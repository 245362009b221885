//! What answers on the SSH proxy's port: our gateway, an older Host, or something that has no business there.
//!
//! It is told apart by a CONNECT that names no target: no gateway looks anything up for it, an older Host answers with
//! its error line, and no tunnel is opened that would have to be left.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use crate::dial;
use crate::failure::Failure;
use crate::settings::Origin;
use crate::text::excerpt_bytes;

/// How long the port may take to accept.
const DIAL_LIMIT: Duration = Duration::from_secs(5);
/// How long whatever accepted may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Most bytes of the answer that are looked at.
const MAX_ANSWER: usize = 16 * 1024;
/// A CONNECT without a target, in one write.
const QUESTION: &[u8] =
    concat!("CONNECT : HTTP/1.1\r\nHost: :\r\nUser-Agent: kohakuriver-doctor/", env!("CARGO_PKG_VERSION"), "\r\n\r\n")
        .as_bytes();

pub(super) const CHECKS: &[Check] = &[
    Check { name: "proxy-port", of_vps: false, examine: port },
    Check { name: "proxy", of_vps: false, examine: speaker },
];

fn port(case: &mut Case) -> (String, Verdict) {
    let Some(proxy) = case.proxy() else {
        return ("the SSH proxy's port".to_owned(), Verdict::Skipped("there are no settings".to_owned()));
    };
    let tried = format!("a connection to {proxy}");
    let connected = connect(case);
    case.proxy_port = connected.is_ok();
    let verdict = match connected {
        Ok(socket) => {
            let peer = socket.peer_addr().map_or_else(|_| proxy.clone(), |peer| peer.to_string());
            Verdict::Fine(format!("{peer} accepts"))
        }
        Err(failure) => Verdict::wrong(&failure, "kohakuriver config show"),
    };
    (tried, verdict)
}

fn connect(case: &Case) -> Result<TcpStream, Failure> {
    let (settings, watch) = match (&case.settings, case.watch(DIAL_LIMIT)) {
        (Some(settings), Some(watch)) => (settings, watch),
        _ => return Err(Failure::new("cannot connect to the SSH proxy")),
    };
    let Origin { host, port, .. } = settings.ssh_proxy();
    let proxy = case.proxy().unwrap_or_default();
    dial::connect(&host, port, watch).map_err(|error| {
        let failure = Failure::new(format!("cannot reach the SSH proxy at {proxy}")).because(&error);
        let listening = format!("`sudo ss -ltnp 'sport = :{port}'`");
        match error {
            dial::DialError::Interrupted(..) => failure
                .cause("nothing comes back, not even a no: a firewall drops what is sent there, or the Host is down")
                .hint(format!(
                    "let port {port} in on the Host's firewall; see there whether it listens with {listening}"
                )),
            _ => failure
                .cause("nothing listens there, or a firewall refuses: the SSH proxy is not running")
                .hint(format!("on the Host, start its SSH proxy; see there whether it listens with {listening}")),
        }
    })
}

fn speaker(case: &mut Case) -> (String, Verdict) {
    let Some(proxy) = case.proxy() else {
        return ("what speaks there".to_owned(), Verdict::Skipped("there are no settings".to_owned()));
    };
    let tried = format!("a CONNECT without a target to {proxy}");
    if !case.proxy_port {
        return (tried, Verdict::Skipped("its port does not accept".to_owned()));
    }
    let answer = match connect(case) {
        Ok(socket) => ask(socket),
        // It did a moment ago.
        Err(failure) => return (tried, Verdict::wrong(&failure, "kohakuriver config show")),
    };
    let speaker = match answer {
        Ok(bytes) => Speaker::of(&bytes),
        Err(error) => Speaker::Nothing(error.to_string()),
    };
    let verdict = match speaker {
        Speaker::Gateway(version) => Verdict::Fine(format!("kohakuriver-gateway{version}")),
        Speaker::OlderHost => Verdict::Fine("a Host's own SSH proxy, in the older line protocol".to_owned()),
        other => {
            let (what, cause) = other.told();
            let failure = Failure::new(format!("what answers at {proxy} is {what}, no SSH proxy of a Host"))
                .cause(cause)
                .hint("name the Host's SSH proxy port; see which is set, and where, with `kohakuriver config show`");
            Verdict::wrong(&failure, "kohakuriver config show")
        }
    };
    case.gateway = matches!(verdict, Verdict::Fine(_));
    (tried, verdict)
}

/// Sends the question and reads what comes, until the head of an answer, a line that is no HTTP, the end, or the limit.
fn ask(mut socket: TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    socket.set_nonblocking(false)?;
    socket.set_write_timeout(Some(ANSWER_LIMIT))?;
    let sent = socket.write_all(QUESTION);
    let mut answer = Vec::new();
    let mut piece = [0; 2048];
    while answer.len() < MAX_ANSWER && !is_whole(&answer) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
            // What was said before it hung up counts.
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    sent.or_else(|error| if answer.is_empty() { Err(error) } else { Ok(()) })?;
    Ok(answer)
}

fn is_whole(answer: &[u8]) -> bool {
    let line = answer.contains(&b'\n');
    if answer.starts_with(b"HTTP/") {
        return answer.windows(4).any(|end| end == b"\r\n\r\n") || answer.windows(2).any(|end| end == b"\n\n");
    }
    line || answer.first().is_some_and(|&byte| byte == TLS_ALERT)
}

/// The first byte of a TLS alert (RFC 8446 §5.1), which is what an HTTPS server says to plain HTTP.
const TLS_ALERT: u8 = 0x15;

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Speaker {
    /// Ours, with its version behind a blank where it tells one.
    Gateway(String),
    /// A Host's own proxy, which knows the line protocol alone.
    OlderHost,
    /// Some other HTTP proxy; what it says of itself.
    HttpProxy(String),
    /// A web server; what it says of itself.
    Web(String),
    /// An sshd; its banner.
    Ssh(String),
    /// A server that wants TLS.
    Tls,
    /// Something else; its first line.
    Other(String),
    /// It accepts and says nothing, or hangs up; why.
    Nothing(String),
}

impl Speaker {
    fn of(answer: &[u8]) -> Self {
        let text = String::from_utf8_lossy(answer);
        let first = text.lines().next().unwrap_or_default();
        let line = excerpt_bytes(first.as_bytes());
        match answer {
            [] => Self::Nothing(format!("it accepts, and then says nothing within {} s", ANSWER_LIMIT.as_secs())),
            [TLS_ALERT, 0x03, ..] => Self::Tls,
            bytes if bytes.starts_with(b"HTTP/") => Self::of_http(&text, line),
            bytes if bytes.starts_with(b"ERROR ") || bytes.starts_with(b"b'ERROR '") => Self::OlderHost,
            bytes if bytes.starts_with(b"SSH-") => Self::Ssh(line),
            _ => Self::Other(line),
        }
    }

    fn of_http(head: &str, status_line: String) -> Self {
        let field = |name: &str| {
            head.lines().skip(1).take_while(|line| !line.trim().is_empty()).find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then(|| excerpt_bytes(value.trim().as_bytes()))
            })
        };
        let server = field("server");
        if field("proxy-status").is_some_and(|status| status.starts_with("kohakuriver-gateway")) {
            let version = server.and_then(|server| Some(format!(" {}", server.strip_prefix("kohakuriver-gateway/")?)));
            return Self::Gateway(version.unwrap_or_default());
        }
        let said = match &server {
            Some(server) => format!("it answered `{status_line}` and calls itself `{server}`"),
            None => format!("it answered `{status_line}`"),
        };
        let proxies = ["squid", "tinyproxy", "privoxy", "proxy", "haproxy", "envoy", "varnish"];
        let named = server.is_some_and(|server| proxies.iter().any(|name| server.to_ascii_lowercase().contains(name)));
        let fields = ["via", "proxy-authenticate", "proxy-connection", "proxy-agent", "x-squid-error", "proxy-status"];
        match named || status_line.contains(" 407") || fields.iter().any(|name| field(name).is_some()) {
            true => Self::HttpProxy(said),
            false => Self::Web(said),
        }
    }

    /// What it is, and what shows it.
    fn told(self) -> (&'static str, String) {
        match self {
            Self::Gateway(_) => ("a gateway", "it says so".to_owned()),
            Self::OlderHost => ("an older Host", "it says so".to_owned()),
            Self::HttpProxy(said) => ("an HTTP proxy", said),
            Self::Web(said) => ("a web server", said),
            Self::Ssh(banner) => ("an SSH server", format!("it answered `{banner}`")),
            Self::Tls => ("a TLS server", "it answered with a TLS alert".to_owned()),
            Self::Other(line) => ("something unknown", format!("it answered `{line}`")),
            Self::Nothing(why) => ("mute", why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers() {
        use Speaker as S;
        let gateway = "HTTP/1.1 400 Bad Request\r\nServer: kohakuriver-gateway/9.8.7\r\nProxy-Status: kohakuriver-gateway; error=x\r\n\r\n";
        let nameless = gateway.replace("Server: kohakuriver-gateway/9.8.7\r\n", "");
        for (answer, speaker) in [
            (gateway, S::Gateway(" 9.8.7".into())),
            (&nameless, S::Gateway(String::new())),
            ("ERROR Invalid request format.\n", S::OlderHost),
            ("b'ERROR 'Invalid request format.\n", S::OlderHost),
            ("SSH-2.0-OpenSSH_9.2p1\r\n", S::Ssh("SSH-2.0-OpenSSH_9.2p1".into())),
            ("\x15\x03\x01\0\x02\x02\x32", S::Tls),
            ("220 mail\r\n", S::Other("220 mail".into())),
            (
                "HTTP/1.1 405 Not Allowed\r\nServer: nginx/1.2\r\n\r\n<html>",
                S::Web("it answered `HTTP/1.1 405 Not Allowed` and calls itself `nginx/1.2`".into()),
            ),
            ("HTTP/1.0 404 Nope\r\n\r\n", S::Web("it answered `HTTP/1.0 404 Nope`".into())),
            (
                "HTTP/1.1 400 Bad Request\r\nVia: 1.1 office\r\n\r\n",
                S::HttpProxy("it answered `HTTP/1.1 400 Bad Request`".into()),
            ),
            (
                "HTTP/1.1 407 x\r\nServer: squid/5.7\r\n\r\n",
                S::HttpProxy("it answered `HTTP/1.1 407 x` and calls itself `squid/5.7`".into()),
            ),
        ] {
            assert_eq!(S::of(answer.as_bytes()), speaker, "{answer}");
        }
        assert!(matches!(S::of(b""), S::Nothing(_)));
    }
}
