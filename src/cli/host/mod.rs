//! Asking the Host: a client, a runtime for it, and the VPS that the user named.

pub(crate) mod denied;
pub(crate) mod internet;
pub(crate) mod vps;
pub(crate) mod vps_cache;

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::api::{ApiError, Caller, Case, Client, Generation, Located, Vps, refused};
use crate::cli::files::tokens::Files;
use crate::cli::programs::names::PROGRAM;
use crate::cli::terminal::{progress, ui};
use crate::cluster::{Cluster, InMessages};
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::settings::{self, ConfigFile, Flags, Settings};
use crate::sys;
use crate::target::{SUFFIX, TaskId, VpsRef};
use crate::text::printable;
use crate::tokens::{self, Found, Source};

/// The settings that result from `flags`. What is wrong and stops nothing is said.
pub(crate) fn load_settings(flags: &Flags) -> Result<Settings, Failure> {
    let settings = Settings::load(flags.clone())?;
    in_messages(&settings).set();
    for warning in &settings.warnings {
        ui::remark(&format!("warning: {}", printable(warning)));
    }
    Ok(settings)
}

/// The settings of each cluster, the default one first.
///
/// # Errors
/// When a flag names one of them, or the configuration file can't be used.
pub(crate) fn every_cluster(flags: &Flags) -> Result<Vec<Settings>, Failure> {
    if flags.cluster.is_some() || flags.host.is_some() {
        return Err(
            Failure::usage("this is about all clusters, and one was named").hint("leave `--cluster` and `--host` out")
        );
    }
    let names = ConfigFile::load()?.clusters;
    let of = |(name, _)| {
        let settings = Settings::load(Flags { cluster: Some(name), ..flags.clone() })?;
        // No flag names it, so a token in the environment is not for it.
        Ok(Settings { cluster_source: settings::Source::File, ..settings })
    };
    let mut all = names.into_iter().map(of).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(|settings| !settings.is_default);
    Ok(all)
}

/// A client of the Host in the settings, with the user's token.
pub(crate) fn client(settings: &Settings) -> Result<Client, Failure> {
    client_with(settings, users_token(settings)?)
}

/// The user's token for the Host in the settings, and for its gateway.
pub(crate) fn users_token(settings: &Settings) -> Result<Option<Token>, Failure> {
    let found = tokens::of(settings)?;
    if let Some(path) = found.as_ref().and_then(|found| found.source.path()) {
        warn_of_others(path);
    }
    Ok(found.map(|found| found.token))
}

/// Says once that other users may read the file of a token.
fn warn_of_others(path: &Path) {
    static IS_SAID: AtomicBool = AtomicBool::new(false);
    let is_open = path.metadata().is_ok_and(|metadata| sys::mode_open_to_others(&metadata).is_some());
    if is_open && !IS_SAID.swap(true, Ordering::Relaxed) {
        let chmod = sys::give_access(path, "600");
        ui::remark(&format!("warning: other users of this machine may read your token; make it private: `{chmod}`"));
    }
}

/// A client of the Host in the settings, with this token.
pub(crate) fn client_with(settings: &Settings, token: Option<Token>) -> Result<Client, Failure> {
    let base = settings.api_url();
    Client::of(settings, token).map_err(|error| error.failure(format!("cannot ask the Host at {base}")))
}

/// Runs `work` on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start").because(&error))?;
    let done = runtime.block_on(work);
    // A lookup in the system's resolver can't be cancelled and may take minutes: don't wait for its thread.
    runtime.shutdown_background();
    done
}

/// Runs `work`, which asks the Host and changes nothing, with progress.
pub(crate) fn ask_host<T>(settings: &Settings, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let done = block_on(progress::while_asking(&the_host(settings), work))?;
    remember_host(settings);
    Ok(done)
}

/// If the token of the Python CLI's file is sent to this Host, and the Host accepts it, no other Host will get it.
pub(crate) fn remember_host(settings: &Settings) {
    let Ok(Some(Found { token, source: Source::AuthFile { is_bound: false, .. } })) = tokens::of(settings) else {
        return;
    };
    let bound = block_on(async {
        let client = client_with(settings, Some(token.clone()))?;
        // An older Host has no users, and would log the question as an error.
        let has_users = matches!(client.generation().await, Ok(Generation::Todays));
        let accepted = has_users && matches!(client.caller().await, Ok(Caller::User(_)));
        if accepted { Files::of_user()?.bind(&settings.api_url(), &token) } else { Ok(()) }
    });
    if let Err(failure) = bound {
        ui::remark(failure.render("cannot note which Host accepts your token").trim_end());
    }
}

/// The clusters, of several, that could not be listed. The others are listed all the same.
#[derive(Default)]
pub(crate) struct Unlisted<'s>(RefCell<Vec<(&'s Settings, Failure)>>);

