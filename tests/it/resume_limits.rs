//! Limits of resumable tunnels, and clients that mean no good.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use kohakuriver_proxy::handshake::connect::{Answer, Refused};
use kohakuriver_proxy::handshake::resume::{Answered, Asked};
use kohakuriver_proxy::resume::{Key, SessionId};

use crate::support::chaos::{Chaos, Cut};
use crate::support::gateway::Gateway;
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::life_host::{LifeHost, OPERATOR, vps};
use crate::support::peers::{PEER_TIMEOUT, Peer, hears, patient_echo_server};
use crate::support::resumable::Session;
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::HELPER;
use crate::support::tunnels::connect_from;
use crate::support::watched::{Watched, audit, curl, metric};

/// The frame that ends a session because of a broken protocol.
const MALFORMED: [u8; 5] = [4, 0, 0, 1, 7];

fn target() -> String {
    format!("{ID}:22")
}

/// The connection over which a session goes on.
#[track_caller]
fn continued((answer, stream): (Answer, TcpStream)) -> TcpStream {
    assert!(matches!(answer, Answer::Established(Some(Answered::Continued(0)))), "{answer:?}");
    stream
}

fn over(answer: Answer) -> Refused {
    match answer {
        Answer::Refused(refused) if refused.resume == Some(Answered::Over) => refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_session_of_a_user_that_is_away_longest_ends_first() {
    let watched = Watched::before(patient_echo_server(), &["--max-parked-per-user", "2"]);
    let sessions: Vec<_> = (0..3).map(|_| Session::open(watched.gateway.address, &target(), None)).collect();
    let parks = |stream: &TcpStream, parked: f64| {
        stream.shutdown(Shutdown::Both).unwrap();
        watched.awaits("parked_tunnels", parked);
    };
    parks(&sessions[0].stream, 1.0);
    parks(&sessions[1].stream, 2.0);
    // One that moves while its connection still lives is away for no time, and ends no other.
    let moved = continued(sessions[2].resume(1, 0));
    watched.audit("resumed", 1);
    let back = continued(sessions[0].resume(1, 0));
    watched.awaits("parked_tunnels", 1.0);
    parks(&moved, 2.0);
    // The third one: of all, the second session has been away longest now.
    back.shutdown(Shutdown::Both).unwrap();
    assert_eq!(watched.audit("closed", 1)[0]["reason"], "not-resumed");
    let warning = watched.gateway.process.stderr_line("the client 127.0.0.1 has too many tunnels ");
    assert!(warning.contains("raise --max-parked-per-user above 2\""), "{warning}");
    let limit = |name: &str| format!("{name}{{limit=\"parked-per-user\"}}");
    watched.awaits(&limit("limit_met_total"), 1.0);
    watched.awaits(&limit("limit"), 2.0);
    assert_eq!(over(sessions[1].resume(1, 0).0).status, 410);
    watched.awaits("parked_tunnels", 2.0);
    [&sessions[0], &sessions[2]].into_iter().for_each(|session| drop(continued(session.resume(2, 0))));
}

/// The VPS of each parked tunnel sends without end.
#[test]
fn the_memory_of_parked_sessions_is_bounded() {
    let _heavy = heavy();
    let vps = Peer::serve(|mut stream| {
        // Until the gateway has no room any more, and the tunnel ends.
        stream.set_write_timeout(Some(PEER_TIMEOUT))?;
        while stream.write_all(&[7; 16 * 1024]).is_ok() {}
        Ok(())
    });
    let options = ["--max-replay-memory", "1"];
    let gateway = Gateway::before_and(vps.address.port(), &options);
    let sessions: Vec<_> = (1..=24)
        .map(|number| {
            let session = Session::open(gateway.address, &target(), None);
            session.stream.shutdown(Shutdown::Both).unwrap();
            audit(&gateway, "parked", number);
            session
        })
        .collect();
    let closed = audit(&gateway, "closed", 1);
    assert_eq!(closed[0]["reason"], "not-resumed");
    let warning = gateway.process.stderr_line("bytes that may have to be sent again ");
    assert!(warning.contains("--max-replay-memory allows 1 MiB"), "{warning}");
    let page = curl(&Home::new(), gateway.admin, "/metrics", &[]).text();
    let limit = |name: &str| metric(&page, &format!("{name}{{limit=\"replay-bytes\"}}"));
    assert!(limit("limit_met_total") >= 1.0 && limit("limit_used") > 0.0, "{page}");
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    assert!(resident() < 64 * 1024, "{} KiB", resident());
    // The oldest is gone, the latest is not.
    assert_eq!(over(sessions[0].resume(1, 0).0).status, 410);
    assert!(matches!(sessions[23].resume(1, 0).0, Answer::Established(_)));
    drop((sessions, gateway));
}

/// The client waits for what the Host says of its token, and loses nothing but time.
#[test]
fn a_client_that_comes_back_makes_room() {
    let _heavy = heavy();
    let echo = patient_echo_server();
    let host = LifeHost::with_users(vps("running", "docker", echo.address.port()));
    let gateway = Gateway::with_host_api_and(&host.base(), &["--max-handshakes", "1"]);
    let session = Session::open(gateway.address, &target(), Some(OPERATOR));
    session.stream.shutdown(Shutdown::Both).unwrap();
    audit(&gateway, "parked", 1);
    // For so long the gateway remembers what the Host has said of a token.
    thread::sleep(Duration::from_secs(6));
    let held = host.hold("/");
    let answer = thread::scope(|scope| {
        let answer = scope.spawn(|| session.resume(1, 0).0);
        while !answer.is_finished() {
            let _ = TcpStream::connect(gateway.address).unwrap().write_all(b"CONN");
            thread::sleep(Duration::from_millis(20));
        }
        answer.join().unwrap()
    });
    assert!(
        matches!(&answer, Answer::Refused(refused) if refused.status == 503 && refused.resume.is_none()),
        "{answer:?}"
    );
    drop(held);
    assert!(matches!(session.resume(2, 0).0, Answer::Established(Some(Answered::Continued(0)))));
}

#[test]
fn thousands_of_wrong_tries_disturb_nobody_else() {
    let _heavy = heavy();
    let watched = Watched::before(patient_echo_server(), &[]);
    let (chaos, wrong) =
        (Chaos::before(watched.gateway.address), Session::open(watched.gateway.address, &target(), None));
    let mut helper =
        Run::new(HELPER, &watched.home).args(["--proxy", &chaos.address.to_string(), ID]).stdin_open().start();
    let (mut unknown, mut limited, began) = (0, 0, Instant::now());
    let mut text = String::new();
    for n in 0..2_000_u64 {
        let asked = Asked::to_continue(SessionId([7; 16]), &Key::from_bytes([7; 32]), n, 0);
        let mut stream = connect_from([127, 0, 0, 66], watched.gateway.address);
        stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
        stream.write_all(&wrong.head_with(asked)).unwrap();
        match status(&mut stream).as_str() {
            "410" => unknown += 1,
            "503" => limited += 1,
            other => panic!("{other}"),
        }
        if n % 200 == 0 {
            helper.types("honest ");
            text += "honest ";
            helper.wait_for_all_of(&text);
            chaos.cut(Cut::Reset);
        }
    }
    assert!(unknown > 0 && limited > 500, "{unknown} unknown, {limited} limited in {:?}", began.elapsed());
    helper.finish().succeeds().prints(&text).says_nothing();
}

fn status(stream: &mut TcpStream) -> String {
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    String::from_utf8_lossy(&start[9..]).into_owned()
}

#[test]
fn what_is_no_frame_ends_the_session_for_both() {
    // Its clients vanish.
    let vps = Peer::serve(|mut stream| {
        let _ = stream.read(&mut [0]);
        Ok(())
    });
    let gateway = Gateway::before(vps.address.port());
    // No frame, data without bytes, and an acknowledgement of what was never sent.
    let wrong: [&[u8]; 3] = [b"SSH-2.0-x\r\n", &[0, 0, 0, 0], &[1, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 0]];
    for (number, bytes) in (1..).zip(wrong) {
        let mut session = Session::open(gateway.address, &target(), None);
        session.stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        session.stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
        // The gateway may reset what it has not read.
        let _ = session.stream.read_to_end(&mut answer);
        assert!(answer.ends_with(&MALFORMED), "{answer:?}");
        assert_eq!(audit(&gateway, "closed", number)[number - 1]["reason"], "not-resumed");
        assert_eq!(over(session.resume(1, 0).0).status, 410);
    }
}

/// Two helpers that have one key: the greater number has the session, and the other one's connection ends.
#[test]
fn of_two_clients_the_greater_number_wins() {
    let watched = Watched::before(patient_echo_server(), &[]);
    let session = Session::open(watched.gateway.address, &target(), None);
    let (_, mut first) = session.resume(5, 0);
    let (_, mut second) = session.resume(6, 0);
    assert_eq!(first.read(&mut [0; 64]).unwrap_or(0), 0);
    assert_eq!(over(session.resume(5, 0).0).status, 409);
    second.write_all(&[0, 0, 0, 2, b'o', b'k']).unwrap();
    second.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    hears(&mut second, b"\0\0\0\x02ok");
}
