//! The start of the gateway, from its command line to [`serve`].

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::api::Client;
use crate::failure::Failure;
use crate::gateway::arguments::{AdminAddress, Arguments, Command};
use crate::gateway::audit_report;
use crate::gateway::carry::relay::{self, Relays};
use crate::gateway::cert;
use crate::gateway::decide::directory::{Directory, HostDirectory, HostState, host_tls};
use crate::gateway::decide::inventory::Inventory;
use crate::gateway::decide::rules::RuleBook;
use crate::gateway::front::admin_socket::AdminSocket;
use crate::gateway::front::certificates::Certificates;
use crate::gateway::front::listen::{self, Listeners};
use crate::gateway::front::terms::Terms;
use crate::gateway::http::guard::Guard;
use crate::gateway::life::inherited::Inherited;
use crate::gateway::life::orders;
use crate::gateway::life::predecessor::Predecessor;
use crate::gateway::life::service_manager::ServiceManager;
use crate::gateway::life::wire::Purpose;
use crate::gateway::limits::{self, Limits};
use crate::gateway::roster::previous::PreviousProcesses;
use crate::gateway::serve::{Parts, serve};
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::notices::{LogFormat, LogLevel, Notices};
use crate::gateway::watch::records::Records;
use crate::gateway::words::PROGRAM;
use crate::route::Route;
use crate::settings::{DEFAULT_PORT, DEFAULT_SSH_PROXY_PORT, Flags, Settings, Source, Trust};
use crate::sys::{self, OwnedFd};
use crate::usage;

/// How long the end of the process waits for lines of the log that are not written yet.
const LOG_LIMIT: Duration = Duration::from_millis(500);

/// Serves what the command line says until SIGTERM or SIGINT, or does what its subcommand says. What keeps it from
/// serving is in its log.
///
/// # Errors
/// When the subcommand fails.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Some(Command::Cert(arguments)) => cert::run(arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::Audit(arguments)) => audit_report::run(arguments).map(|()| ExitCode::SUCCESS),
        None => {
            Ok(logged(arguments.log_level, arguments.log_format, |notices, metrics| start(arguments, notices, metrics)))
        }
    }
}

/// The answer to a command line that can't be run, or that asks for help. `words` are as typed. With the log in JSON, the
/// error is a line of it.
///
/// # Errors
/// When the command line is wrong.
pub fn answer(answer: &clap::Error, words: &[OsString]) -> Result<ExitCode, Failure> {
    usage::answer(answer, &Arguments::typed(words.iter().cloned())).or_else(|failure| {
        if !Arguments::wants_json(words) {
            return Err(failure);
        }
        Ok(logged(LogLevel::default(), LogFormat::Json, |_, _| Err(failure)))
    })
}

/// Does `work` with a log on stderr, from the first line to the last one. A failure of `work` is logged.
fn logged(
    level: LogLevel,
    format: LogFormat,
    work: impl FnOnce(&Notices, Arc<Metrics>) -> Result<(), Failure>,
) -> ExitCode {
    let metrics = Arc::new(Metrics::default());
    let notices = Notices::on_stderr(level, format, &metrics);
    notices.log_panics();
    let status = work(&notices, metrics).map_or_else(
        |failure| {
            notices.fault(&failure);
            failure.exit_code()
        },
        |()| ExitCode::SUCCESS,
    );
    notices.finish(LOG_LIMIT);
    status
}

fn start(arguments: &Arguments, notices: &Notices, metrics: Arc<Metrics>) -> Result<(), Failure> {
    let inherited = Inherited::take()?;
    let settings = Settings::load(Flags::default())?;
    let records = Records::open(&arguments.audit_log, notices.clone(), metrics)?;
    for warning in &settings.warnings {
        records.notices.warn(&Failure::new(warning.as_str()));
    }
    let served = run_with(arguments, &settings, &records, inherited);
    records.finish();
    served
}

fn run_with(
    arguments: &Arguments,
    settings: &Settings,
    records: &Records,
    inherited: Inherited,
) -> Result<(), Failure> {
    let directory = directory(arguments, settings, &records.notices)?;
    let rules = RuleBook::open(arguments.rules())?;
    let certificates = certificates(arguments, &records.notices)?;
    let open_files = sys::raise_open_files();
    let threads = arguments.relay_threads.map_or_else(relay::default_threads, usize::from);
    let runtime = runtime(threads)?;
    let served = runtime.block_on(async {
        let orders = orders::from_signals().map_err(cannot_start)?;
        let idle_timeout = arguments.idle_timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let relays = Relays::start(threads, idle_timeout).map_err(cannot_start)?;
        let Bound { listeners, previous, predecessor, arriving } = bind(arguments, settings, inherited)?;
        announce(&listeners, &records.notices).map_err(cannot_start)?;
        let terms = Terms { certificates, ..terms(arguments, rules, open_files, &records.notices) };
        let service_manager = ServiceManager::from_env();
        match predecessor {
            // The predecessor tells the service manager which process is the service now. Until then the service manager
            // listens to no other process.
            Some(predecessor) => predecessor.relieve(),
            None => service_manager.ready().map_err(|error| {
                Failure::new("cannot tell the service manager that the gateway serves").because(&error)
            })?,
        }
        let records = records.clone();
        let parts = Parts { listeners, previous, arriving, directory, relays, terms, records, service_manager };
        serve(parts, orders).await.map_err(cannot_start)
    });
    // A resolver that hangs in its thread must not delay the exit.
    runtime.shutdown_background();
    served
}

