//! `kohakuriver-proxy`: the ProxyCommand helper, as a list of steps.
//!
//! Arguments and settings, the target, a token when the target is a VPS, the tunnel, and then its bytes: either ssh is
//! given the socket itself, or they are piped. stdout carries the SSH stream and nothing else; stderr is silent unless
//! something fails.

mod arguments;
mod away;
mod child;
mod client;
#[cfg(feature = "cli")]
mod definition;
mod disconnect;
mod explain;
mod farewell;
mod help;
mod journal;
mod lookup;
mod open;
mod patience;
mod place;
mod redial;

use std::io::IsTerminal as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use arguments::{Arguments, Asked, ProtocolChoice};
pub use child::hold;
pub use client::Client;
#[cfg(feature = "cli")]
pub use definition::definition;
pub use farewell::Farewell;
pub use journal::{Journal, PROGRAM};

use away::Away;
use child::Carried;

use crate::cluster::{Cluster, InMessages};
use crate::dial::{Beside, Watch};
use crate::failure::Failure;
use crate::relay::{self, End, Ends, Rules};
use crate::route::{Route, send_all};
use crate::settings;
use crate::sys::{self, AsFd as _, EndSignals, PollFlags};
use crate::target::{Target, TargetError, VpsRef};
use open::{Mute, OpenError, Order, Tunnel};
use patience::Patience;
use place::Place;

/// Opens the tunnel that `arguments` ask for and carries it until it ends, or hands it to ssh. `farewell` remembers a
/// Host that must still be told goodbye, after the last message. Returns an exit status if another process has reported
/// the failure.
///
/// # Errors
/// When the tunnel can't be opened, is mute, or breaks.
pub fn run(
    arguments: &Arguments,
    client: &mut Client<'_>,
    journal: &Journal,
    farewell: &mut Farewell,
) -> Result<Option<u8>, Failure> {
    carry(arguments, client, journal, farewell).inspect_err(|_| match &arguments.cluster {
        Some(cluster) => settings::name_in_messages(cluster.as_str()),
        None if arguments.proxy.is_some() => InMessages { is_unstored: true, ..InMessages::default() }.set(),
        None => {}
    })
}

fn carry(
    arguments: &Arguments,
    client: &mut Client<'_>,
    journal: &Journal,
    farewell: &mut Farewell,
) -> Result<Option<u8>, Failure> {
    let began = Instant::now();
    if client.is_carried() {
        child::carry();
    }
    let cluster = place::cluster(arguments).as_ref().map(Cluster::of);
    let host = cluster.as_ref().map_or(arguments.target.as_str().into(), |own| own.without_name(&arguments.target));
    let target = Target::parse(&host, arguments.port).map_err(|error| {
        Failure::usage(error.to_string()).hint(match error {
            TargetError::Port { .. } => "leave the port out; to reach another port of the VPS, forward it with ssh -L",
            _ => "name a task id: `kohakuriver vps list` shows which there are",
        })
    })?;
    client.note_target(&target, arguments.port);
    let needs_token = needs_token(&target, arguments.protocol);
    let Place { settings, api } = place::find(arguments, &target, needs_token, journal)?;
    let proxy = settings.ssh_proxy();
    let route = Route::of(&settings, &proxy)?;
    let mut kept = None;
    let is_vps = matches!(target, Target::Vps(_)) && arguments.protocol != ProtocolChoice::RequestTunnel;
    let resume = arguments.resume.or(settings.resume.value.demand());
    // A socket that is ssh's can't be replaced.
    let needs_carrier = !route.is_bare(&proxy) || resume == Some(true) && is_vps;
    if client.waits_for_socket() && needs_carrier {
        journal.step("only a bare socket can be ssh's, so another process carries the bytes of this connection");
        match child::pass_carried(client.stdout(), || client.speaks())? {
            Carried::Passed => return Ok(None),
            Carried::Unpassed(error) => return Err(explain::not_passed(&target, &error)),
            Carried::Failed(status) => return Ok(Some(status)),
            Carried::Kept(socket) => kept = Some(socket),
        }
    }
    let token = if needs_token { place::token(arguments, api.as_ref())? } else { None };
    let deadline = began + arguments.connect_timeout;
    let watch = Watch { ssh: Some(client.stdout()), signal: None, deadline, beside: Some(journal) };
    let target = match target {
        Target::Vps(VpsRef::Name(name)) if kept.is_none() => {
            let id = lookup::task_id(&name, &settings, token.as_ref(), watch, journal)?;
            journal.step(&format!("{name} is VPS {id}"));
            Target::Vps(VpsRef::Id(id))
        }
        target => target,
    };
    let signals = EndSignals::default();
    let away = Arc::new(Away::default());
    let mut order = Order {
        proxy: &proxy,
        route: &route,
        is_default: settings.names_no_ssh_proxy(),
        target,
        token: token.as_ref(),
        protocol: arguments.protocol,
        signals: &signals,
        limit: arguments.connect_timeout,
        resumable: is_vps && resume != Some(false) && !client.waits_for_socket(),
        away: &away,
    };
    if let Some(socket) = kept {
        journal.step(SPEAKS);
        // To the system, it is a stream socket as any other.
        let tunnel = Tunnel { carrier: Box::new(TcpStream::from(socket)), early: Vec::new(), is_line: false };
        return pipe(tunnel, watch, client, &order, journal, farewell).map(|()| None);
    }
    let (tunnel, watch) = open_patiently(arguments, &mut order, watch, journal, farewell)?;
    journal.step(&format!("the tunnel to {} is open", order.target));

    if arguments.fdpass && !client.is_carried() {
        if client.waits_for_socket() {
            return hand_over(tunnel, watch, client, &order, journal, farewell).map(|()| None);
        }
        journal.step("stdout is not the UNIX socket of an ssh, so bytes are piped in spite of --fdpass");
    }
    pipe(tunnel, watch, client, &order, journal, farewell).map(|()| None)
}

