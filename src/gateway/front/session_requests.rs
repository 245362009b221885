//! Requests about sessions on a port for tunnels: who asks, and the answer.
//!
//! | who asks | sees and ends |
//! |---|---|
//! | a user of the Host, with a token | the own tunnels |
//! | an admin of the Host, with `all` | all of them |
//! | without users at the Host: a client with a certificate | the tunnels of the certificate's user |
//! | another gateway, with a proof | those of the user that it names, or all |
//! | nobody that is known | none |

use std::time::SystemTime;

use tracing::debug;

use crate::api::{Caller, Role, User};
use crate::gateway::decide::directory::Requester;
use crate::gateway::front::attempt::Attempt;
use crate::gateway::front::peers::Peers;
use crate::gateway::front::upstream::Upstreams;
use crate::gateway::roster::{Ended, Reach, Roster, Scope, no_answer, proof};
use crate::handshake::sessions::{Action, Asked, Credentials, Unusable};
use crate::handshake::sessions_answer::{ended, listed, refused};
use crate::refusal::Refusal;
use crate::secret::Token;

/// The status of an answer, and all its bytes.
type Answer = (u16, Vec<u8>);

const NO_SESSION: &str = "there is no such session, or it is not yours";
const HINT_FOR_TOKEN: &str = "send your token of the Host as `Authorization: Bearer TOKEN`";
const HINT_FOR_ADMIN: &str = "the gateway's admin sees all sessions, at the gateway's --admin address";

/// The caller, once known.
struct Known<'a> {
    scope: Scope,
    /// The token with which other gateways judge for themselves.
    token: Option<&'a Token>,
}

/// A request, and what its answer takes.
pub(super) struct SessionRequest<'g> {
    pub(super) asked: &'g Asked,
    pub(super) attempt: &'g Attempt<'g>,
    pub(super) upstreams: &'g Upstreams,
    pub(super) peers: &'g Peers,
    pub(super) roster: &'g Roster,
}

/// The answer to a client that makes room for others.
pub(super) fn busy() -> Answer {
    no(503, "others wait, and the answer takes time", None, "Retry-After: 2\r\n")
}

impl SessionRequest<'_> {
    /// The answer to it.
    pub(super) async fn answer(&self) -> Answer {
        let answer = self.serve().await.unwrap_or_else(|refused| refused);
        debug!(client = %self.attempt.client(), status = answer.0, "request about sessions answered");
        answer
    }

    async fn serve(&self) -> Result<Answer, Answer> {
        let Self { asked, attempt, .. } = self;
        let action = asked.action.as_ref().map_err(unusable)?;
        // A gateway has checked its own clients.
        let is_others = asked.here && self.peers.have(attempt.address(), &self.upstreams.resolver).await;
        if !is_others {
            self.upstreams.rules.current().check_served(attempt.address()).map_err(|refusal| of(&refusal))?;
        }
        let known = self.who().await?;
        let reach = match asked.here {
            true => Reach::Here,
            false => Reach::Everywhere { token: known.token, from: Some(attempt.client()) },
        };
        match action {
            Action::List => {
                let listing = self.roster.list(&known.scope, reach).await;
                let list = if asked.gateways { listing.with_gateways() } else { listing.rows() };
                Ok((200, listed(&list)))
            }
            Action::End(which) => match self.roster.end(which, &known.scope, reach).await {
                Ended::Yes => Ok((204, ended())),
                Ended::No => Err(no(404, NO_SESSION, None, "")),
                Ended::Unknown(silent) => Err(no(502, &no_answer(&silent), None, "")),
            },
        }
    }

    /// The tunnels that the caller may see, by their users.
    async fn who(&self) -> Result<Known<'_>, Answer> {
        let rules = self.upstreams.rules.current();
        let token = match &self.asked.credentials {
            Some(Credentials::Gateway(proof)) => {
                let scope = proof::check(rules.admin_token.as_ref(), proof, &self.asked.as_sent, SystemTime::now());
                return scope.map(|scope| Known { scope, token: None }).map_err(|why| no(401, &why, None, ""));
            }
            Some(Credentials::User(token)) => Some(token),
            None => None,
        };
        let requester = Requester::with(self.attempt.address(), token.cloned());
        let caller = self.upstreams.directory.caller(&requester, &self.upstreams.records.metrics).await;
        let only_admins = "only an admin of the Host sees everybody's sessions";
        match caller.map_err(|refusal| of(&refusal))? {
            Caller::User(User { role: Role::Admin, .. }) if self.asked.all => Ok(Known { scope: Scope::All, token }),
            Caller::Anonymous => Err(of(&Refusal::TokenNeeded)),
            _ if self.asked.all => Err(no(403, only_admins, Some(HINT_FOR_ADMIN), "")),
            Caller::User(User { name, .. }) => Ok(Known { scope: Scope::User(name.into()), token }),
            Caller::Everyone { .. } => {
                let user = self.attempt.certified_user(&rules).ok_or_else(|| {
                    no(403, "the Host has no users, so no session here is anybody's own", Some(HINT_FOR_ADMIN), "")
                })?;
                Ok(Known { scope: Scope::User(user), token: None })
            }
        }
    }
}

fn unusable(why: &Unusable) -> Answer {
    match why {
        Unusable::Bad(why) => no(400, why, None, ""),
        Unusable::Path => no(404, NO_SESSION, None, ""),
        Unusable::Method(allowed) => {
            no(405, &format!("allowed here: {allowed}"), None, &format!("Allow: {allowed}\r\n"))
        }
        Unusable::WebPage => no(403, "a web page gets nothing here", None, ""),
    }
}

/// The answer to a caller that gets no further, for a reason that a CONNECT can have as well.
fn of(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::TokenNeeded => no(401, "the Host does not know you", Some(HINT_FOR_TOKEN), ""),
        refusal => {
            let detail = refusal.detail().unwrap_or_else(|| refusal.title(""));
            let retry = refusal.retry_after().map(|seconds| format!("Retry-After: {seconds}\r\n"));
            no(refusal.http_status(), &detail, None, &retry.unwrap_or_default())
        }
    }
}

fn no(status: u16, detail: &str, hint: Option<&str>, fields: &str) -> Answer {
    (status, refused(status, detail, hint, fields))
}
