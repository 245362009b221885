//! `kohakuriver-proxy`: the ProxyCommand helper, as a list of steps.
//!
//! Arguments and settings, the target, a token when the target is a VPS, the tunnel, and then its bytes: either ssh is
//! given the socket itself, or they are piped. stdout carries the SSH stream and nothing else; stderr is silent unless
//! something fails.

mod arguments;
mod explain;
mod farewell;
mod journal;
mod lookup;
mod open;
mod patience;
mod signals;

use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::PollFlags;

pub use arguments::{Arguments, Asked, HELP, ProtocolChoice};
pub use journal::{Journal, PROGRAM};

use crate::dial::{Interrupted, Watch};
use crate::failure::Failure;
use crate::relay::{self, End, Ends, Rules};
use crate::settings::{self, Flags, Settings};
use crate::sys::{self, Kind};
use crate::target::{Target, TargetError, VpsRef, authority};
use explain::Scene;
use open::{Order, Tunnel};
use patience::Patience;
use signals::Signals;

/// Opens the tunnel that `arguments` ask for and carries it until it ends, or hands it to ssh.
///
/// # Errors
/// When the tunnel can't be opened, is mute, or breaks.
pub fn run(arguments: &Arguments, journal: &mut Journal) -> Result<(), Failure> {
    let deadline = Instant::now() + arguments.connect_timeout;
    let (host, port) = arguments.host_api.clone().map_or((None, None), |api| (Some(api.host), api.port));
    let (proxy, log_file) = (arguments.proxy.clone(), arguments.log_file.clone());
    let flags = Flags { host, port, proxy, log_file, ..Flags::default() };
    let settings = Settings::load(flags).inspect_err(|_| journal.log_early(arguments.log_file.as_deref()))?;
    if let Some(log_file) = &settings.log_file {
        journal.log_to(&log_file.value);
    }
    let target = Target::parse(&arguments.target, arguments.port).map_err(|error| {
        Failure::usage(error.to_string()).hint(match error {
            TargetError::Port { .. } => "leave the port out; to reach another port of the VPS, forward it with ssh -L",
            _ => "name a task id: `kohakuriver vps list` shows which there are",
        })
    })?;
    // Some other host's proxy must never see the token: it is the Host's.
    let token = match target {
        Target::Vps(_) => settings::load_token()?,
        Target::Foreign { .. } => None,
    };
    let stdout = std::io::stdout();
    let watch = Watch { ssh: stdout.as_fd(), signal: None, deadline };
    let task = match &target {
        Target::Vps(VpsRef::Id(id)) => Some(*id),
        Target::Vps(VpsRef::Name(name)) => {
            let id = lookup::task_id(name, &settings, token.as_ref(), watch)?;
            journal.step(&format!("{name} is VPS {id}"));
            Some(id)
        }
        Target::Foreign { .. } => None,
    };

    let (proxy_host, proxy_port) = settings.ssh_proxy();
    let signals = Signals::default();
    let mut scene = Scene {
        target: task.map_or(target, |id| Target::Vps(VpsRef::Id(id))),
        proxy: authority(&proxy_host, proxy_port),
        limit: arguments.connect_timeout,
    };
    let order = Order {
        proxy_host: &proxy_host,
        proxy_port,
        authority: scene.target.authority(),
        task,
        token: token.as_ref(),
        protocol: arguments.protocol,
        signals: &signals,
    };
    let (tunnel, watch) = open_patiently(arguments, &order, watch, &mut scene, journal)?;
    journal.step(&format!("the tunnel to {} is open", scene.target));

    if arguments.fdpass {
        let stdin = std::io::stdin();
        // ssh makes stdin and stdout one socket. Node.js makes a socket for each, where others make pipes.
        let apart = Kind::of(stdin.as_fd()) == Kind::UnixSocket && !sys::is_same(stdin.as_fd(), stdout.as_fd());
        if Kind::of(stdout.as_fd()) == Kind::UnixSocket && !apart {
            return hand_over(&tunnel, watch, &scene, journal);
        }
        journal.step("stdout is not the UNIX socket of an ssh, so bytes are piped in spite of --fdpass");
    }
    pipe(&tunnel, watch, &scene)
}

