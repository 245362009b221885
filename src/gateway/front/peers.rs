//! The other gateways of the cluster. A client that continues a tunnel may reach another gateway than the one that has it,
//! as behind a load balancer. It is passed on then.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use crate::carrier::Carrier;
use crate::dial::Watch;
use crate::gateway::decide::resolve::Resolver;
use crate::handshake::connect::{self, Answer, Login};
use crate::handshake::proxy_protocol;
use crate::handshake::request::Connect;
use crate::handshake::resume::{Answered, Asked};
use crate::refusal::Refusal;
use crate::route::{self, Route, exchange};
use crate::settings::Origin;
use crate::target::SSH_PORT;

/// How long a peer has for its answer. A session whose gateway is gone is said to be over after that.
const LIMIT: Duration = Duration::from_secs(1);
/// Most peers that are asked at once. An unknown session costs a thread for each peer.
const AT_ONCE: usize = 64;

/// The other gateways.
pub(crate) struct Peers {
    origins: Vec<Origin>,
    /// Whether they expect a PROXY protocol header.
    proxied: bool,
    places: Arc<Semaphore>,
}

/// A connection to the gateway that has the session.
pub(super) struct Holder {
    /// Its name, for the list of tunnels.
    pub(super) name: String,
    pub(super) carrier: Box<dyn Carrier>,
    /// Bytes that were read behind its answer.
    pub(super) early: Vec<u8>,
    /// Its answer: the position up to which it has delivered the client's stream.
    pub(super) delivered: u64,
}

/// The answer of one peer.
enum Said {
    Holds(Holder),
    /// The peer has the session, and doesn't let the client continue it.
    Refuses(Refusal),
    Unknown,
}

