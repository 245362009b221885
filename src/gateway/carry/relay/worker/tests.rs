use super::super::pipes::Pipes;
use super::super::tunnel::EarlyData;
use super::*;
use crate::carrier::Carrier as _;
use crate::carrier::tests::{Scripted, connection, secured};
#[cfg(target_os = "linux")]
use crate::carrier::tests::{is_idle, this_thread};
use crate::gateway::carry::session::Sessions;
use crate::gateway::carry::session::tests::tunnel as session;
use crate::gateway::watch::records::Records;
use crate::resume::{Resumable, Role, Scripted as Source};
use std::io::{Read, Write};
use std::net::TcpStream;
#[cfg(target_os = "linux")]
use std::process::Command;
use tokio_util::task::TaskTracker;

const LIMIT: Duration = Duration::from_secs(20);

fn worker(idle_timeout: Option<Duration>) -> Worker {
    Worker::new(Pace::Small, idle_timeout, Tools::new(Pipes::none())).unwrap()
}

/// Puts one more tunnel into `inbox`: its client and its VPS.
fn carry(inbox: &Inbox, count: &TaskTracker, sessions: &Arc<Sessions>) -> (TcpStream, TcpStream) {
    carry_behind(b"", inbox, count, sessions)
}

/// The same, with bytes of the client that the VPS has yet to get.
fn carry_behind(early: &[u8], inbox: &Inbox, count: &TaskTracker, sessions: &Arc<Sessions>) -> (TcpStream, TcpStream) {
    let ((client, their_client), (vps, their_vps)) = (connection(), connection());
    let early = EarlyData { up: early.to_vec(), down: Vec::new(), answer: b"" };
    let session = session(sessions, None);
    let tunnel = Tunnel::new(Box::new(client), Box::new(vps), early, session, count.token());
    inbox.carry(Box::new(tunnel));
    (their_client, their_vps)
}

fn says((client, vps): &mut (TcpStream, TcpStream)) {
    client.write_all(b"x").unwrap();
    vps.read_exact(&mut [0]).expect("nobody carries it");
}

#[test]
fn a_panic_outside_of_any_tunnel_ends_those_that_are_there_and_no_other() {
    let (count, records) = (TaskTracker::new(), Records::default());
    let sessions = Arc::new(Sessions::new(0, records.clone()));
    let mut worker = worker(None);
    let inbox = worker.inbox();
    let (mut there, there_vps) = carry(&inbox, &count, &sessions);
    assert!(worker.read_inbox());
    // A message comes, its event is taken, and then there is a panic.
    let mut waiting = carry(&inbox, &count, &sessions);
    worker.poll.poll(&mut Events::with_capacity(EVENTS), Some(LIMIT)).unwrap();
    assert!(catch_panic::<()>(|| panic!("a panic on purpose")).is_none());
    worker.recover();
    assert_eq!(there.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!((count.len(), inbox.tunnels()), (1, 1));
    assert_eq!(records.metrics.closed(Ending::Fault).value(), 1);

    let thread = std::thread::spawn(move || worker.run());
    says(&mut waiting);
    let mut later = carry(&inbox, &count, &sessions);
    says(&mut later);
    inbox.put(Message::Leave);
    thread.join().unwrap();
    assert_eq!(count.len(), 0);
    drop(there_vps);
}

/// A suspension interrupts a wait for events, as a signal does (signal(7)).
#[cfg(target_os = "linux")]
#[test]
fn a_process_that_is_suspended_keeps_its_tunnels() {
    const ALONE: &str = "KOHAKURIVER_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        // To suspend this process would interrupt the reads of all other tests.
        let test = "gateway::carry::relay::worker::tests::a_process_that_is_suspended_keeps_its_tunnels";
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        return;
    }
    let (count, records) = (TaskTracker::new(), Records::default());
    let sessions = Arc::new(Sessions::new(0, records.clone()));
    let worker = worker(None);
    let inbox = worker.inbox();
    let (id, theirs) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        id.send(this_thread()).unwrap();
        worker.run();
    });
    let mut tunnel = carry(&inbox, &count, &sessions);
    says(&mut tunnel);
    // The worker waits again, and not for a processor (proc_pid_stat(5)).
    let stat = format!("/proc/self/task/{}/stat", theirs.recv().unwrap());
    while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
        std::thread::yield_now();
    }
    let suspend = Command::new("sh").args(["-c", "kill -STOP $PPID; kill -CONT $PPID"]).status();
    assert!(suspend.unwrap().success());
    says(&mut tunnel);
    inbox.put(Message::Leave);
    thread.join().unwrap();
    assert_eq!(records.metrics.closed(Ending::Stopped).value(), 1);
}