/// The failure of something that every gateway needs.
fn cannot_start(error: io::Error) -> Failure {
    let hint = sys::is_out_of_descriptors(&error).then_some(limits::MORE_FILES);
    Failure::new("cannot start").because(&error).maybe_hint(hint)
}

fn runtime(threads: usize) -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().map_err(cannot_start)
}

fn certificates(arguments: &Arguments, notices: &Notices) -> Result<Option<Arc<Certificates>>, Failure> {
    let files = arguments.tls();
    files.map(|files| Certificates::open(files, notices.clone()).map(Arc::new)).transpose()
}

fn directory(arguments: &Arguments, settings: &Settings, notices: &Notices) -> Result<Directory, Failure> {
    if let Some(path) = &arguments.inventory {
        let inventory = Inventory::open(path, notices.clone()).map_err(|error| {
            Failure::usage(format!("cannot use the inventory {}", path.display()))
                .because(&error)
                .hint(format!("`{PROGRAM} --help` shows what an inventory looks like"))
        })?;
        return Ok(Directory::Inventory(Arc::new(inventory)));
    }
    let base = arguments.host_api.clone().unwrap_or_else(|| host_api_of(settings));
    let stale = Duration::from_secs(arguments.stale.into());
    let trust = match &arguments.host_api {
        None if settings.host.source != Source::Default => settings.tls.trust(),
        _ => Trust { ca_file: arguments.host_api_ca.clone(), ..Trust::default() },
    };
    let by_option = arguments.host_api.is_some();
    // Through no proxy, whatever the settings name: the tokens of all users go this way.
    let client = Client::by(&base, Route { trust: trust.clone(), ..Route::default() }, None).map_err(|error| {
        Failure::usage(format!("cannot use `{base}` as --host-api"))
            .because(&error)
            .hint("write it as http://HOST:PORT or https://HOST[:PORT]")
    })?;
    if client.base().starts_with("https:") {
        if arguments.api_proxy {
            return Err(Failure::usage("cannot pass the Host API on over TLS twice")
                .cause(format!("--api-proxy is for a Host beside the gateway, and the Host API is {base}"))
                .hint("leave --api-proxy out: users can reach that address themselves"));
        }
        host_tls::check(&trust, by_option)?;
    }
    Ok(Directory::Host(Box::new(HostDirectory::new(client, stale).telling(HostState::new(notices.clone(), by_option)))))
}

/// The Host API when no flag names it. A gateway runs beside its Host, and `localhost` may mean an address that a Host
/// doesn't listen on.
fn host_api_of(settings: &Settings) -> String {
    match settings.host.source {
        Source::Default => format!("http://127.0.0.1:{}", settings.port.value),
        _ => settings.api_url(),
    }
}

/// The gateway's sockets.
struct Bound {
    listeners: Listeners,
    previous: PreviousProcesses,
    predecessor: Option<Predecessor>,
    /// The resumable tunnels of the predecessor come on it.
    arriving: Option<OwnedFd>,
}

/// Takes the listeners that were passed to this process, and opens the others.
fn bind(arguments: &Arguments, settings: &Settings, mut inherited: Inherited) -> Result<Bound, Failure> {
    let tls = bind_tls(arguments, passed(&mut inherited, Purpose::Tls)?)?;
    let tunnels = bind_tunnels(arguments, settings, passed(&mut inherited, Purpose::Tunnels)?, !tls.is_empty())?;
    let api = bind_api(arguments, passed(&mut inherited, Purpose::Api)?)?;
    let admin = bind_admin(arguments, inherited.admin().map_err(cannot_use_passed)?)?;
    let failed = |error| Failure::new("cannot take the place of an older gateway").because(&error);
    let previous = inherited.previous().map_err(failed)?;
    let listeners = Listeners { tunnels, tls, api, admin };
    let arriving = inherited.sessions();
    Ok(Bound { listeners, previous, predecessor: inherited.predecessor, arriving })
}

fn passed(inherited: &mut Inherited, purpose: Purpose) -> Result<Vec<TcpListener>, Failure> {
    inherited.listeners(purpose).map_err(cannot_use_passed)
}

fn cannot_use_passed(error: io::Error) -> Failure {
    Failure::new("cannot use a socket that was passed").because(&error)
}