/// Whether the proxy may see the Host's token, and needs it.
fn needs_token(target: &Target, protocol: ProtocolChoice) -> bool {
    match target {
        // The line protocol has no place for one.
        Target::Vps(VpsRef::Id(_)) => protocol != ProtocolChoice::RequestTunnel,
        Target::Vps(VpsRef::Name(_)) => true,
        // Some other host's proxy must never see the token: it is the Host's.
        Target::Foreign { .. } => false,
    }
}

/// Opens the tunnel, with `--wait` as often as its patience lasts. Each try has `--connect-timeout` for itself.
///
/// With `--wait`, a VPS that says nothing, or whose tunnel ends before its first byte, is one that still boots: its
/// Runner may accept connections for an sshd that does not listen yet.
///
/// A try without an answer ends with the patience. A tunnel that opened is kept: its sshd has the same time for its
/// first byte as without `--wait`, so both together take no longer than the two times. The returned watch and the order
/// have that deadline.
fn open_patiently<'fd>(
    arguments: &Arguments,
    order: &mut Order<'fd>,
    mut watch: Watch<'fd>,
    journal: &Journal,
    farewell: &mut Farewell,
) -> Result<(Tunnel, Watch<'fd>), Failure> {
    let limit = arguments.connect_timeout;
    let patience = arguments.wait.map(|wait| Patience::new(watch.deadline - limit, wait, journal));
    loop {
        let deadline = patience.as_ref().map_or(watch.deadline, |patience| watch.deadline.min(patience.ends()));
        let beside = patience.as_ref().map(|patience| patience as &dyn Beside).or(watch.beside);
        order.limit = limit.saturating_sub(watch.deadline - deadline);
        let opened = open::open(order, Watch { deadline, beside, ..watch }, journal, farewell);
        // The line protocol may have been spoken, and signals are caught from then on.
        watch.signal = order.signals.caught();
        let error = match opened {
            Ok(mut tunnel) => {
                order.limit = limit;
                journal.waits_for(format!("{} has sent nothing yet", order.target));
                let waits = patience.is_some() && order.task().is_some();
                let first = if waits { open::first_byte(&mut tunnel, Watch { beside, ..watch }) } else { Ok(()) };
                match first {
                    Ok(()) => return Ok((tunnel, watch)),
                    Err(mute) => {
                        if !matches!(mute, Mute::Closed) {
                            leave(tunnel, farewell);
                        }
                        OpenError::from(mute)
                    }
                }
            }
            Err(error) => error,
        };
        let failure = order.not_opened(&error);
        let Some(patience) = &patience else { return Err(failure) };
        match patience.pause(&error, failure.what(), watch) {
            Ok(true) => {
                farewell.send_before_next_try();
                watch.deadline = Instant::now() + limit;
            }
            Ok(false) => return Err(patience.ended(&error, failure, &order.target)),
            Err(interrupted) => return Err(order.not_opened(&interrupted.into())),
        }
    }
}

