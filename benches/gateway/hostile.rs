//! A user's set-up while another client asks for all it can get: with tokens that it makes up, and for VPSes on Runners
//! whose names nobody resolves. Each set-up is one that the gateway has to ask for, not one that it remembers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kohakuriver_proxy::sys::raise_open_files;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::gateway::{Gateway, running};
use crate::support::home::Home;
use crate::support::host_api::{OPERATOR, answer};
use crate::support::limits;
use crate::support::peers::Asked;
use crate::support::run::Run;
use crate::support::tools::{GATEWAY, tool};

/// The argument that asks for this benchmark.
pub(crate) const NAME: &str = "hostile";
/// How many hostile connections there are at a time, all of one address.
const HOSTILE: usize = 500;
/// How many set-ups of the user are measured, one after another, without and with hostile connections.
const SETUPS: usize = 50;
/// How long the Host takes for an answer.
const HOST: Duration = Duration::from_millis(50);
/// How many times as long a set-up may take beside them.
const MOST: f64 = 3.0;
/// Longest time for everything.
const WHOLE_RUN: Duration = Duration::from_secs(240);
/// How long hostile clients ask before anything is measured.
const BEFORE: Duration = Duration::from_secs(3);

const USER_AT: Ipv4Addr = Ipv4Addr::LOCALHOST;
const HOSTILE_AT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The name server, whose port only root may have.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);
/// The start of each token that the Host knows.
const KNOWN: &str = "known-";
/// For a shell: runs a program with these files in place of the system's.
const WITH_FILES: &str =
    "mount --bind \"$1\" /etc/resolv.conf && mount --bind \"$2\" /etc/hosts && shift 2 && exec \"$@\"";

/// The requests of the hostile clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    WithMadeUpTokens,
    ForMuteNames,
}

pub(crate) fn main() -> Result<()> {
    raise_open_files();
    limits::start(WHOLE_RUN, |_| {})?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for asks in [Asks::WithMadeUpTokens, Asks::ForMuteNames] {
        runtime.block_on(beside(asks))?;
    }
    Ok(())
}

/// Measures the user's set-ups without and with hostile clients.
async fn beside(asks: Asks) -> Result<()> {
    let vps = vps().await?;
    let host = host(vps.port()).await?;
    let home = Home::new();
    let (gateway, _name_server) = match asks {
        Asks::WithMadeUpTokens => (Gateway::with_host_api_and(&host, &["--audit-log", "audit.log"]), None),
        Asks::ForMuteNames => {
            let name_server = UdpSocket::bind((NAME_SERVER, 53)).await.context("only root can be a name server")?;
            (
                Gateway::with_host_api_run(among_mute_names(&home), &host, &["--audit-log", "audit.log"]),
                Some(name_server),
            )
        }
    };
    let quiet = setups(gateway.address, asks, 0).await?;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut hostile = JoinSet::new();
    for number in 0..HOSTILE {
        hostile.spawn(ask_for_ever(gateway.address, asks, number, Arc::clone(&answered)));
    }
    sleep(BEFORE).await;
    let before = answered.load(Ordering::Relaxed);
    let loud = setups(gateway.address, asks, SETUPS).await?;
    let meanwhile = answered.load(Ordering::Relaxed) - before;
    ensure!(hostile.len() == HOSTILE && hostile.try_join_next().is_none(), "a hostile client has given up");
    hostile.shutdown().await;

    let how = match asks {
        Asks::WithMadeUpTokens => "ask with made-up tokens",
        Asks::ForMuteNames => "ask for VPSes on Runners with names on a mute name server",
    };
    println!("{HOSTILE} connections of {HOSTILE_AT} {how}; the Host takes {} ms for an answer", HOST.as_millis());
    println!("  a user's set-up without them: median {:.0} ms, slowest {:.0} ms", quiet.median, quiet.slowest);
    println!(
        "  beside them: median {:.0} ms, slowest {:.0} ms; {meanwhile} of their requests were answered meanwhile",
        loud.median, loud.slowest
    );
    for (what, times) in [("median", loud.median / quiet.median), ("slowest", loud.slowest / quiet.slowest)] {
        let outcome = if times <= MOST { "reached" } else { "MISSED" };
        println!("  {what}: {times:.2} × (target: ≤ {MOST}), {outcome}");
    }
    Ok(())
}

/// Times, in milliseconds. A set-up that is refused takes forever.
struct Times {
    median: f64,
    slowest: f64,
}

