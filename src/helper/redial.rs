//! The connections of a resumable tunnel after its first one.
//!
//! A thread dials, so that the relay continues meanwhile: bytes still come over a connection that only seems dead. A
//! connection becomes the tunnel's in two steps, since the position up to which the tunnel has delivered is known only
//! once it reads nothing from the old connection any more.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};

use super::away::Away;
use crate::carrier::Carrier;
use crate::dial::{DialError, Interrupted, Watch};
use crate::handshake::connect::{self, Answer, Login};
use crate::handshake::problem::{self, Explanation};
use crate::handshake::resume::{Answered, Asked};
use crate::resume::{Fresh, Key, SessionId, SessionOver, Supplied, Supply, Want};
use crate::route::{self, ExchangeError, Route, RouteError, exchange, read_body};
use crate::secret::Token;
use crate::settings::Origin;
use crate::sys::{self, AsFd, BorrowedFd, NetworkChanges, OwnedFd, PollFlags};
use crate::target::Target;

/// Time limits for a connection as far as the gateway, one try after the other. A packet that is lost in an outage is
/// sent again only after 1, 2 and 4 seconds, so a new try is sooner there. The longer one is for slow networks.
const DIAL_LIMITS: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(2), Duration::from_secs(2), Duration::from_secs(5)];
/// Time limit for the gateway's answer. It may ask its Host first.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);
/// The pause after the first failure. It doubles with each further one, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Most answers of gateways that know no resumable sessions. Of several gateways behind one address, one may be older.
const MOST_PLAIN_ANSWERS: u32 = 5;

/// The session that is continued, and the way to it.
pub(super) struct Session {
    pub(super) proxy: Origin,
    pub(super) route: Route,
    pub(super) target: Target,
    pub(super) token: Option<Token>,
    pub(super) id: SessionId,
    pub(super) key: Key,
}

/// Dials again when the tunnel needs it.
pub(super) struct Redial {
    /// Until it is needed for the first time.
    dialler: Option<Dialler>,
    orders: Sender<Order>,
    news: Receiver<News>,
    /// A byte from here tells the thread that there are orders, and one from there the relay that there is news.
    wake: OwnedFd,
    network: Option<NetworkChanges>,
    want: Want,
    away: Arc<Away>,
}

enum Order {
    Want(Want),
    /// Continue from this position.
    Start(u64),
    /// The network has changed: try again at once.
    Retry,
}

enum News {
    Ready,
    Connection(Fresh),
    Over(SessionOver),
}

impl Redial {
    /// A supply that dials nothing yet.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(super) fn new(session: Session, away: Arc<Away>) -> io::Result<Self> {
        let (ours, theirs) = sys::socket_pair()?;
        let ((orders, received), (sender, news)) = (mpsc::channel(), mpsc::channel());
        let dialler = Dialler {
            session,
            orders: received,
            news: sender,
            wake: theirs,
            away: Arc::clone(&away),
            n: 0,
            plain_answers: 0,
            want: Want::Nothing,
        };
        let network = NetworkChanges::listen().ok();
        Ok(Self { dialler: Some(dialler), orders, news, wake: ours, network, want: Want::Nothing, away })
    }

    fn order(&mut self, order: Order) {
        // Without a thread, nobody takes it.
        let _ = self.orders.send(order);
        match self.dialler.take() {
            None => wake(&self.wake),
            // The thread ends with this process.
            Some(dialler) => {
                let thread = std::thread::Builder::new().name("redial".to_owned()).spawn(move || dialler.run());
                if thread.is_err() {
                    self.away.note_failure("the system has no thread left");
                }
            }
        }
    }
}

impl Supply for Redial {
    fn want(&mut self, want: Want, now: Instant) {
        match want {
            Want::Needed => self.away.lost(now),
            Want::Nothing => self.away.back(now),
            Want::Beside => {}
        }
        self.want = want;
        self.order(Order::Want(want));
    }

    fn next(&mut self) -> Supplied {
        // The byte of a message that is left wakes the relay up again.
        let news = self.news.try_recv().or_else(|_| {
            drain(&self.wake);
            self.news.try_recv()
        });
        match news {
            Ok(News::Ready) => Supplied::Ready,
            Ok(News::Connection(fresh)) => Supplied::Connection(fresh),
            Ok(News::Over(over)) => Supplied::Over(over),
            Err(_) => Supplied::Nothing,
        }
    }

    fn stop(&mut self) {
        if self.want != Want::Nothing {
            self.want = Want::Nothing;
            self.order(Order::Want(Want::Nothing));
        }
    }

    fn start(&mut self, delivered: u64) {
        self.order(Order::Start(delivered));
    }

    fn network_has_changed(&mut self) -> bool {
        let has_changed = self.network.as_ref().is_some_and(NetworkChanges::are_there);
        if has_changed && self.want != Want::Nothing {
            self.order(Order::Retry);
        }
        has_changed
    }

    fn news(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [Some(self.wake.as_fd()), self.network.as_ref().map(AsFd::as_fd)]
    }
}

fn wake(other_end: &OwnedFd) {
    // If there is no room, the other end has bytes to wake up for.
    let _ = sys::send(other_end.as_fd(), &[0]);
}

fn drain(end: &OwnedFd) {
    while matches!(sys::receive(end.as_fd(), &mut [0; 64]), Ok(1..)) {}
}

/// The work of the thread.
struct Dialler {
    session: Session,
    orders: Receiver<Order>,
    news: Sender<News>,
    wake: OwnedFd,
    away: Arc<Away>,
    /// The number of the last try with a request.
    n: u64,
    /// How many answers were those of a gateway that opens a tunnel of its own for each try.
    plain_answers: u32,
    want: Want,
}