#[test]
fn tunnels_whose_clients_can_come_again_are_packed_with_all_that_they_hold_and_no_others() {
    let (count, sessions) = (TaskTracker::new(), Arc::<Sessions>::default());
    let mut worker = worker(None);
    let inbox = worker.inbox();
    let _ends = carry(&inbox, &count, &sessions);
    let ((client, _their_client), (vps, _their_vps)) = (connection(), connection());
    let client = Resumable::new(Role::Gateway, Box::new(client), Vec::new(), Vec::new(), LIMIT, Source::default());
    let early = EarlyData { up: b"up".to_vec(), down: Vec::new(), answer: b"yes" };
    let session = session(&sessions, None);
    inbox.carry(Box::new(Tunnel::new(Box::new(client), Box::new(vps), early, session, count.token())));
    let (sender, packed) = std::sync::mpsc::channel();
    inbox.put(Message::Pack(sender));
    assert!(worker.read_inbox());
    let packed: Vec<PackedTunnel> = packed.iter().collect();
    let [PackedTunnel { state, session, .. }] = &packed[..] else { panic!("{} are packed", packed.len()) };
    assert_eq!((session.id, &state.up[..], &state.down[..]), (2, &b"up"[..], &b"yes"[..]));
    assert_eq!((inbox.tunnels(), worker.tunnels.len(), count.len()), (1, 1, 2));
}

/// A stop waits until no tunnel is counted.
#[tokio::test]
async fn a_tunnel_that_a_panic_drops_is_not_counted_any_more() {
    let (count, sessions) = (TaskTracker::new(), Arc::<Sessions>::default());
    let worker = worker(None);
    let _ends = carry(&worker.inbox, &count, &sessions);
    let message = worker.inbox.take();
    assert_eq!(count.len(), 1);
    count.close();
    let none = tokio::spawn({
        let count = count.clone();
        async move { count.wait().await }
    });
    tokio::task::yield_now().await;
    assert!(!none.is_finished());
    catch_panic(move || {
        let _message = message;
        panic!("a panic on purpose");
    });
    tokio::time::timeout(LIMIT, none).await.expect("it waits forever").unwrap();
}

/// One tunnel must not keep a thread from its events, or from its messages.
#[test]
fn an_endless_stream_leaves_time_for_all_else() {
    let worker = Worker::new(Pace::Bulk, None, Tools::new(Pipes::none())).unwrap();
    let (inbox, count, sessions) = (worker.inbox(), TaskTracker::new(), Arc::<Sessions>::default());
    let endless = |socket| {
        let receive = |_: &mut TcpStream, buffer: &mut [u8]| Ok(buffer.len());
        Box::new(Scripted { socket, receive, send: |_: &mut TcpStream, bytes: &[u8]| Ok(bytes.len()) })
    };
    let ((client, mut their_client), (vps, _their_vps)) = (connection(), connection());
    their_client.write_all(b"x").unwrap();
    let early = EarlyData { up: Vec::new(), down: Vec::new(), answer: b"" };
    let session = session(&sessions, None);
    let tunnel = Tunnel::new(endless(client), endless(vps), early, session, count.token());
    inbox.carry(Box::new(tunnel));
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        worker.run();
        done.send(()).unwrap();
    });
    while sessions.totals().bytes_up == 0 {
        std::thread::yield_now();
    }
    inbox.put(Message::Leave);
    is_done.recv_timeout(LIMIT).expect("its messages are not read");
}

#[test]
fn a_worker_waits_no_longer_and_no_shorter_than_it_has_to() {
    let mut worker = worker(None);
    assert_eq!(worker.time_to_wait(), None);
    let in_a_minute = Instant::now() + Duration::from_secs(60);
    worker.times.insert((in_a_minute, 7));
    worker.next_sweep = Some(in_a_minute + Duration::from_secs(60));
    let wait = worker.time_to_wait().unwrap();
    assert!(Instant::now() + wait > in_a_minute && wait <= Duration::from_millis(60_001), "{wait:?}");
    worker.queue.push_back(7);
    assert_eq!(worker.time_to_wait(), Some(Duration::ZERO));
}

#[test]
fn idle_tunnels_are_looked_for_four_times_during_their_timeout() {
    let mut worker = worker(Some(Duration::from_secs(60)));
    let waits_a_quarter = |worker: &Worker| {
        let wait = worker.time_to_wait().unwrap();
        assert!(wait > Duration::from_secs(10) && wait <= Duration::from_millis(15_001), "{wait:?}");
    };
    waits_a_quarter(&worker);
    worker.next_sweep = Some(Instant::now());
    worker.act_on_time();
    waits_a_quarter(&worker);
}

#[test]
fn a_turn_that_moves_nothing_is_no_sign_of_life() {
    let mut worker = worker(Some(Duration::from_secs(60)));
    let _ends = carry(&worker.inbox(), &Arc::default(), &Arc::default());
    assert!(worker.read_inbox());
    let moved_at = worker.tunnels[0].moved_at;
    assert_eq!(worker.turn(0), 0);
    assert_eq!(worker.tunnels[0].moved_at, moved_at);
}