/// Set-ups of the user, each with a token and, among mute names, for a VPS that the gateway has not met before.
async fn setups(gateway: SocketAddr, asks: Asks, first: usize) -> Result<Times> {
    let mut times = Vec::with_capacity(SETUPS);
    for number in first..first + SETUPS {
        limits::check()?;
        let vps = if asks == Asks::ForMuteNames { honest_vps(number) } else { honest_vps(0) };
        let token = format!("{KNOWN}{number}");
        let began = Instant::now();
        let asked = ask(gateway, USER_AT, &vps, &token);
        let (status, _tunnel) = timeout(limits::ONE_CONNECTION, asked).await.context("a set-up takes forever")??;
        times.push(if status == "200" { began.elapsed().as_secs_f64() * 1e3 } else { f64::INFINITY });
    }
    times.sort_by(f64::total_cmp);
    let at = |index: usize| times.get(index).copied().context("no set-ups");
    Ok(Times { median: at(times.len() / 2)?, slowest: at(times.len() - 1)? })
}

/// A hostile client, which asks again as soon as it is refused.
async fn ask_for_ever(gateway: SocketAddr, asks: Asks, number: usize, answered: Arc<AtomicUsize>) {
    for round in 0.. {
        let (vps, token) = match asks {
            Asks::WithMadeUpTokens => (honest_vps(0), format!("made-up-{number}-{round}")),
            Asks::ForMuteNames => (mute_vps(number), format!("{KNOWN}hostile")),
        };
        match ask(gateway, HOSTILE_AT, &vps, &token).await {
            Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
            // It may be dropped in favour of others, too.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Asks for a tunnel to `vps`. Returns the status of the answer, and the connection.
async fn ask(gateway: SocketAddr, from: Ipv4Addr, vps: &str, token: &str) -> io::Result<(String, TcpStream)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(gateway).await?;
    // Leaves no port behind that waits.
    stream.set_zero_linger()?;
    let request = format!("CONNECT {vps}:22 HTTP/1.1\r\nHost: {vps}:22\r\nProxy-Authorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = String::new();
    BufReader::new(&mut stream).read_line(&mut head).await?;
    let status = head.split(' ').nth(1).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((status.to_owned(), stream))
}

fn honest_vps(number: usize) -> String {
    format!("{}", 7_000_000_000_000_000_000 + number)
}

fn mute_vps(number: usize) -> String {
    format!("{}", 7_100_000_000_000_000_000 + number)
}

/// A VPS that keeps each connection as long as its client does.
async fn vps() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { stream.read(&mut [0; 64]).await });
        }
    });
    Ok(address)
}

/// A Host that takes its time. The user's Runners are called `honest-N`, and the hostile client's `mute-N`. The first
/// one has an address, all others have names. Returns its base.
async fn host(vps_port: u16) -> Result<String> {
    let on = |vps: String, node: String| {
        let mut vps = running(&vps, vps_port);
        vps["assigned_node"] = node.into();
        vps
    };
    let node = |name: &String| {
        let address = if name == "honest-0" { "127.0.0.1".to_owned() } else { format!("{name}.test") };
        json!({ "hostname": name, "url": format!("http://{address}:8001"), "status": "online" })
    };
    let honest = (0..2 * SETUPS).map(|number| (honest_vps(number), format!("honest-{number}")));
    let mute = (0..HOSTILE).map(|number| (mute_vps(number), format!("mute-{number}")));
    let (nodes, vps): (Vec<_>, Vec<_>) = honest.chain(mute).map(|(vps, name)| (node(&name), on(vps, name))).unzip();
    let cluster = Arc::new((vps, Value::from(nodes)));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&cluster)));
        }
    });
    Ok(base)
}

async fn serve(mut stream: TcpStream, cluster: Arc<(Vec<Value>, Value)>) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    while let Some(first) = lines.next_line().await? {
        let mut asked =
            Asked { path: first.split(' ').nth(1).unwrap_or_default().to_owned(), authorization: String::new() };
        while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
            if let Some(("authorization", value)) = line.split_once(": ") {
                asked.authorization = value.to_owned();
            }
        }
        if asked.authorization.starts_with(&format!("Bearer {KNOWN}")) {
            asked.authorization = format!("Bearer {OPERATOR}");
        }
        let (status, body) = match asked.path.as_str() {
            "/api/nodes" => (200, cluster.1.clone()),
            _ => answer(&cluster.0, &asked),
        };
        sleep(HOST).await;
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        write.write_all((head + &body).as_bytes()).await?;
    }
    Ok(())
}

/// The gateway's program, where names are in a file, or nowhere.
fn among_mute_names(home: &Home) -> Run {
    let names: String = (0..2 * SETUPS).map(|number| format!("127.0.0.1 honest-{number}.test\n")).collect();
    let hosts = home.write("hosts", format!("127.0.0.1 localhost\n{names}"));
    let resolver = home.write("resolv.conf", format!("nameserver {NAME_SERVER}\n"));
    let unshare = Run::new(tool("unshare"), home).args(["--map-root-user", "--mount", "sh", "-c", WITH_FILES, "sh"]);
    unshare.arg(resolver).arg(hosts).arg(GATEWAY)
}
