//! The VPSes: each takes a plan and does its part of it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use super::carry::{Pace, Plan, Report, carry, echo, reset};
use super::listener::{Listener, Mode};

/// A VPS's banner.
pub(crate) const BANNER: &[u8] = b"SSH-2.0-soak\r\n";
/// Longest line that holds a plan.
const LONGEST_PLAN: usize = 1024;

/// The clients that wait for what their VPS saw, by the plan's id.
#[derive(Default)]
pub(crate) struct Awaited {
    waiting: Mutex<HashMap<u64, oneshot::Sender<Report>>>,
    /// Plans that no user made.
    strange: Mutex<Vec<String>>,
}

impl Awaited {
    pub(crate) fn wait_for(&self, id: u64) -> oneshot::Receiver<Report> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, sender);
        receiver
    }

    /// Nothing comes any more when the plan hasn't arrived by now.
    pub(crate) fn forget(&self, id: u64) {
        self.waiting.lock().unwrap().remove(&id);
    }

    pub(crate) fn strange(&self) -> Vec<String> {
        std::mem::take(&mut self.strange.lock().unwrap())
    }
}

/// Starts a VPS.
pub(crate) fn start(awaited: &Arc<Awaited>) -> io::Result<Listener> {
    let awaited = Arc::clone(awaited);
    Listener::start(move |stream, modes| serve(stream, modes, Arc::clone(&awaited)))
}

async fn serve(mut stream: TcpStream, mut modes: watch::Receiver<Mode>, awaited: Arc<Awaited>) {
    let read = tokio::select! {
        read = read_plan(&mut stream) => read,
        _ = modes.changed() => return reset(&stream),
    };
    // A client may leave, or be cut off, before its plan is here.
    let Ok(line) = read else { return reset(&stream) };
    let plan = serde_json::from_slice::<Plan>(&line).ok();
    let waiting = plan.and_then(|plan| awaited.waiting.lock().unwrap().remove(&plan.id));
    let (Some(plan), Some(waiting)) = (plan, waiting) else {
        awaited.strange.lock().unwrap().push(format!("a plan that nobody made: {}", line.escape_ascii()));
        return;
    };
    let mut report = Report::default();
    let work = async {
        match plan.typed {
            true => echo(&mut stream, plan.upwards(), &mut report).await,
            false => carry(&mut stream, (plan.downwards(), plan.upwards()), plan.vps, Pace::FAST, &mut report).await,
        }
    };
    let killed = tokio::select! {
        () = work => false,
        _ = modes.changed() => true,
    };
    if killed {
        report.killed = true;
        reset(&stream);
    }
    drop(stream);
    // A client that has given up has said so.
    let _ = waiting.send(report);
}

async fn read_plan(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    stream.write_all(BANNER).await?;
    let mut line = Vec::new();
    while !line.ends_with(b"\n") && line.len() < LONGEST_PLAN {
        line.push(stream.read_u8().await?);
    }
    Ok(line)
}
