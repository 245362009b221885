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
    /// It has the session, and doesn't let the client continue it.
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
