//! A way to a VPS through a bad network: one for each program, so that cuts fall into its one tunnel.

use std::path::PathBuf;
use std::sync::Arc;

use super::chaos::Chaos;
use super::front::Place;
use super::home::Home;
use super::run::Run;
use super::scene::{Mode, Scene, helper_command};
use super::tools::{HELPER, sh_quote, tool};

/// How a program's tunnel is carried.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum By {
    /// By the helper that ssh has started, without TLS.
    Helper,
    /// By the process that the helper leaves behind with `--fdpass`, with TLS.
    Child,
}

/// When the first connection breaks, in bytes: its tunnel is open, and its ssh still negotiates.
const OPEN: u64 = 4_000;
/// Up to how many bytes the other connections live. The small limit breaks heads, and the start of TLS.
const LIVES: [u64; 2] = [1_200, 80_000];
/// The same with TLS, whose start is longer.
const TLS_LIVES: [u64; 2] = [6_000, 80_000];

/// The way. Programs that use it at the same time share its network.
pub(crate) struct Rough {
    pub(crate) chaos: Chaos,
    pub(crate) home: Home,
    config: PathBuf,
    // The last to be dropped: a tunnel ends before what it leads to.
    _scene: Arc<Scene>,
}

impl Rough {
    pub(crate) fn new(by: By) -> Self {
        let (scene, mode) = match by {
            By::Helper => (Scene::connect(), Mode::Stdio),
            By::Child => (Scene::tls(), Mode::Fdpass),
        };
        let (home, proxy) = (Home::new(), scene.proxy());
        let chaos = Chaos::before(proxy.address);
        let command = helper_command(HELPER, mode, Place { address: chaos.address, ..proxy });
        let config = scene.sshd.write_ssh_config(&home, "config", &command, mode);
        Self { chaos, home, config, _scene: scene }
    }

    /// The same, where so many connections break one after the other.
    pub(crate) fn breaking(by: By, connections: usize) -> Self {
        let way = Self::new(by);
        let lives = if by == By::Child { TLS_LIVES } else { LIVES };
        way.chaos.breaks(connections, connections as u64, OPEN, lives);
        way
    }

    /// One of OpenSSH's programs.
    pub(crate) fn client(&self, name: &str) -> Run {
        Run::new(tool(name), &self.home).arg("-F").arg(&self.config)
    }

    /// `ssh -F …` as one text, for programs that take a remote shell as one.
    pub(crate) fn remote_shell(&self) -> String {
        format!("{} -F {}", tool("ssh").display(), sh_quote(&self.config.display().to_string()))
    }

    /// At least half of so many cuts must have come, or the test shows nothing.
    #[track_caller]
    pub(crate) fn was_cut(&self, times: usize) {
        assert!(2 * self.chaos.cuts() >= times, "only {} of {times} cuts came", self.chaos.cuts());
    }
}
