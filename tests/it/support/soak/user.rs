//! The actions of users, well-behaved or not, and the outcomes that are right.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use super::World;
use super::carry::{Ending, Pace, Plan, Report, Saw, carry, reset, type_in};
use super::runner::BANNER;
use super::verdict::verdict;
use crate::support::host_api::{ASSIGNED, OWNER, STRANGER};
use crate::support::random::Random;

/// A VPS that there isn't.
const UNKNOWN: &str = "7000000000000000001";
/// A small receive buffer, in bytes.
const SMALL: u32 = 4096;
/// Answers that only a user gets whose request or rights are wrong.
const TROUBLE: [u16; 3] = [502, 503, 504];

/// A user at an own address.
pub(crate) struct User {
    pub(crate) address: Ipv4Addr,
    pub(crate) random: Random,
    /// The counter that makes the plans' ids differ.
    pub(crate) next_id: u64,
    /// The current step and its progress, for the report if the user is stuck.
    pub(crate) at: String,
    pub(crate) report: Report,
}

/// The outcome of one action of a user.
#[derive(Default)]
pub(crate) struct Done {
    /// A tunnel was open.
    pub(crate) tunnel: bool,
    pub(crate) bytes: u64,
    /// The status of the gateway's refusal, and its `Proxy-Status`, if it refused.
    pub(crate) refused: Option<(u16, String)>,
}

/// An error that is the gateway's fault.
type Fault = String;

/// How a request ends up.
enum Answer {
    Open,
    Refused(u16, String),
    /// The connection broke, or ended without an answer.
    Nothing,
}

/// The way a tunnel is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Connect,
    Line,
}

impl User {
    /// Does one thing.
    pub(crate) async fn act(&mut self, world: &World, gateway: SocketAddr) -> Result<Done, Fault> {
        self.at = "a request of no tunnel".to_owned();
        match self.random.below(100) {
            0..60 => self.tunnel(world, gateway).await,
            60..75 => self.vanish(world, gateway).await,
            75..85 => self.talk_nonsense(gateway).await,
            _ => self.ask_in_vain(world, gateway).await,
        }
    }

    /// A tunnel that nothing disturbs on this side.
    pub(crate) async fn plain_tunnel(&mut self, world: &World, gateway: SocketAddr, vps: &str) -> Result<Done, Fault> {
        let id = self.id();
        let plan = Plan { id, up: 10_000, down: 10_000, client: Ending::Orderly, vps: Ending::Orderly, typed: false };
        self.carry_out(world, gateway, vps, plan).await
    }

