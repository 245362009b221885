//! The measurements under the system's ssh, against a real sshd.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::child::{self, Overseen, Remains};
use super::contestants::{Contestant, Mode};
use super::measures;
use crate::support::figures::{Figures, GIB, MIB};
use crate::support::home::Home;
use crate::support::sshd::Sshd;
use crate::support::tools::{tool, user};

/// The system's ssh with an entry for each contestant.
pub(crate) struct Ssh<'a> {
    home: &'a Home,
    program: PathBuf,
    config: PathBuf,
    /// The file that is sent up. The file has a size, but takes no space.
    zeros: PathBuf,
    count: u64,
}

impl<'a> Ssh<'a> {
    /// `count` is how many bytes a bulk transfer moves.
    pub(crate) fn new(sshd: &Sshd, contestants: &[Contestant], home: &'a Home, count: u64) -> Result<Self> {
        let known_hosts = home.write("known_hosts", sshd.known_as("vps"));
        let config = home.write("ssh_config", config(contestants, sshd.port, &sshd.key, &known_hosts));
        let zeros = home.join("zeros");
        File::create(&zeros)?.set_len(count)?;
        Ok(Self { home, program: tool("ssh"), config, zeros, count })
    }

    /// `ssh host true`, from exec to exit.
    pub(crate) fn run_true(&self, who: &Contestant, round: usize, figures: &mut Figures) -> Result<()> {
        let (took, _) = self.run(who, "true", Stdio::null())?;
        figures.add(measures::SSH_TRUE, who.name, round, took * 1e3);
        Ok(())
    }

    /// Bytes to the VPS, and bytes from it. All processes together are those of sshd and of the gateway, too.
    pub(crate) fn bulk(&self, who: &Contestant, round: usize, figures: &mut Figures) -> Result<()> {
        let (count, send) = (self.count as f64, format!("head -c {} /dev/zero", self.count));
        let up = [measures::SSH_BULK_UP, measures::SSH_CPU_UP, measures::SSH_ALL_CPU_UP];
        let down = [measures::SSH_BULK_DOWN, measures::SSH_CPU_DOWN, measures::SSH_ALL_CPU_DOWN];
        for (remote, stdin, [speed, cpu, all_cpu]) in
            [("cat >/dev/null", File::open(&self.zeros)?.into(), up), (send.as_str(), Stdio::null(), down)]
        {
            let before = child::cpu_seconds_of_all()?;
            let (took, remains) = self.run(who, remote, stdin)?;
            child::reap_carriers()?;
            let spent_by_all = child::cpu_seconds_of_all()? - before;
            figures.add(speed, who.name, round, count / MIB / took);
            figures.add(cpu, who.name, round, remains.cpu * GIB / count);
            figures.add(all_cpu, who.name, round, spent_by_all * GIB / count);
        }
        Ok(())
    }

    fn run(&self, who: &Contestant, remote: &str, stdin: Stdio) -> Result<(f64, Remains)> {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env("SHELL", "/bin/sh");
        command.arg("-F").arg(&self.config).arg(alias(who)).arg(remote);
        command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let ssh = Overseen::start(&mut command)?;
        ssh.wait_for_end()?;
        let took = began.elapsed().as_secs_f64();
        let remains = ssh.wait_with_proxy_command()?;
        ensure!(remains.succeeded, "ssh failed: {remote}");
        Ok((took, remains))
    }
}

fn alias(who: &Contestant) -> String {
    format!("vps-{}", who.name.replace(' ', ""))
}

fn config(contestants: &[Contestant], port: u16, key: &Path, known_hosts: &Path) -> String {
    let mut text = String::new();
    for who in contestants {
        text += &format!("Host {}\n", alias(who));
        if let Some(command) = who.proxy_command() {
            let fdpass = if who.mode == Mode::Fdpass { "yes" } else { "no" };
            text += &format!("  ProxyCommand {command}\n  ProxyUseFdpass {fdpass}\n");
        }
    }
    text + &format!(
        "Host *\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile \"{key}\"\n  IdentitiesOnly yes\n  \
         BatchMode yes\n  HostKeyAlias vps\n  UserKnownHostsFile \"{known_hosts}\"\n  \
         GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  ConnectTimeout 20\n  LogLevel ERROR\n",
        user = user(),
        key = key.display(),
        known_hosts = known_hosts.display(),
    )
}