/// Opens the tunnel, with `--wait` as often as its patience lasts. Each try has `--connect-timeout` for itself, as far
/// as patience goes; the watch that comes back, and the scene, have the deadline of the one that succeeded.
fn open_patiently<'fd>(
    arguments: &Arguments,
    order: &Order<'fd>,
    mut watch: Watch<'fd>,
    scene: &mut Scene,
    journal: &mut Journal,
) -> Result<(Tunnel, Watch<'fd>), Failure> {
    let mut patience = arguments.wait.map(Patience::new);
    if let Some(wait) = arguments.wait.filter(|wait| *wait < scene.limit) {
        watch.deadline -= scene.limit - wait;
        scene.limit = wait;
    }
    loop {
        let opened = open::open(order, watch, &mut |step| journal.step(step));
        // The line protocol may have been spoken, and signals are caught from then on.
        watch.signal = order.signals.caught();
        let error = match opened {
            Ok(tunnel) => {
                patience.iter_mut().for_each(Patience::finish);
                return Ok((tunnel, watch));
            }
            Err(error) => error,
        };
        let failure = scene.not_opened(&error, order);
        let Some(patience) = &mut patience else { return Err(failure) };
        let paused = patience.pause(&error, failure.what(), watch);
        if !matches!(paused, Ok(true)) {
            patience.finish();
            return Err(paused.map_or_else(|interrupted| scene.not_opened(&interrupted.into(), order), |_| failure));
        }
        scene.limit = patience.left().min(arguments.connect_timeout);
        watch.deadline = Instant::now() + scene.limit;
    }
}

/// Waits for the first byte, since a proxy's yes is not sshd's, and gives ssh the socket.
fn hand_over(tunnel: &Tunnel, watch: Watch<'_>, scene: &Scene, journal: &mut Journal) -> Result<(), Failure> {
    let socket = tunnel.socket.as_fd();
    let first = watch.wait_for(socket, PollFlags::IN);
    let first = first.and_then(|()| watch.until_done(socket, PollFlags::IN, || sys::peek(socket, &mut [0])));
    let failure = match first {
        Ok(Ok(0)) => return Err(scene.closed_mute()),
        Ok(Ok(_)) if sys::peek(watch.ssh, &mut [0]).is_ok_and(|bytes| bytes > 0) => {
            // libssh makes one socket for both ends too, but speaks SSH over it; who waits for a socket is silent.
            journal.step("the client has begun to speak, so bytes are piped in spite of --fdpass");
            return pipe(tunnel, watch, scene);
        }
        Ok(Ok(_)) => match relay::pass(watch.ssh, &tunnel.socket) {
            Ok(()) => {
                journal.step("ssh has the socket now");
                return Ok(());
            }
            Err(error) => scene.not_passed(&error),
        },
        Ok(Err(error)) | Err(Interrupted::Wait(error)) => scene.broke(&error),
        Err(Interrupted::Deadline) => scene.mute(),
        Err(interrupted @ (Interrupted::SshGone | Interrupted::Signal)) => {
            Failure::new(format!("gave up on {} before its sshd said anything", scene.target)).because(&interrupted)
        }
    };
    leave(tunnel);
    Err(failure)
}

fn pipe(tunnel: &Tunnel, watch: Watch<'_>, scene: &Scene) -> Result<(), Failure> {
    let (stdin, socket): (_, &TcpStream) = (std::io::stdin(), &tunnel.socket);
    let ends = Ends { stdin: stdin.as_fd(), stdout: watch.ssh, socket };
    let rules = Rules { first_byte_by: watch.deadline, signal: watch.signal, server_passes_end_on: !tunnel.is_line };
    let result = match relay::run(ends, rules).unwrap_or_else(End::Broken) {
        End::ServerClosed => return Ok(()),
        End::ServerClosedMute => return Err(scene.closed_mute()),
        End::ReaderGone | End::Signal => {
            // Nothing more will be said. A pipe that the user reads ssh's stderr from must not stay open for that long.
            sys::release_stdio();
            Ok(())
        }
        End::Mute => Err(scene.mute()),
        End::Broken(error) => Err(scene.broke(&error)),
        End::Unreadable(error) => Err(scene.unreadable(&error)),
        End::Unwritable(error) => Err(scene.unwritable(&error)),
    };
    leave(tunnel);
    result
}

/// Leaves a tunnel that the server has not closed.
fn leave(tunnel: &Tunnel) {
    if tunnel.is_line {
        farewell::say(&tunnel.socket);
    }
}