    async fn connect(&mut self, gateway: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if self.random.percent(30) {
            // Bytes that don't fit into the small buffer have to wait in the gateway.
            socket.set_recv_buffer_size(SMALL)?;
        }
        socket.bind((self.address, 0).into())?;
        let stream = socket.connect(gateway).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn amount(&mut self, world: &World) -> u64 {
        let most = *self.random.pick(&[1, 200, 5_000, 70_000, 1_000_000, world.largest]);
        self.random.below(most)
    }

    fn ending(&mut self, sends: u64, receives: u64) -> Ending {
        match self.random.below(10) {
            0 => Ending::AfterSent(self.random.below(sends + 1)),
            1 => Ending::AfterReceived(self.random.below(receives + 1)),
            _ => Ending::Orderly,
        }
    }

    async fn tunnel(&mut self, world: &World, gateway: SocketAddr) -> Result<Done, Fault> {
        let (up, down) = (self.amount(world), self.amount(world));
        let (client, vps) = (self.ending(up, down), self.ending(down, up));
        let mut plan = Plan { id: self.id(), up, down, client, vps, typed: self.random.percent(20) };
        if plan.typed {
            plan = Plan { up: up.min(5_000), down: 0, client: Ending::Orderly, vps: Ending::Orderly, ..plan };
        }
        let vps = self.random.pick(&world.ids).clone();
        self.carry_out(world, gateway, &vps, plan).await
    }

    async fn carry_out(&mut self, world: &World, gateway: SocketAddr, vps: &str, plan: Plan) -> Result<Done, Fault> {
        let asks = if !world.logins && self.random.percent(20) { Asks::Line } else { Asks::Connect };
        let token = *self.random.pick(&[OWNER, ASSIGNED]);
        let mut request = request(asks, vps, Some(token));
        let line = serde_json::to_string(&plan).map_err(|error| error.to_string())? + "\n";
        // Bytes behind the request's head are the start of the stream.
        let early = asks == Asks::Connect && self.random.percent(30);
        if early {
            request += &line;
        }
        let heard = world.awaited.wait_for(plan.id);
        self.report = Report::default();
        self.at = format!("the answer, {plan:?}");
        let answer = async {
            let mut stream = self.connect(gateway).await?;
            stream.write_all(request.as_bytes()).await?;
            let answer = read_answer(&mut stream, asks).await?;
            io::Result::Ok((stream, answer))
        };
        let (mut stream, answer) = match answer.await {
            Ok(both) => both,
            Err(error) => {
                world.awaited.forget(plan.id);
                return Err(format!("no answer to a request in order: {error}"));
            }
        };
        match answer {
            Answer::Open => {}
            Answer::Refused(status, why) if TROUBLE.contains(&status) || asks == Asks::Line => {
                world.awaited.forget(plan.id);
                return Ok(Done { refused: Some((status, why)), ..Done::default() });
            }
            Answer::Refused(status, _) => return Err(format!("{status} for a VPS that is the user's own")),
            Answer::Nothing => return Err("an end instead of an answer".to_owned()),
        }
        self.at = format!("the banner, {plan:?}");
        let mut banner = [0; BANNER.len()];
        let begun = match stream.read_exact(&mut banner).await {
            Ok(_) if banner != BANNER => return Err(format!("not the VPS's banner: {}", banner.escape_ascii())),
            Ok(_) => early || stream.write_all(line.as_bytes()).await.is_ok(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err("an end instead of the VPS's banner".to_owned());
            }
            Err(_) => false,
        };
        if begun {
            if self.random.percent(10) {
                sleep(Duration::from_millis(self.random.below(1_000))).await;
            }
            self.at = format!("the tunnel's end, {plan:?}");
            let (flows, pace, typed) = ((plan.upwards(), plan.downwards()), self.pace(&plan), self.random.below(200));
            let report = &mut self.report;
            match plan.typed {
                true => type_in(&mut stream, flows.0, 1 + typed, report).await,
                false => carry(&mut stream, flows, plan.client, pace, report).await,
            }
        }
        drop(stream);
        self.at = format!("the VPS's report, {plan:?}");
        let report = self.report;
        // As long as nothing has come of it, the plan may have been lost on its way; else the VPS has it.
        let ended = report.received.saw == Saw::End && !report.sent.reset;
        if report.received.count == 0 && !ended {
            let grace = tokio::time::timeout(world.grace, heard).await;
            world.awaited.forget(plan.id);
            let vps = grace.ok().and_then(Result::ok);
            return judged(&plan, &report, vps.as_ref());
        }
        let vps = heard.await.map_err(|_| "the VPS never heard of it".to_owned())?;
        judged(&plan, &report, Some(&vps))
    }

    /// Mostly as fast as it can be.
    fn pace(&mut self, plan: &Plan) -> Pace {
        if !self.random.percent(10) {
            return Pace::FAST;
        }
        // Some two seconds, whatever there is to read.
        let chunk = (plan.down / 200).max(64) as usize;
        Pace { chunk, pause: Duration::from_millis(10) }
    }

    /// Leaves somewhere in the handshake.
    async fn vanish(&mut self, world: &World, gateway: SocketAddr) -> Result<Done, Fault> {
        let vps = self.random.pick(&world.ids).clone();
        let request = request(Asks::Connect, &vps, Some(OWNER));
        let part = self.random.below(request.len() as u64 + 1) as usize;
        let Ok(mut stream) = self.connect(gateway).await else { return Err("no connection".to_owned()) };
        // The receiver has gone.
        let _ = stream.write_all(&request.as_bytes()[..part]).await;
        if self.random.percent(50) {
            sleep(Duration::from_millis(self.random.below(50))).await;
        }
        if self.random.percent(50) {
            reset(&stream);
        }
        Ok(Done::default())
    }

    async fn talk_nonsense(&mut self, gateway: SocketAddr) -> Result<Done, Fault> {
        let random: Vec<u8> = (0..self.random.below(3_000)).map(|_| self.random.below(256) as u8).collect();
        let long = format!("CONNECT 1:22 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
        let nonsense = [
            random,
            long.into_bytes(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            b"CONNECT  HTTP/1.1\r\n\r\n".to_vec(),
            b"SSH-2.0-lost\r\n".to_vec(),
            b"REQUEST_TUNNEL nonsense\n".to_vec(),
        ];
        let nonsense = self.random.pick(&nonsense).clone();
        let Ok(mut stream) = self.connect(gateway).await else { return Err("no connection".to_owned()) };
        let mut answer = Vec::new();
        // It may have heard enough before the end.
        if stream.write_all(&nonsense).await.is_ok() {
            let _ = stream.shutdown().await;
        }
        let _ = stream.take(64 * 1024).read_to_end(&mut answer).await;
        if answer.starts_with(b"HTTP/1.1 2") || answer.starts_with(b"SUCCESS") {
            return Err(format!("a yes to nonsense: {}", nonsense[..nonsense.len().min(100)].escape_ascii()));
        }
        Ok(Done::default())
    }

    /// Asks for what can't be had.
    async fn ask_in_vain(&mut self, world: &World, gateway: SocketAddr) -> Result<Done, Fault> {
        let vps = self.random.pick(&world.ids).clone();
        let mut cases = vec![
            (request(Asks::Connect, UNKNOWN, Some(OWNER)), Asks::Connect, &[404][..]),
            (request(Asks::Connect, &vps, Some(OWNER)).replace(":22", ":23"), Asks::Connect, &[403]),
            (request(Asks::Line, UNKNOWN, None), Asks::Line, &[0]),
        ];
        if world.logins {
            // A Host that fails between two answers may leave it open which no it is.
            cases.push((request(Asks::Connect, &vps, None), Asks::Connect, &[407, 403]));
            cases.push((request(Asks::Connect, &vps, Some("wrong")), Asks::Connect, &[407, 403]));
            cases.push((request(Asks::Connect, &vps, Some(STRANGER)), Asks::Connect, &[403]));
            cases.push((request(Asks::Line, &vps, None), Asks::Line, &[0]));
        }
        let (request, asks, expected) = self.random.pick(&cases);
        let answer = async {
            let mut stream = self.connect(gateway).await?;
            stream.write_all(request.as_bytes()).await?;
            read_answer(&mut stream, *asks).await
        };
        match answer.await {
            Ok(Answer::Refused(status, why)) if expected.contains(&status) || TROUBLE.contains(&status) => {
                Ok(Done { refused: Some((status, why)), ..Done::default() })
            }
            Ok(Answer::Refused(status, _)) => Err(format!("{status} instead of {expected:?} to {request:?}")),
            Ok(Answer::Open) => Err(format!("a yes to {request:?}")),
            Ok(Answer::Nothing) => Err(format!("no answer to {request:?}")),
            Err(error) => Err(format!("no answer to {request:?}: {error}")),
        }
    }
}

fn judged(plan: &Plan, client: &Report, vps: Option<&Report>) -> Result<Done, Fault> {
    let bytes = client.received.count + vps.map_or(0, |vps| vps.received.count);
    verdict(plan, client, vps).map_err(|fault| format!("{fault}: {plan:?}, the client {client:?}, the VPS {vps:?}"))?;
    Ok(Done { tunnel: true, bytes, refused: None })
}

fn request(asks: Asks, vps: &str, token: Option<&str>) -> String {
    let token = token.map_or(String::new(), |token| format!("Proxy-Authorization: Bearer {token}\r\n"));
    match asks {
        Asks::Connect => format!("CONNECT {vps}:22 HTTP/1.1\r\nHost: {vps}:22\r\n{token}\r\n"),
        Asks::Line => format!("REQUEST_TUNNEL {vps}\n"),
    }
}

/// Reads the answer, and no byte beyond it. A refusal in the line protocol has the status 0.
async fn read_answer(stream: &mut TcpStream, asks: Asks) -> io::Result<Answer> {
    let end: &[u8] = if asks == Asks::Connect { b"\r\n\r\n" } else { b"\n" };
    let mut head = Vec::new();
    while !head.ends_with(end) {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Answer::Nothing),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if asks == Asks::Line {
        return Ok(if head == "SUCCESS\n" { Answer::Open } else { Answer::Refused(0, String::new()) });
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    if status == 200 {
        return Ok(Answer::Open);
    }
    // The stream ends; a refusal arrives as a whole.
    stream.read_to_end(&mut Vec::new()).await?;
    let why = head.lines().find_map(|line| line.strip_prefix("Proxy-Status: ")).unwrap_or_default();
    Ok(Answer::Refused(status, why.to_owned()))
}