impl<'s> Unlisted<'s> {
    /// The answer of each cluster. If there is only one cluster, its failure is the command's.
    pub(crate) async fn list<S, T>(
        &self,
        clusters: &[(&'s Settings, S)],
        ask: impl AsyncFn(&S) -> Result<T, Failure>,
    ) -> Result<Vec<(&'s Settings, T)>, Failure> {
        self.0.take();
        let mut all = Vec::new();
        for (settings, source) in clusters {
            match ask(source).await {
                Ok(listed) => all.push((*settings, listed)),
                Err(failure) if clusters.len() == 1 => return Err(failure),
                Err(failure) => self.0.borrow_mut().push((settings, failure)),
            }
        }
        Ok(all)
    }

    /// Whether this cluster is one of them.
    pub(crate) fn has(&self, settings: &Settings) -> bool {
        self.0.borrow().iter().any(|(other, _)| std::ptr::eq(*other, settings))
    }

    /// Tells the failures, each in the words for its cluster. The last one is left for the end of the command.
    pub(crate) fn tell(self) -> Result<(), Failure> {
        let mut failures = self.0.into_inner();
        let last = failures.pop();
        for (settings, failure) in failures {
            in_messages(settings).set();
            failure.tell(PROGRAM);
        }
        last.map_or(Ok(()), |(settings, failure)| {
            in_messages(settings).set();
            Err(failure)
        })
    }
}

/// The cluster of these settings as messages name it, and the flags that commands in hints need.
pub(crate) fn in_messages(settings: &Settings) -> InMessages {
    let name = settings.cluster.name().filter(|_| settings.clusters.len() > 1).map(str::to_owned);
    let flags = match &settings.cluster {
        _ if settings.is_default => String::new(),
        Cluster::Other(_) if settings.port.source == settings::Source::Default || settings.scheme.is_in_address() => {
            format!("--host {} ", settings.host_as_typed())
        }
        Cluster::Other(_) => format!("--host {} --port {} ", settings.host.value, settings.port.value),
        named => named.name().map_or_else(String::new, |name| format!("--cluster {name} ")),
    };
    InMessages { name, flags, is_unstored: matches!(settings.cluster, Cluster::Other(_)) }
}

/// The Host in the settings, as messages name it.
pub(crate) fn the_host(settings: &Settings) -> String {
    format!("the Host at {}", settings.api_url())
}

/// The VPS that `wanted` names, its Runner, and where it is reached.
pub(crate) async fn find(client: &Client, wanted: &VpsRef) -> Result<Located, Failure> {
    match client.find(wanted, None).await {
        Ok(found) => Ok(found),
        Err(error) => Err(not_found(client, wanted, &error).await),
    }
}

/// The failure of a lookup.
async fn not_found(client: &Client, wanted: &VpsRef, error: &ApiError) -> Failure {
    let failure = error.about(wanted, client.base());
    let is_unknown = matches!(error, ApiError::Refusal(Refusal::NotFound)) && !client.is_of_older_host();
    if is_unknown
        && let VpsRef::Name(name) = wanted
        && let Some((user, vps)) = name.rsplit_once('@')
    {
        let login =
            if user.is_empty() { String::new() } else { format!("; `vps connect` takes the login as `--user {user}`") };
        return failure.hint(printable(&format!("name the VPS without a login: `{vps}`{login}")));
    }
    if is_unknown
        && let VpsRef::Name(name) = wanted
        && let Some(host) = in_other_cluster(name)
    {
        return failure.hint(printable(&format!("name a VPS of another cluster in this way: `{host}`")));
    }
    // A Host tells everybody which ids there are, but lists its VPSes to users only.
    if is_unknown && matches!(client.caller().await, Ok(Caller::Anonymous)) {
        return failure.hint(format!("{}, to see which VPSes there are", tokens::how_to_log_in()));
    }
    failure
}

/// The host name of the VPS that a user may have meant by `trainer.lab`, where messages are about another cluster.
fn in_other_cluster(name: &str) -> Option<String> {
    let host = format!("{name}{SUFFIX}");
    let own = InMessages::get().name;
    let mut clusters = ConfigFile::load().ok()?.clusters.into_iter().map(|(name, _)| name);
    clusters.any(|name| own.as_deref() != Some(name.as_str()) && Cluster::of(&name).has(&host)).then_some(host)
}

/// The VPS that `wanted` names. A command task is refused.
pub(crate) async fn one_vps(client: &Client, wanted: &VpsRef) -> Result<Vps, Failure> {
    let vps = match client.vps(wanted).await {
        Ok(vps) => vps,
        Err(error) => return Err(not_found(client, wanted, &error).await),
    };
    if vps.is_vps { Ok(vps) } else { Err(refused(&Refusal::NotVps, &wanted.to_string(), client.base())) }
}

/// The id of the VPS. The Host is asked only for a name.
pub(crate) async fn id_of(settings: &Settings, vps: &VpsRef) -> Result<TaskId, Failure> {
    match vps {
        VpsRef::Id(id) => Ok(*id),
        VpsRef::Name(name) => {
            let client = client(settings)?;
            client.id_of(name, Case::Kept).await.map_err(|error| error.about(vps, client.base()))
        }
    }
}

/// A VPS as prompts name it: id and name.
pub(crate) fn named(vps: &Vps) -> String {
    vps.name.as_ref().map_or_else(|| vps.id.to_string(), |name| format!("{} ({name})", vps.id))
}

/// Parses a VPS of `cluster` as the user typed it.
pub(crate) fn vps_ref(cluster: &Cluster, typed: &str) -> Result<VpsRef, Failure> {
    VpsRef::typed(&cluster.without_name(typed))
        .map_err(|error| Failure::usage(error.to_string()).hint("list the VPSes with `kohakuriver vps list`"))
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_blocked_resolver_thread_is_not_awaited() {
        let (release, held) = mpsc::channel::<()>();
        let (tell_start, started) = mpsc::channel();
        let (tell_end, ended) = mpsc::channel();
        thread::spawn(move || {
            let done = block_on(async {
                tokio::task::spawn_blocking(move || {
                    tell_start.send(()).unwrap();
                    held.recv()
                });
                started.recv().unwrap();
                Ok(())
            });
            tell_end.send(done.is_ok())
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(true));
        drop(release);
    }

    #[test]
    fn an_impossible_vps_name_is_a_usage_error() {
        for typed in ["", "a\nb", "99999999999999999999", "-x"] {
            let failure = vps_ref(&Cluster::Unnamed, typed).unwrap_err();
            assert_eq!(failure.exit_code(), ExitCode::from(2), "{typed}");
        }
    }
}
