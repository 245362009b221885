//! One thread: it waits for events of its tunnels, and gives each tunnel its turn.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use slab::Slab;

use super::flow::{READ, TURN, Tools};
use super::inbox::{Inbox, Message};
use super::pace::Pace;
use super::tunnel::{Next, PackedTunnel, Tunnel};
use super::yielding::Yielding;
use crate::gateway::words::session::Ending;
use crate::relay::ending::Party;

/// How many events are taken at once.
const EVENTS: usize = 256;
/// The inbox's token; tunnels have the tokens from 0 up.
const INBOX: Token = Token(usize::MAX);
/// How long a thread rests after a panic outside of any tunnel, so that it doesn't fill the log.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    poll: Poll,
    inbox: Arc<Inbox>,
    tunnels: Slab<Box<Tunnel>>,
    /// The tunnels whose clients can come again, by session.
    lasting: HashMap<u64, usize>,
    /// Tunnels that wait for their turn.
    queue: VecDeque<usize>,
    /// When to look at a tunnel though nothing happened to it.
    times: BTreeSet<(Instant, usize)>,
    tools: Tools,
    yielding: Yielding,
    /// The pace of its tunnels. A tunnel with another pace goes to one of the other workers.
    pace: Pace,
    other_workers: Vec<Arc<Inbox>>,
    /// The reason why all tunnels have ended, if so. A tunnel that arrives later ends at once.
    ended: Option<Ending>,
    idle_timeout: Option<Duration>,
    next_sweep: Option<Instant>,
}