/// How a try ended.
enum Tried {
    /// The tunnel has the connection, or wants none any more.
    Done,
    /// This try failed; another one may not.
    Failed(String),
    /// The session is over.
    Over(String),
    /// An order came in between.
    Ordered,
}

impl Dialler {
    fn run(mut self) {
        let (mut tries, mut pause) = (0, FIRST_PAUSE);
        loop {
            if self.want == Want::Nothing {
                (tries, pause) = (0, FIRST_PAUSE);
                let order = self.next_order();
                self.obey(order);
                continue;
            }
            let tried = self.attempt(DIAL_LIMITS[tries % DIAL_LIMITS.len()]);
            tries += 1;
            match tried {
                Tried::Done => {}
                Tried::Over(why) => {
                    self.tell(News::Over(SessionOver::Refused(why)));
                    self.want = Want::Nothing;
                }
                Tried::Ordered => (tries, pause) = (0, FIRST_PAUSE),
                Tried::Failed(why) => {
                    self.away.note_failure(&why);
                    let until = Instant::now() + jittered(pause);
                    pause = LONGEST_PAUSE.min(pause * 2);
                    if self.watch(until).pause(until).is_err() {
                        pause = FIRST_PAUSE;
                    }
                }
            }
            self.obey_all();
        }
    }

    fn obey(&mut self, order: Order) {
        if let Order::Want(want) = order {
            self.want = want;
        }
    }

    fn obey_all(&mut self) {
        drain(&self.wake);
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
    }

    /// Waits for an order.
    fn next_order(&self) -> Order {
        loop {
            drain(&self.wake);
            if let Ok(order) = self.orders.try_recv() {
                return order;
            }
            // Waiting doesn't fix an error of poll(2), so the next look comes at once.
            let _ = sys::poll(&mut [sys::entry(self.wake.as_fd(), PollFlags::IN)], None);
        }
    }

    fn tell(&self, news: News) {
        // The relay may be over.
        let _ = self.news.send(news);
        wake(&self.wake);
    }

    /// A wait that an order ends.
    fn watch(&self, deadline: Instant) -> Watch<'_> {
        Watch { ssh: None, signal: Some(self.wake.as_fd()), deadline, beside: None }
    }

    fn attempt(&mut self, limit: Duration) -> Tried {
        self.obey_all();
        if self.want == Want::Nothing {
            return Tried::Done;
        }
        let began = Instant::now();
        let connected = route::connect(&self.session.proxy, &self.session.route, self.watch(began + limit));
        let carrier = match connected {
            Ok(carrier) => carrier,
            Err(
                RouteError::Interrupted(Interrupted::Signal)
                | RouteError::Dial(DialError::Interrupted(Interrupted::Signal, _)),
            ) => return Tried::Ordered,
            Err(error) => return Tried::Failed(error.to_string()),
        };
        self.tell(News::Ready);
        loop {
            match self.next_order() {
                Order::Start(delivered) => return self.continue_over(carrier, delivered),
                order @ Order::Want(Want::Nothing) => {
                    self.obey(order);
                    return Tried::Done;
                }
                order => self.obey(order),
            }
        }
    }

    fn continue_over(&mut self, mut carrier: Box<dyn Carrier>, delivered: u64) -> Tried {
        self.n += 1;
        let Session { target, token, id, key, .. } = &self.session;
        let asked = Asked::to_continue(*id, key, self.n, delivered);
        let request = connect::request(&target.authority(), token.as_ref().map(Login::Bearer), Some(asked));
        // Orders wait: the gateway may have given the tunnel this connection already.
        let watch = Watch { signal: None, ..self.watch(Instant::now() + ANSWER_LIMIT) };
        let (answer, early) = match exchange(&mut *carrier, &request, connect::read, watch) {
            Ok(answered) => answered,
            Err(ExchangeError::Interrupted(_)) => {
                return Tried::Failed("the gateway gave no answer in time".to_owned());
            }
            Err(error) => return Tried::Failed(error.to_string()),
        };
        match answer {
            Answer::Established(Some(Answered::Continued(peer_delivered))) => {
                (self.want, self.plain_answers) = (Want::Nothing, 0);
                self.tell(News::Connection(Fresh { carrier, early, peer_delivered, answers: None }));
                Tried::Done
            }
            Answer::Established(_) => {
                let why = "the gateway that answers now knows no resumable sessions";
                self.plain_answers += 1;
                let is_over = self.plain_answers >= MOST_PLAIN_ANSWERS;
                if is_over { Tried::Over(why.to_owned()) } else { Tried::Failed(why.to_owned()) }
            }
            Answer::Refused(refused) => {
                let body = read_body(&mut *carrier, early, &refused, watch);
                let why = match problem::explain(&refused, &body) {
                    Explanation::Problem { title, detail, .. } => {
                        [Some(title), detail].into_iter().flatten().collect::<Vec<_>>().join(": ")
                    }
                    Explanation::Text(text) => text,
                    Explanation::Nothing => refused.status_line(),
                };
                if refused.resume == Some(Answered::Over) { Tried::Over(why) } else { Tried::Failed(why) }
            }
            Answer::OlderHost(text) => Tried::Failed(format!("an older Host answered: {text}")),
            Answer::Ssh(_) | Answer::Tls | Answer::NotHttp(_) => Tried::Failed("no gateway answers there".to_owned()),
            Answer::Malformed(why) => Tried::Failed(why.to_owned()),
        }
    }
}

/// Between three quarters and all of `pause`. Without this jitter, clients that lost their connections together would
/// reconnect together.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes they come together.
    let _ = SystemRandom::new().fill(&mut byte);
    pause * 3 / 4 + pause / 4 * u32::from(byte[0]) / 255
}
