//! The VPS in a process of its own: it needs as many descriptors as the client does.

use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::support::mover::Share;
use crate::support::vps;

/// Makes this program a VPS.
pub(super) const NAME: &str = "--vps";

/// The VPS's process.
pub(super) struct Vps {
    pub(super) address: SocketAddr,
    /// The same one, whose bulk gets what everybody else leaves of the processors.
    pub(super) behind: SocketAddr,
    process: Child,
}

impl Vps {
    pub(super) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(NAME).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let out = process.stdout.take().context("a piped stdout")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
        let addresses: Vec<SocketAddr> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let &[address, behind] = addresses.as_slice() else { bail!("the VPS says {line:?}") };
        Ok(Self { address, behind, process })
    }

    /// Ends it when a run is over: then whoever waits for bytes goes on.
    pub(super) fn ender(&self) -> Result<impl Fn(bool) + Send + 'static> {
        let process = pidfd_open(Pid::from_child(&self.process), PidfdFlags::empty())?;
        Ok(move |over| {
            if over {
                // It may have ended.
                let _ = pidfd_send_signal(&process, Signal::KILL);
            }
        })
    }
}

impl Drop for Vps {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves until stdin ends.
pub(super) fn main() -> Result<()> {
    println!("{} {}", vps::start(Share::Equal)?, vps::start(Share::Rest)?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