/// How long after the end of stdin, without a byte from the server, ssh counts as gone where the system doesn't tell. An
/// sshd closes at once then, unless its VPS is paused.
const READER_GOES_AFTER: Duration = Duration::from_secs(30);

/// Why a client gets no socket.
const SPEAKS: &str = "the client has begun to speak, so bytes are piped in spite of --fdpass";

/// Waits for the first byte, and gives ssh the socket.
fn hand_over(
    mut tunnel: Tunnel,
    watch: Watch<'_>,
    client: &mut Client<'_>,
    order: &Order<'_>,
    journal: &Journal,
    farewell: &mut Farewell,
) -> Result<(), Failure> {
    let first = open::first_byte(&mut tunnel, watch);
    // From here on the terminal is ssh's.
    journal.clear();
    let failure = match first {
        Err(mute @ Mute::Closed) => return Err(order.mute_because(&mute)),
        Err(mute) => order.mute_because(&mute),
        Ok(()) if client.speaks() => {
            journal.step(SPEAKS);
            return pipe(tunnel, watch, client, order, journal, farewell);
        }
        Ok(()) => match relay::pass(client.stdout(), &*tunnel.carrier) {
            Ok(()) => {
                journal.step("ssh has the socket now");
                return Ok(());
            }
            Err(error) => order.not_passed(&error),
        },
    };
    leave(tunnel, farewell);
    Err(failure)
}

fn pipe(
    mut tunnel: Tunnel,
    watch: Watch<'_>,
    client: &mut Client<'_>,
    order: &Order<'_>,
    journal: &Journal,
    farewell: &mut Farewell,
) -> Result<(), Failure> {
    // The client's identification decides how a failure before the server's first byte is reported, so it is read here
    // if it comes before that byte. An error of these two calls is met by the relay again, which says what it means.
    let is_carried = client.is_carried();
    let note_first_byte = || {
        journal.clear();
        if is_carried && !std::io::stderr().is_terminal() {
            // This process may live for days now. A program that reads ssh's stderr must not wait for it.
            sys::release_stderr();
        }
    };
    let ended = open::take_held(&mut tunnel);
    if ended.is_some() {
        journal.clear();
    } else if tunnel.early.is_empty() {
        let _ = watch.wait(&[(client.stdin(), PollFlags::IN), (tunnel.carrier.as_fd(), PollFlags::IN)], None);
    } else {
        note_first_byte();
    }
    let _ = send_all(&mut *tunnel.carrier, client.hear(Instant::now()), watch);
    let target = order.target.to_string();
    let ends = Ends { stdin: client.stdin(), stdout: client.stdout(), carrier: &mut *tunnel.carrier };
    let rules = Rules {
        first_byte_by: watch.deadline,
        until_first_byte: &|comes| {
            if comes {
                note_first_byte();
            }
            journal.tick()
        },
        signal: watch.signal,
        beside: &|| order.away.tell(&target, journal),
        server_passes_end_on: !tunnel.is_line,
        reader_goes_after: (!sys::SEES_READERS_GO).then_some(READER_GOES_AFTER),
    };
    let early = std::mem::take(&mut tunnel.early);
    let end = ended.unwrap_or_else(|| relay::run(ends, rules, early).unwrap_or_else(End::Broken));
    order.away.finish();
    if !end.is_mute() {
        client.note_stream();
    }
    let result = match end {
        End::ServerClosed => return Ok(()),
        End::ServerClosedMute => return Err(order.closed_mute()),
        End::ReaderGone | End::Signal => Ok(()),
        End::Mute => Err(order.mute()),
        End::Broken(error) | End::BrokenMute(error) => Err(order.broke(&error)),
        End::Unreadable(error) => Err(order.unreadable(&error)),
        End::Unwritable(error) => Err(order.unwritable(&error)),
    };
    leave(tunnel, farewell);
    result
}

/// Leaves a tunnel that the server has not closed.
fn leave(tunnel: Tunnel, farewell: &mut Farewell) {
    if tunnel.is_line {
        farewell.remember(tunnel.carrier);
    }
}