impl Worker {
    pub(super) fn new(pace: Pace, idle_timeout: Option<Duration>, tools: Tools) -> io::Result<Self> {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox::new(poll.registry(), INBOX)?);
        Ok(Self {
            poll,
            inbox,
            tunnels: Slab::new(),
            lasting: HashMap::new(),
            queue: VecDeque::new(),
            times: BTreeSet::new(),
            tools,
            yielding: Yielding::new(),
            pace,
            other_workers: Vec::new(),
            ended: None,
            idle_timeout,
            next_sweep: idle_timeout.map(|timeout| Instant::now() + timeout / 4),
        })
    }

    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Sets the workers for tunnels of another pace.
    pub(super) fn send_others_to(&mut self, inboxes: Vec<Arc<Inbox>>) {
        self.other_workers = inboxes;
    }

    pub(super) fn run(mut self) {
        while catch_panic(|| self.work()).is_none() {
            self.recover();
            std::thread::sleep(FAULT_PAUSE);
        }
    }

    /// Ends the tunnels that it has. A panic outside of any tunnel may have left them without a turn or an event.
    fn recover(&mut self) {
        self.remove_all(|_| Some(Ending::Fault));
        self.queue.clear();
        self.times.clear();
    }

    /// Works until an end is ordered.
    fn work(&mut self) {
        // The event of a message may have come before a panic, and is not repeated.
        if !self.read_inbox() {
            return;
        }
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.time_to_wait())
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Only a broken program gets such an error (epoll_wait(2)).
                panic!("cannot wait for events: {error}");
            }
            for event in &events {
                if event.token() == INBOX {
                    continue;
                }
                let (index, party) = address(event.token());
                if let Some(tunnel) = self.tunnels.get_mut(index) {
                    match catch_panic(|| tunnel.note(party, event)) {
                        Some(()) => self.wake(index),
                        None => self.remove(index, Ending::Fault),
                    }
                }
            }
            if events.iter().any(|event| event.token() == INBOX) && !self.read_inbox() {
                return;
            }
            self.act_on_time();
            // As much as one turn may move, then look for new events. A turn that moves little may cost as much as others.
            let (mut moved, mut spent) = (0, 0);
            while spent < TURN
                && let Some(index) = self.queue.pop_front()
            {
                let by_turn = self.turn(index);
                moved += by_turn;
                spent += by_turn.max(READ);
            }
            if moved > 0 && self.pace == Pace::Bulk {
                self.yielding.yield_now();
            }
        }
    }

    /// How long to wait for events.
    fn time_to_wait(&self) -> Option<Duration> {
        if !self.queue.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.times.first().map(|(at, _)| *at).into_iter().chain(self.next_sweep).min()?;
        // Rounded up: the system counts in milliseconds, and waking up too early would only repeat the wait.
        Some(next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    /// Obeys its messages; `false` if one of them orders the end.
    fn read_inbox(&mut self) -> bool {
        while let Some(message) = self.inbox.take() {
            match message {
                Message::Carry(tunnel) => self.add(tunnel),
                Message::Wake(session) => {
                    if let Some(index) = self.lasting.get(&session).copied() {
                        self.wake(index);
                    }
                }
                Message::Pack(to) => self.pack_lasting(&to),
                Message::EndAsked => self.remove_all(|tunnel| tunnel.session.asked_to_end()),
                Message::EndAll(ending) => {
                    self.ended = Some(ending);
                    self.remove_all(|_| Some(ending));
                }
                Message::Leave => {
                    self.remove_all(|_| Some(Ending::Stopped));
                    return false;
                }
            }
        }
        true
    }

    fn add(&mut self, mut tunnel: Box<Tunnel>) {
        tunnel.wakes_at = None;
        let entry = self.tunnels.vacant_entry();
        let index = entry.key();
        let (registry, client, vps) = (self.poll.registry(), token(index, Party::Client), token(index, Party::Server));
        let is_registered = matches!(catch_panic(|| tunnel.register(registry, client, vps)), Some(Ok(())));
        let ending = tunnel.session.asked_to_end();
        let ending = ending.or(self.ended).or((!is_registered).then_some(Ending::Fault));
        if tunnel.is_lasting() {
            self.lasting.insert(tunnel.session.id, index);
        }
        entry.insert(tunnel);
        match ending {
            Some(ending) => self.remove(index, ending),
            None => self.wake(index),
        }
    }

    /// Gives a tunnel to the other worker that has the fewest tunnels.
    fn hand_over(&mut self, index: usize) {
        let idlest = self.other_workers.iter().min_by_key(|inbox| inbox.tunnels());
        let Some(to) = idlest.map(Arc::clone) else { return };
        let Some(tunnel) = self.tunnels.get(index) else { return };
        if catch_panic(|| tunnel.deregister(self.poll.registry())).is_none_or(|left| left.is_err()) {
            return self.remove(index, Ending::Fault);
        }
        let tunnel = self.tunnels.remove(index);
        self.lasting.remove(&tunnel.session.id);
        self.close_idle_pipes();
        self.inbox.one_less();
        to.carry(tunnel);
    }

    /// Packs the tunnels whose clients can come again.
    fn pack_lasting(&mut self, to: &Sender<PackedTunnel>) {
        let lasting: Vec<usize> = self.lasting.values().copied().collect();
        for index in lasting {
            let Some(tunnel) = self.tunnels.get(index) else { continue };
            if catch_panic(|| tunnel.deregister(self.poll.registry())).is_none_or(|left| left.is_err()) {
                self.remove(index, Ending::Fault);
                continue;
            }
            let tunnel = self.tunnels.remove(index);
            self.lasting.remove(&tunnel.session.id);
            match tunnel.pack() {
                Ok(packed) => {
                    self.inbox.one_less();
                    // Without a receiver, its session ends with the value.
                    let _ = to.send(packed);
                }
                Err(tunnel) => {
                    self.inbox.one_less();
                    self.inbox.carry(tunnel);
                }
            }
        }
        self.close_idle_pipes();
    }

    /// Closes the idle pipes when there is no tunnel left.
    fn close_idle_pipes(&mut self) {
        if self.tunnels.is_empty() {
            self.tools.pipes.forget_idle();
        }
    }

    fn remove(&mut self, index: usize, ending: Ending) {
        let Some(mut tunnel) = self.tunnels.try_remove(index) else { return };
        self.lasting.remove(&tunnel.session.id);
        let _ = catch_panic(|| tunnel.release(&mut self.tools));
        // A socket that is closed is off the event loop as well.
        let _ = catch_panic(|| tunnel.close(ending));
        self.close_idle_pipes();
        self.inbox.one_less();
    }

    /// Removes the tunnels for which `ending` has one.
    fn remove_all(&mut self, ending: impl Fn(&Tunnel) -> Option<Ending>) {
        let all = self.tunnels.iter().filter_map(|(index, tunnel)| Some((index, ending(tunnel)?)));
        let all: Vec<(usize, Ending)> = all.collect();
        all.into_iter().for_each(|(index, ending)| self.remove(index, ending));
    }

    fn wake(&mut self, index: usize) {
        let Some(tunnel) = self.tunnels.get_mut(index) else { return };
        if !std::mem::replace(&mut tunnel.queued, true) {
            self.queue.push_back(index);
        }
    }

    /// Gives a tunnel a turn at this time. An earlier one serves as well: it tells the next time. So a tunnel has few times
    /// here, however often it puts its next one off.
    fn wake_at(&mut self, index: usize, at: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(index) else { return };
        if tunnel.wakes_at.is_none_or(|before| at < before) {
            tunnel.wakes_at = Some(at);
            self.times.insert((at, index));
        }
    }

    /// Gives a tunnel its turn, and returns how many bytes it moved.
    fn turn(&mut self, index: usize) -> usize {
        let Some(tunnel) = self.tunnels.get_mut(index) else { return 0 };
        tunnel.queued = false;
        let mut moved = 0;
        let (tools, registry) = (&mut self.tools, self.poll.registry());
        let next = catch_panic(|| match tunnel.act(registry, token(index, Party::Client)) {
            Ok(()) => tunnel.turn(tools, &mut moved),
            Err(_) => Next::Remove(Ending::Fault),
        });
        let pace = tunnel.pace(moved);
        if moved > 0 && tunnel.is_typed() {
            self.tools.typing.note();
        }
        if moved > 0 && self.idle_timeout.is_some() {
            tunnel.moved_at = Instant::now();
        }
        match next {
            Some(Next::Wait | Next::Again | Next::WaitUntil(_)) if pace != self.pace => self.hand_over(index),
            Some(Next::Wait) => {}
            Some(Next::Again) => self.wake(index),
            Some(Next::WaitUntil(at)) => self.wake_at(index, at),
            Some(Next::Remove(ending)) => self.remove(index, ending),
            None => self.remove(index, Ending::Fault),
        }
        moved
    }

    fn act_on_time(&mut self) {
        if self.times.is_empty() && self.next_sweep.is_none() {
            return;
        }
        let now = Instant::now();
        while let Some((at, index)) = self.times.first().copied()
            && at <= now
        {
            self.times.pop_first();
            if let Some(tunnel) = self.tunnels.get_mut(index)
                && tunnel.wakes_at == Some(at)
            {
                tunnel.wakes_at = None;
            }
            // The place may have another tunnel by now; a turn in vain doesn't harm that one.
            self.wake(index);
        }
        let Some(timeout) = self.idle_timeout else { return };
        if self.next_sweep.is_some_and(|at| at <= now) {
            let is_idle = |tunnel: &Tunnel| now.duration_since(tunnel.moved_at) >= timeout;
            self.remove_all(|tunnel| is_idle(tunnel).then_some(Ending::Idle));
            self.next_sweep = Some(now + timeout / 4);
        }
    }
}

/// The result of `work`, or `None` after a panic, which is reported on stderr.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn token(index: usize, party: Party) -> Token {
    Token(index * 2 + usize::from(party == Party::Server))
}

fn address(token: Token) -> (usize, Party) {
    (token.0 / 2, if token.0.is_multiple_of(2) { Party::Client } else { Party::Server })
}

#[cfg(test)]
mod tests {
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
    fn carry_behind(
        early: &[u8],
        inbox: &Inbox,
        count: &TaskTracker,
        sessions: &Arc<Sessions>,
    ) -> (TcpStream, TcpStream) {
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
        // It waits again, and not for a processor (proc_pid_stat(5)).
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
        tokio::time::timeout(LIMIT, none).await.expect("it waits for ever").unwrap();
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
        // Nobody reads it any more. A child that another test starts may hold a copy for a moment.
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
            // One that has said something, one that has half closed, and one that is gone.
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
}