fn bind_tunnels(
    arguments: &Arguments,
    settings: &Settings,
    passed: Vec<TcpListener>,
    has_tls: bool,
) -> Result<Vec<TcpListener>, Failure> {
    if !passed.is_empty() || (has_tls && arguments.listen.is_empty()) {
        return Ok(passed);
    }
    let default = [SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), settings.ssh_proxy_port.value)];
    let addresses = if arguments.listen.is_empty() { &default[..] } else { &arguments.listen };
    addresses.iter().map(|address| listen::listen(*address)).collect()
}

fn bind_tls(arguments: &Arguments, passed: Vec<TcpListener>) -> Result<Vec<TcpListener>, Failure> {
    let has_certificate = arguments.tls_cert.is_some();
    if !passed.is_empty() {
        return if has_certificate {
            Ok(passed)
        } else {
            Err(Failure::usage("cannot use the sockets named `tls`")
                .cause("there is no certificate for TLS")
                .hint("name one with --tls-cert, or drop the socket unit with `FileDescriptorName=tls`"))
        };
    }
    if has_certificate && arguments.tls_listen.is_empty() {
        return Err(Failure::usage("there is no port for the certificate of --tls-cert")
            .hint("name an address with --tls-listen, such as `--tls-listen [::]:8443`"));
    }
    arguments.tls_listen.iter().map(|address| listen::listen(*address)).collect()
}

fn bind_api(arguments: &Arguments, mut passed: Vec<TcpListener>) -> Result<Option<TcpListener>, Failure> {
    let has_inventory = arguments.inventory.is_some();
    if passed.len() > usize::from(has_inventory) {
        return Err(Failure::usage("cannot use the sockets named `api`")
            .cause("the Host API is served on one socket, and of an inventory only")
            .hint("drop the socket unit with `FileDescriptorName=api`, or give --inventory"));
    }
    if passed.is_empty() && has_inventory {
        let address = arguments.api_listen.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT));
        return listen::listen(address).map(Some);
    }
    Ok(passed.pop())
}

fn bind_admin(arguments: &Arguments, mut passed: Vec<AdminSocket>) -> Result<Option<AdminSocket>, Failure> {
    if passed.len() > 1 {
        return Err(Failure::usage("cannot use the sockets named `admin`")
            .cause("the admin is served on one socket")
            .hint("keep one socket unit with `FileDescriptorName=admin`, with one `ListenStream=`"));
    }
    match (passed.pop(), &arguments.admin) {
        (Some(passed), _) => Ok(Some(passed)),
        (None, AdminAddress::Off) => Ok(None),
        (None, AdminAddress::Tcp(address)) => {
            let other = "take another address with --admin, or none with `--admin off`";
            listen::listen(*address)
                .map(|listener| Some(AdminSocket::Tcp(listener)))
                .map_err(|failure| failure.hint(other))
        }
        (None, AdminAddress::Unix(path)) => AdminSocket::listen_locally(path).map(Some),
    }
}

/// Says where the gateway listens. From now on the system queues connections, so a script that waits for these lines may
/// connect.
fn announce(listeners: &Listeners, notices: &Notices) -> io::Result<()> {
    if let Some(api) = &listeners.api {
        notices.announce(&format!("serving the Host API on {}", api.local_addr()?));
    }
    if let Some(admin) = &listeners.admin {
        notices.announce(&format!("admin on {}", admin.address()?));
        notices.note_admin(admin.address()?);
        let tcp = admin.tcp().map(TcpListener::local_addr).transpose()?;
        if let Some(address) = tcp.filter(|address| !address.ip().is_loopback()) {
            let what = format!("anyone who reaches {address} can list all tunnels and their users");
            notices.warn(&Failure::new(what).hint("keep --admin on 127.0.0.1, or in a network of admins"));
        }
    }
    for listener in &listeners.tunnels {
        notices.announce(&format!("listening on {}", listener.local_addr()?));
    }
    for listener in &listeners.tls {
        notices.announce(&format!("listening with TLS on {}", listener.local_addr()?));
    }
    Ok(())
}

fn terms(arguments: &Arguments, rules: RuleBook, open_files: Option<u64>, notices: &Notices) -> Terms {
    let limits = Limits::new(&arguments.limits, arguments.tls_cert.is_some(), open_files);
    let most = limits.tunnels.most();
    if most < arguments.limits.tunnels as usize {
        notices
            .say(&format!("carrying at most {most} tunnels at once: more would not fit into the limit of open files"));
    }
    Terms {
        limits: Arc::new(limits),
        rules: Arc::new(rules),
        drain_timeout: Duration::from_secs(arguments.drain_timeout.into()),
        proxy_protocol: arguments.proxy_protocol,
        certificates: None,
        api_proxy: arguments.api_proxy,
        proxy_from: arguments.proxy_from.clone(),
        guard: Guard::new(&arguments.server_name),
        metrics_by_user: arguments.metrics_by_user,
        gateway_name: arguments.gateway_name.clone(),
        peers: arguments.peers.clone(),
        host_ssh_proxy: [arguments.host_ssh_proxy_port, DEFAULT_SSH_PROXY_PORT],
    }
}
