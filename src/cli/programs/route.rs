//! The needs of an ssh command or an ssh_config entry: programs, addresses, files.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cli::host::internet::has_public_address;
use crate::cli::programs::host_keys::HostKeys;
use crate::cli::programs::names::{PROGRAM, PROXY_PROGRAM};
use crate::cli::programs::search_path::{self, file_name, find_all};
use crate::failure::Failure;
use crate::route as way;
use crate::settings::env_vars::{KOHAKURIVER_HOST, KOHAKURIVER_PORT};
use crate::settings::{self, Settings, Source, UpstreamSetting};
use crate::ssh::options::{Release, Route, UnusablePath};
use crate::ssh::resume::Resume;
use crate::sys;
use crate::tokens;

/// The route to VPSes with these settings. `ssh` is asked which options it knows.
pub(crate) fn route(
    settings: &Settings,
    home: &Path,
    ssh: Option<&Path>,
    wait: Option<Duration>,
) -> Result<Route, Failure> {
    let HostKeys { store, others } = HostKeys::of(settings, home);
    Ok(Route {
        cluster: settings.cluster.clone(),
        variables: Vec::new(),
        proxy_program: proxy_program()?,
        proxy: settings.ssh_proxy(),
        host_api: settings.api(),
        trust: settings.tls.trust(),
        upstream_proxy: settings.upstream_proxy.as_ref().map(|setting| setting.value.clone()),
        wait,
        known_hosts: store,
        other_known_hosts: others,
        known_hosts_program: this_program().filter(|_| sys::SSH_ASKS_FOR_HOST_KEYS),
        release: ssh.map_or(Release::V7_3, release),
        fdpass: sys::CAN_PASS_DESCRIPTORS,
        resume: resume(settings),
    })
}

/// Whether tunnels are resumable. A proxy of the environment does not count: entries would change with it.
fn resume(settings: &Settings) -> Resume {
    let proxy = settings.ssh_proxy();
    let upstream = settings.upstream_proxy.as_ref().map(|setting| &setting.value);
    match settings.resume.value.demand() {
        Some(is_on) => Resume::Demanded { is_on, by_flag: settings.resume.source == Source::Flag },
        None if proxy.scheme.has_tls() => Resume::Tls,
        None if matches!(upstream, Some(UpstreamSetting::Proxy(_))) => Resume::Upstream,
        None if has_public_address(&proxy) => Resume::Internet,
        None => Resume::Near,
    }
}

/// The route of a command that the user has typed: it names the Host for a token in the environment, if that does not.
pub(crate) fn typed_route(
    settings: &Settings,
    home: &Path,
    ssh: Option<&Path>,
    wait: Option<Duration>,
) -> Result<Route, Failure> {
    let mut route = route(settings, home, ssh, wait)?;
    if route.resume == Resume::Near && way::Route::of(settings, &route.proxy)?.upstream.is_some() {
        route.resume = Resume::Upstream;
    }
    // An unusable token is reported where it is sent. Without a shell, no variable can stand before the helper.
    if sys::SSH_NEEDS_A_SHELL && tokens::is_of_command_line(settings).unwrap_or(false) {
        route.variables =
            vec![(KOHAKURIVER_HOST, settings.host_as_typed()), (KOHAKURIVER_PORT, settings.port.value.to_string())];
    }
    Ok(route)
}

/// This program, which stores host keys under task ids.
fn this_program() -> Option<PathBuf> {
    env::current_exe().ok().filter(|this| sys::is_executable(this)).map(|this| lasting(this, PROGRAM))
}

/// Another path of the same file, if PATH or the command line of this process has one: the folder of a package manager
/// has a version in its name, and is removed by the next upgrade.
fn lasting(program: PathBuf, name: &str) -> PathBuf {
    let Ok(identity) = sys::file_identity(&program) else { return program };
    let typed = env::args_os().next().map(PathBuf::from).filter(|typed| typed.components().count() > 1);
    let beside_typed = typed.and_then(|typed| std::path::absolute(typed.with_file_name(file_name(name))).ok());
    let mut paths = find_all(name, env::var_os("PATH").as_deref()).into_iter().chain(beside_typed);
    paths.find(|path| sys::file_identity(path).is_ok_and(|found| found == identity)).unwrap_or(program)
}

/// The user's home directory, absolute.
pub(crate) fn home() -> Result<PathBuf, Failure> {
    let home = settings::home_dir().and_then(|home| std::path::absolute(home).ok());
    home.ok_or_else(|| Failure::new("your home directory is unknown").hint(sys::FIND_HOME))
}

