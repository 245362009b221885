//! Resumable tunnels: which clients may continue one, and when it ends.

use std::net::{Shutdown, TcpListener};

use kohakuriver_proxy::handshake::connect::{self, Answer, Refused};
use kohakuriver_proxy::handshake::resume::{Answered, Asked};
use kohakuriver_proxy::resume::{Key, SessionId};

use crate::support::gateway::Gateway;
use crate::support::resumable::{Session, ask};
use crate::support::scene::ID;
use crate::support::watched::audit;

/// A VPS: the system takes its connections.
fn vps() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn refused(answer: Answer) -> Refused {
    match answer {
        Answer::Refused(refused) => refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tunnel_whose_client_stays_away_ends() {
    let vps = vps();
    let gateway = Gateway::before_and(vps.local_addr().unwrap().port(), &["--resume-window", "1"]);
    let session = Session::open(gateway.address, &format!("{ID}:22"), None);
    assert_eq!(session.keep, 1);
    session.stream.shutdown(Shutdown::Both).unwrap();
    let closed = audit(&gateway, "closed", 1).remove(0);
    assert_eq!(closed["reason"], "not-resumed", "{closed}");
    let answer = refused(session.resume(1, 0).0);
    assert_eq!((answer.status, answer.resume), (410, Some(Answered::Over)));
}

#[test]
fn a_gateway_may_offer_none() {
    let vps = vps();
    let gateway = Gateway::before_and(vps.local_addr().unwrap().port(), &["--resume-window", "0"]);
    let head = connect::request(&format!("{ID}:22"), None, Some(Asked::New([9; 32])));
    assert!(matches!(ask(gateway.address, &head).0, Answer::Established(None)));
}

/// A guess, a repetition, an older try, a position that can't be.
#[test]
fn nobody_else_continues_a_tunnel() {
    let vps = vps();
    let gateway = Gateway::before(vps.local_addr().unwrap().port());
    let session = Session::open(gateway.address, &format!("{ID}:22"), None);
    let try_as = |id: SessionId, key: &Key, n, delivered| {
        ask(gateway.address, &session.head_with(Asked::to_continue(id, key, n, delivered))).0
    };
    let (id, key) = (session.id, session.key.clone());
    for (foreign_id, foreign_key) in [(id, Key::from_bytes([0; 32])), (SessionId([0; 16]), key.clone())] {
        let answer = refused(try_as(foreign_id, &foreign_key, 9, 0));
        assert_eq!((answer.status, answer.resume), (410, Some(Answered::Over)), "{answer:?}");
    }
    assert!(matches!(try_as(id, &key, 5, 0), Answer::Established(Some(Answered::Continued(0)))));
    for n in [5, 4] {
        let answer = refused(try_as(id, &key, n, 0));
        assert_eq!((answer.status, answer.resume), (409, Some(Answered::Over)), "{answer:?}");
    }
    // It goes on for the one who has the key.
    assert!(matches!(try_as(id, &key, 6, 0), Answer::Established(Some(Answered::Continued(0)))));
    let answer = refused(try_as(id, &key, 7, 1 << 40));
    assert_eq!((answer.status, answer.resume), (409, Some(Answered::Over)), "{answer:?}");
    // Such a client has lost the stream, so its tunnel is over.
    assert_eq!(audit(&gateway, "closed", 1)[0]["reason"], "not-resumed");
}