impl Peers {
    /// The gateways at these addresses.
    pub(crate) fn new(origins: Vec<Origin>, proxied: bool) -> Self {
        Self { origins, proxied, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Whether there are any.
    pub(super) fn are_there(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Whether `ip` is an address of one of them.
    pub(super) async fn have(&self, ip: IpAddr, resolver: &Resolver) -> bool {
        for origin in &self.origins {
            if resolver.addresses(&origin.host, ip).await.is_ok_and(|addresses| addresses.contains(&ip)) {
                return true;
            }
        }
        false
    }

    /// The gateway that has the session which the client at `from` continues.
    ///
    /// # Errors
    /// When none has it, or the one that has it refuses.
    pub(super) async fn holder(&self, connect: &Connect, from: SocketAddr) -> Result<Holder, Refusal> {
        let gone = || Refusal::SessionOver(Some("no gateway of this cluster has it".to_owned()));
        let (Some(Asked::Continue { id, delivered, n, mac, passed: false }), Ok(vps)) =
            (connect.resume, &connect.target)
        else {
            return Err(Refusal::SessionOver(None));
        };
        let asked = Asked::Continue { id, delivered, n, mac, passed: true };
        let login = connect.token.as_ref().map(Login::Bearer);
        let request = connect::request(&format!("{vps}:{SSH_PORT}"), login, Some(asked));
        let header = if self.proxied { proxy_protocol::header(from) } else { Vec::new() };
        let request: Arc<[u8]> = [header, request].concat().into();
        let mut answers = JoinSet::new();
        for origin in &self.origins {
            let busy = |_| Refusal::Limit("it looks for many sessions already".to_owned());
            let place = Arc::clone(&self.places).try_acquire_owned().map_err(busy)?;
            let (origin, request) = (origin.clone(), Arc::clone(&request));
            answers.spawn(async move {
                let said = spawn_blocking(move || ask(&origin, &request)).await;
                drop(place);
                said
            });
        }
        let mut refusal = None;
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok(Ok(Said::Holds(holder))) => return Ok(holder),
                Ok(Ok(Said::Refuses(why))) => refusal = Some(why),
                Ok(Ok(Said::Unknown) | Err(_)) | Err(_) => {}
            }
        }
        Err(refusal.unwrap_or_else(gone))
    }
}

fn ask(origin: &Origin, request: &[u8]) -> Said {
    let watch = Watch::at_most(LIMIT);
    let Ok(mut carrier) = route::connect(origin, &Route::default(), watch) else { return Said::Unknown };
    match exchange(&mut *carrier, request, connect::read, watch) {
        Ok((Answer::Established(Some(Answered::Continued(delivered))), early)) => {
            Said::Holds(Holder { name: origin.authority(), carrier, early, delivered })
        }
        Ok((Answer::Refused(refused), _)) => match refused.status {
            407 => Said::Refuses(Refusal::TokenNeeded),
            403 => Said::Refuses(Refusal::NotAllowed),
            409 => Said::Refuses(Refusal::SessionMismatch("the gateway that has the session refuses")),
            503 => Said::Refuses(Refusal::Limit("the gateway that may have the session is busy".to_owned())),
            _ => Said::Unknown,
        },
        _ => Said::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::request::{self, MaxSize, Request};
    use crate::handshake::{Step, answer};
    use crate::resume::{MAC, SessionId};
    use crate::secret::Token;
    use crate::settings::Scheme;
    use crate::target::{TaskId, VpsRef};
    use std::io;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    /// The address of a client.
    const FROM: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9)), 51234);

    fn origin(host: &str, port: u16) -> Origin {
        Origin { scheme: Scheme::Http, host: host.to_owned(), port }
    }

    /// A request to continue a tunnel.
    fn connect(passed: bool) -> Connect {
        let resume = Asked::Continue { id: SessionId([7; 16]), delivered: 3, n: 1, mac: [9; MAC], passed };
        let target = Ok(VpsRef::Id(TaskId::parse("42").unwrap()));
        Connect {
            target,
            as_sent: "42:22".to_owned(),
            token: Some(Token::new("sekrit").unwrap()),
            resume: Some(resume),
        }
    }

    /// A gateway that gives this answer to one request, and the head of that request.
    async fn gateway(answer: Vec<u8>) -> (Origin, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = origin("127.0.0.1", listener.local_addr().unwrap().port());
        let head = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            // The header of a proxy, which is longer than this, begins like an end.
            while head.len() < 16 || !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(&answer).await.unwrap();
            head
        });
        (origin, head)
    }

    fn over() -> Refusal {
        Refusal::SessionOver(Some("no gateway of this cluster has it".to_owned()))
    }

    #[tokio::test]
    async fn the_gateway_that_is_asked_decides_about_its_session() {
        let refused = |refusal| answer::refused(&refusal, "42");
        let busy = || Refusal::Limit("the gateway that may have the session is busy".to_owned());
        let mismatch = || Refusal::SessionMismatch("the gateway that has the session refuses");
        for (answer, expected) in [
            (answer::established(Answered::Continued(7)), Ok(7)),
            (refused(Refusal::TokenNeeded), Err(Refusal::TokenNeeded)),
            (refused(Refusal::NotAllowed), Err(Refusal::NotAllowed)),
            (refused(Refusal::SessionMismatch("x")), Err(mismatch())),
            (refused(Refusal::Limit("x".to_owned())), Err(busy())),
            (answer::over(&Refusal::SessionOver(None), "42"), Err(over())),
            (refused(Refusal::HostDown("x".to_owned())), Err(over())),
            // An older gateway, or none.
            (answer::ESTABLISHED.to_vec(), Err(over())),
            (b"SSH-2.0-x\r\n".to_vec(), Err(over())),
        ] {
            let said = answer.escape_ascii().to_string();
            let (origin, head) = gateway(answer).await;
            let found = Peers::new(vec![origin.clone()], true).holder(&connect(false), FROM).await;
            let found = found.map(|holder| {
                assert_eq!(holder.name, origin.authority());
                holder.delivered
            });
            assert_eq!(found, expected, "{said}");
            // The peer learns who the client is, and passes the question on to nobody.
            let head = head.await.unwrap();
            let Step::Done(Ok(from), eaten) = proxy_protocol::read(&head) else { panic!("{head:?}") };
            assert_eq!(from, Some(FROM));
            let Step::Done(Ok(request), _) = request::read(&head[eaten..], MaxSize::DEFAULT, &[]) else {
                panic!("{head:?}")
            };
            assert_eq!(request, Request::Connect(connect(true)));
        }
    }

    #[tokio::test]
    async fn of_several_gateways_the_one_that_has_the_session_counts() {
        let holds = || answer::established(Answered::Continued(7));
        let [unknown, refuses] =
            [Refusal::SessionOver(None), Refusal::NotAllowed].map(|refusal| answer::refused(&refusal, "42"));
        for (answers, expected) in [
            ([unknown.clone(), holds()], Ok(7)),
            ([holds(), refuses.clone()], Ok(7)),
            ([refuses, unknown.clone()], Err(Refusal::NotAllowed)),
            ([unknown.clone(), unknown], Err(over())),
        ] {
            let mut origins = Vec::new();
            for answer in answers {
                origins.push(gateway(answer).await.0);
            }
            let peers = Peers::new(origins, false);
            let found = peers.holder(&connect(false), FROM).await;
            assert_eq!(found.map(|holder| holder.delivered), expected);
            // A client that was passed on already is passed on to nobody.
            let found = peers.holder(&connect(true), FROM).await;
            assert_eq!(found.err(), Some(Refusal::SessionOver(None)));
        }
    }

    #[tokio::test]
    async fn a_gateway_of_the_cluster_is_known_by_its_addresses() {
        let resolver = Resolver::asking(|host| match host {
            "gw2" => Ok(["10.0.0.2", "fd00::2"].map(|ip| ip.parse().unwrap()).to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        });
        let peers = Peers::new(["10.0.0.1", "gone", "gw2"].map(|host| origin(host, 8002)).to_vec(), false);
        assert!(peers.are_there());
        for (ip, expected) in [("10.0.0.1", true), ("10.0.0.2", true), ("fd00::2", true), ("10.0.0.3", false)] {
            assert_eq!(peers.have(ip.parse().unwrap(), &resolver).await, expected, "{ip}");
        }
        let alone = Peers::new(Vec::new(), false);
        assert!(!alone.are_there() && !alone.have(FROM.ip(), &resolver).await);
    }
}