/// The first ssh on PATH.
pub(crate) fn ssh_program() -> Option<PathBuf> {
    search_path::first("ssh")
}

pub(crate) fn no_ssh() -> Failure {
    missing_program("ssh")
}

/// The failure if there is no program `name` of OpenSSH.
pub(crate) fn missing_program(name: &str) -> Failure {
    Failure::new(format!("there is no `{name}` on PATH")).hint(install_ssh())
}

/// The hint for a system without OpenSSH's client.
pub(crate) fn install_ssh() -> String {
    format!("install OpenSSH's client{}: `{}`", sys::INSTALLING_SHELL, sys::install_ssh())
}

/// The failure for a path that can't be written in ssh's configuration language.
pub(crate) fn unusable(error: &UnusablePath) -> Failure {
    Failure::new(format!("cannot pass the path {} to ssh", error.path.display()))
        .because(error)
        .hint("move it to a path without `${`")
}

/// The release whose options this ssh knows. ssh itself is asked, since the version of an ssh that somebody changed
/// proves little.
pub(crate) fn release(ssh: &Path) -> Release {
    let knows = |options: [&str; 2]| {
        let mut probe = Command::new(ssh);
        probe.args(["-G", "-F", "none", "-o", options[0], "-o", options[1], "vps"]);
        let status = probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if knows(["KnownHostsCommand=none", "SessionType=default"]) {
        Release::V8_7
    } else if knows(["StrictHostKeyChecking=accept-new", "RemoteCommand=none"]) {
        Release::V7_6
    } else {
        Release::V7_3
    }
}

/// The home directory that ssh uses, that of the user database, from its default options.
pub(crate) fn home_of_ssh(options: &str) -> Option<PathBuf> {
    let files = options.lines().find_map(|line| line.strip_prefix("userknownhostsfile "))?;
    let (home, _) = files.split_once("/.ssh/known_hosts")?;
    home.starts_with('/').then(|| PathBuf::from(home))
}

/// The hint for a helper that is not there, or does not run.
pub(crate) const INSTALL: &str = concat!(
    "install kohakuriver-proxy ",
    env!("CARGO_PKG_VERSION"),
    " again, which brings both programs, and try the helper: `kohakuriver-proxy --version`"
);

/// The helper: in the folder of this program, otherwise the first on PATH.
pub(crate) fn proxy_program() -> Result<PathBuf, Failure> {
    let beside = env::current_exe().ok().map(|this| this.with_file_name(file_name(PROXY_PROGRAM)));
    let on_path = || search_path::first(PROXY_PROGRAM);
    let installed = beside.clone().filter(|path| sys::is_executable(path)).map(|path| lasting(path, PROXY_PROGRAM));
    installed.or_else(on_path).ok_or_else(|| {
        let failure = Failure::new(format!("there is no `{PROXY_PROGRAM}`, which carries ssh's bytes to the gateway"));
        let failure = match beside.as_deref().and_then(Path::parent) {
            Some(folder) => failure.cause(format!("looked in {} and on PATH", folder.display())),
            None => failure.cause("looked on PATH"),
        };
        failure.hint(INSTALL)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{ConfigFile, Flags};

    #[test]
    fn the_way_to_the_gateway_decides_whether_tunnels_are_resumable() {
        let of = |text: &str| {
            let file = ConfigFile::parse(text.as_bytes()).unwrap();
            resume(&Settings::resolve(Flags::default(), &|_| None, file).unwrap())
        };
        for (file, expected) in [
            (r#"{"host":"127.0.0.1"}"#, Resume::Near),
            (r#"{"host":"192.168.1.9","resume":"auto"}"#, Resume::Near),
            (r#"{"host":"203.0.113.7"}"#, Resume::Internet),
            (r#"{"host":"10.0.0.1","proxy":"203.0.113.7:8002"}"#, Resume::Internet),
            (r#"{"host":"203.0.113.7","proxy":"10.0.0.1:8002"}"#, Resume::Near),
            (r#"{"host":"https://203.0.113.7"}"#, Resume::Tls),
            (r#"{"host":"10.0.0.1","upstream_proxy":"http://10.0.0.2:3128"}"#, Resume::Upstream),
            (r#"{"host":"10.0.0.1","upstream_proxy":"none"}"#, Resume::Near),
            (r#"{"host":"10.0.0.1","resume":"on"}"#, Resume::Demanded { is_on: true, by_flag: false }),
            (r#"{"host":"https://203.0.113.7","resume":"off"}"#, Resume::Demanded { is_on: false, by_flag: false }),
        ] {
            assert_eq!(of(file), expected, "{file}");
        }
    }
}