#[test]
fn a_tunnel_that_moves_nothing_for_its_timeout_is_ended_and_no_other() {
    let (count, records) = (TaskTracker::new(), Records::default());
    let sessions = Arc::new(Sessions::new(0, records.clone()));
    let timeout = Duration::from_secs(60);
    let mut worker = worker(Some(timeout));
    let _ends = [&b""[..], b"x"].map(|early| carry_behind(early, &worker.inbox(), &count, &sessions));
    assert!(worker.read_inbox());
    for (_, tunnel) in &mut worker.tunnels {
        tunnel.moved_at -= timeout;
    }
    assert_eq!([0, 1].map(|index| worker.turn(index)), [0, 1]);
    worker.next_sweep = Some(Instant::now());
    worker.act_on_time();
    let left: Vec<usize> = worker.tunnels.iter().map(|(index, _)| index).collect();
    assert_eq!((left, records.metrics.closed(Ending::Idle).value()), (vec![1], 1));
}

#[test]
fn a_tunnel_that_puts_its_time_off_has_one_time() {
    let mut worker = worker(None);
    let _ends = carry(&worker.inbox(), &Arc::default(), &Arc::default());
    assert!(worker.read_inbox());
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    for seconds in 45..1000 {
        worker.wake_at(0, at(seconds));
    }
    assert_eq!(worker.times, [(at(45), 0)].into());
    worker.wake_at(0, at(1));
    worker.wake_at(0, at(2));
    assert_eq!(worker.times, [(at(1), 0), (at(45), 0)].into());
}

#[test]
fn a_tunnel_gets_its_turn_when_its_time_has_come() {
    let mut worker = worker(None);
    let _ends = carry(&worker.inbox(), &Arc::default(), &Arc::default());
    assert!(worker.read_inbox());
    while let Some(index) = worker.queue.pop_front() {
        worker.turn(index);
    }
    let later = Instant::now() + Duration::from_secs(60);
    worker.times.extend([(Instant::now(), 0), (later, 0)]);
    worker.act_on_time();
    assert_eq!((&worker.queue, &worker.times), (&[0].into(), &[(later, 0)].into()));
}

/// The memory that all pipes of a user may take together is limited.
#[cfg(target_os = "linux")]
#[test]
fn a_thread_without_tunnels_keeps_no_pipe() {
    use crate::sys::{self, AsFd as _, PollFlags};
    let mut worker = Worker::new(Pace::Small, None, Tools::new(Pipes::of_one_in(1))).unwrap();
    let (count, sessions) = (TaskTracker::new(), Arc::default());
    let _ends = [0; 2].map(|_| carry(&worker.inbox(), &count, &sessions));
    assert!(worker.read_inbox());
    let pipe = worker.tools.pipes.take().unwrap();
    let writes = pipe.write.try_clone().unwrap();
    worker.tools.pipes.give_back(pipe);
    // Nobody reads the pipe any more. A child that another test starts may hold a copy for a moment.
    let is_closed = |limit| {
        let until = Some(Instant::now() + limit);
        sys::poll(&mut [sys::entry(writes.as_fd(), PollFlags::empty())], until).unwrap()
    };
    worker.remove(0, Ending::Stopped);
    assert!(!is_closed(Duration::ZERO));
    worker.remove(1, Ending::Stopped);
    assert!(is_closed(LIMIT));
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_worker_takes_no_processor_time() {
    let (count, sessions) = (TaskTracker::new(), Arc::<Sessions>::default());
    for idle_timeout in [None, Some(Duration::from_secs(3600))] {
        let worker = worker(idle_timeout);
        let inbox = worker.inbox();
        let (id, theirs) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            id.send(this_thread()).unwrap();
            worker.run();
        });
        let thread_id = theirs.recv().unwrap();
        // A tunnel that has sent something, one that is half-closed, and one that is gone.
        let mut tunnels = [0; 3].map(|_| carry(&inbox, &count, &sessions));
        tunnels.iter_mut().for_each(says);
        // One with TLS, of which both ends have said something.
        let ((client, their_client), (vps, their_vps)) = (connection(), connection());
        their_client.set_nonblocking(true).unwrap();
        let (mut their_client, client) = secured(their_client, client);
        let early = EarlyData { up: Vec::new(), down: Vec::new(), answer: b"yes" };
        let session = session(&sessions, None);
        let tunnel = Tunnel::new(Box::new(client), Box::new(vps), early, session, count.token());
        inbox.carry(Box::new(tunnel));
        their_client.send(b"x").unwrap();
        let mut with_tls = (their_client, their_vps);
        with_tls.1.read_exact(&mut [0]).expect("nobody carries it");
        tunnels[1].0.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(tunnels[1].1.read(&mut [0]).unwrap(), 0);
        let [first, second, third] = tunnels;
        drop(third);
        while count.len() > 3 {
            std::thread::yield_now();
        }
        assert!(is_idle(&thread_id));
        inbox.put(Message::Leave);
        thread.join().unwrap();
        drop((first, second, with_tls));
    }
}
