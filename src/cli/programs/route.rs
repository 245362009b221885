//! What an ssh command or an ssh_config entry needs: programs, addresses, files.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cli::programs::names::PROXY_PROGRAM;
use crate::cli::programs::search_path;
use crate::failure::Failure;
use crate::settings::{self, Origin, Settings};
use crate::ssh::options::{Route, UnusablePath, known_hosts_path};
use crate::sys;

/// The route to VPSes with these settings. `ssh` is asked which options it knows.
pub(crate) fn route(
    settings: &Settings,
    home: &Path,
    ssh: Option<&Path>,
    wait: Option<Duration>,
) -> Result<Route, Failure> {
    let Origin { host, port, .. } = settings.ssh_proxy();
    Ok(Route {
        proxy_program: proxy_program()?,
        proxy: (host, port),
        host_api: (settings.host.value.clone(), settings.port.value),
        wait,
        known_hosts: known_hosts_path(home),
        known_hosts_program: host_key_program().filter(|_| ssh.is_some_and(knows_known_hosts_command)),
    })
}

/// This program, which stores host keys under task ids.
pub(crate) fn host_key_program() -> Option<PathBuf> {
    env::current_exe().ok().filter(|this| sys::is_executable(this))
}

/// The user's home directory, absolute.
pub(crate) fn home() -> Result<PathBuf, Failure> {
    let home = settings::home_dir().and_then(|home| std::path::absolute(home).ok());
    home.ok_or_else(|| Failure::new("your home directory is unknown").hint("set HOME"))
}

/// The first ssh on PATH.
pub(crate) fn ssh_program() -> Option<PathBuf> {
    search_path::first("ssh")
}

/// The failure if there is no ssh.
pub(crate) fn no_ssh() -> Failure {
    missing_program("ssh")
}

/// The failure if there is no program `name` of OpenSSH.
pub(crate) fn missing_program(name: &str) -> Failure {
    Failure::new(format!("there is no `{name}` on PATH"))
        .hint("install OpenSSH's client: `sudo apt install openssh-client`")
}

/// The failure for a path that can't be written in ssh's configuration language.
pub(crate) fn unusable(error: &UnusablePath) -> Failure {
    Failure::new(format!("cannot pass the path {} to ssh", error.path.display()))
        .because(error)
        .hint("move it to a path without `${`")
}

/// Whether this ssh knows KnownHostsCommand (OpenSSH 8.5). An older ssh rejects a configuration file with an unknown
/// option, for every host, so we ask ssh instead of guessing from its version.
pub(crate) fn knows_known_hosts_command(ssh: &Path) -> bool {
    let mut probe = Command::new(ssh);
    probe.args(["-G", "-F", "none", "-o", "KnownHostsCommand=none", "vps"]);
    let status = probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The helper: in the folder of this program, otherwise the first on PATH.
pub(crate) fn proxy_program() -> Result<PathBuf, Failure> {
    let beside = env::current_exe().ok().map(|this| this.with_file_name(PROXY_PROGRAM));
    let on_path = || search_path::first(PROXY_PROGRAM);
    beside.clone().filter(|path| sys::is_executable(path)).or_else(on_path).ok_or_else(|| {
        let failure = Failure::new(format!("there is no `{PROXY_PROGRAM}`, which carries ssh's bytes to the gateway"));
        let failure = match beside.as_deref().and_then(Path::parent) {
            Some(folder) => failure.cause(format!("looked in {} and on PATH", folder.display())),
            None => failure.cause("looked on PATH"),
        };
        failure.hint("install it again with `cargo install kohakuriver-proxy`, which brings both programs")
    })
}
