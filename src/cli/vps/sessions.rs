//! `kohakuriver vps sessions`: the open SSH sessions, the user's own or all of them, and the end of one.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Instant;

use crate::api::Tunnels;
use crate::cli::host::{Unlisted, ask_host, block_on, id_of, remember_host, vps_ref};
use crate::cli::terminal::ask::{confirm, is_interactive};
use crate::cli::terminal::progress;
use crate::cli::terminal::ui::{self, Look};
use crate::cli::vps::shared::session_source::{Source, admin_token};
use crate::cli::vps::shared::session_table::{Row, Sample, since, table};
use crate::cli::vps::shared::watch::{self, View, WatchFlags};
use crate::failure::Failure;
use crate::handshake::session_ref::SessionRef;
use crate::settings::{ADMIN_FORM, AdminAddress, Settings};
use crate::sys;
use crate::target::TaskId;

/// The text below the options. Only some systems have UNIX sockets.
fn explanation() -> String {
    let of_sockets = |text: &'static str| if sys::HAS_LOCAL_SOCKETS { text } else { "" };
    format!(
        "\
Without an admin address, the cluster's gateway lists your own sessions, and ends one of them. It takes your token, as for \
a connection. An admin of the Host sees those of everybody with --all.

With --admin, KOHAKURIVER_GATEWAY_ADMIN or `gateway_admin` in config.json, the gateway's admin address lists all sessions: \
HOST[:PORT], where the port is 8003 unless you give another{}. By default a gateway answers there on its own machine only. \
Over HOST:PORT, ending a session needs the token of the gateway's --admin-token-file. Give it with the option of the same \
name here, or in KOHAKURIVER_GATEWAY_ADMIN_TOKEN.{} Without a terminal, --end asks no question there.

Where a cluster has several gateways, the list has the sessions of all of them, as GATEWAY/ID.

The JSON is an array of objects with the keys id, gateway, user, client, transport (tcp or tls), protocol (connect or \
line), task_id (a string), name (of the VPS, or null), node, opened (RFC 3339, UTC), seconds, bytes_up (from the client to \
the VPS) and bytes_down. A resumable one has parked_seconds (how long its client has been away, or null) and moves (how \
often the client has continued it). With --all-clusters, each has its cluster. Without authentication and without a \
client's certificate, user is null. With --watch, each line is one such array.

Examples:
  kohakuriver vps sessions
  kohakuriver vps sessions trainer --watch
  kohakuriver vps sessions --end 7
  kohakuriver vps sessions --admin localhost:8003{}",
        of_sockets(", or unix:/PATH for a UNIX socket"),
        of_sockets(" A UNIX socket needs none: whoever can open it may end sessions."),
        of_sockets("\n  kohakuriver vps sessions --admin unix:/run/kohakuriver-gateway/admin.sock"),
    )
}

#[derive(clap::Args, Debug)]
#[command(after_help = explanation())]
pub(crate) struct Arguments {
    /// List only the sessions of this VPS
    #[arg(value_name = "VPS")]
    pub(super) vps: Option<String>,
    #[command(flatten)]
    watch: WatchFlags,
    /// List everybody's sessions, as an admin of the Host
    #[arg(long, conflicts_with = "admin")]
    all: bool,
    /// List the sessions of all your clusters
    #[arg(long, conflicts_with_all = ["vps", "admin", "end"])]
    pub(super) all_clusters: bool,
    /// End this session: ID, or GATEWAY/ID
    #[arg(long, value_name = "SESSION", conflicts_with_all = ["vps", "json", "watch"])]
    end: Option<SessionRef>,
    /// With --end, don't ask for confirmation
    #[arg(long, short = 'y', requires = "end")]
    yes: bool,
    /// With --end, send the token in this file to the admin address
    #[arg(long, value_name = "FILE", requires = "end")]
    admin_token_file: Option<PathBuf>,
    /// List all sessions at this admin address of the gateway
    #[arg(long, value_name = "ADDR",
          value_parser = |typed: &str| typed.parse::<AdminAddress>().map_err(|_| ADMIN_FORM))]
    pub(crate) admin: Option<AdminAddress>,
}

/// Lists the sessions of these clusters, or ends one.
pub(crate) fn run(clusters: &[Settings], arguments: &Arguments) -> Result<(), Failure> {
    let source = |settings| Ok((settings, Source::of(settings, arguments.all)?));
    let sources = clusters.iter().map(source).collect::<Result<Vec<_>, Failure>>()?;
    let [(settings, source)] = &sources[..] else { return list(&sources, None, arguments) };
    match &arguments.end {
        Some(which) => end(source, which, arguments),
        None => {
            let vps = match &arguments.vps {
                Some(typed) => Some(ask_host(settings, id_of(settings, &vps_ref(&settings.cluster, typed)?))?),
                None => None,
            };
            list(&sources, vps, arguments)
        }
    }
}

/// Ends a session. At an admin address, a script without a terminal needs no `--yes`, so that older scripts still work.
fn end(source: &Source, which: &SessionRef, arguments: &Arguments) -> Result<(), Failure> {
    let token = admin_token(arguments.admin_token_file.as_deref())?;
    let asks = source.takes_the_users_token() || is_interactive() && !arguments.yes;
    let found = if asks {
        let tunnels = block_on(progress::while_asking(&source.named(), source.tunnels()))?;
        let (found, shown) = one(&tunnels, which, &source.command())?;
        confirm(&format!("End {shown}?"), arguments.yes)?;
        found
    } else {
        which.clone()
    };
    if block_on(progress::while_asking(&source.named(), source.end(&found, token.as_ref())))? {
        ui::remark(&format!("ended session {which}"));
        return Ok(());
    }
    Err(no_such(&found, &source.command()))
}

/// `command` lists the sessions.
fn no_such(which: &SessionRef, command: &str) -> Failure {
    Failure::new(format!("cannot end session {which}"))
        .cause("the gateway has no such session")
        .hint(format!("list the open sessions with `{command}`"))
}

/// The session that is meant, with its gateway, and as a question names it. Behind one address there may be several
/// gateways, and each request may reach another one.
fn one(tunnels: &Tunnels, which: &SessionRef, command: &str) -> Result<(SessionRef, String), Failure> {
    let is_meant = |gateway: &Option<String>| which.gateway.is_none() || *gateway == which.gateway;
    let mut meant = tunnels.tunnels.iter().filter(|tunnel| tunnel.id == which.id && is_meant(&tunnel.gateway));
    let Some(found) = meant.next() else {
        return Err(tunnels
            .silent
            .iter()
            .fold(no_such(which, command), |failure, silent| failure.cause(silent.as_str())));
    };
    let others: Vec<_> = meant.map(|other| other.which().to_string()).collect();
    if !others.is_empty() {
        let all = format!("{}, {}", found.which(), others.join(", "));
        return Err(Failure::new(format!("cannot end session {which}"))
            .cause(format!("several gateways have one of this number: {all}"))
            .hint(format!("name one: `{command} --end {}`", found.which())));
    }
    let vps = found.name.as_ref().map_or_else(|| found.vps.to_string(), |name| format!("{name} ({})", found.vps));
    Ok((found.which(), format!("session {which} on VPS {vps}, open for {}", since(found.seconds))))
}

/// Shows the sessions of these clusters, each asked at its source.
fn list(sources: &[(&Settings, Source)], vps: Option<TaskId>, arguments: &Arguments) -> Result<(), Failure> {
    let whom = match sources {
        [(_, source)] => source.named(),
        several => format!("{} gateways", several.len()),
    };
    let (last, said, unlisted) = (RefCell::new(None), Cell::new(false), Unlisted::default());
    watch::show(&arguments.watch, &whom, async || {
        let mut all = unlisted.list(sources, async |source| source.tunnels().await).await?;
        for (_, tunnels) in &mut all {
            tunnels.tunnels.retain(|tunnel| vps.is_none_or(|vps| vps == tunnel.vps));
        }
        // Again and again, it would fill a table that is redrawn.
        if !said.replace(arguments.watch.repeats()) {
            all.iter().for_each(|(_, tunnels)| remark_silent(tunnels));
        }
        Ok(view(&all, vps, arguments, &last))
    })?;
    for (settings, source) in sources {
        if source.takes_the_users_token() && !unlisted.has(settings) {
            remember_host(settings);
        }
    }
    unlisted.tell()
}

/// Says whose sessions are missing.
fn remark_silent(tunnels: &Tunnels) {
    for silent in &tunnels.silent {
        ui::remark(&format!("sessions of a gateway are missing: {silent}"));
    }
}

fn view(
    all: &[(&Settings, Tunnels)],
    vps: Option<TaskId>,
    arguments: &Arguments,
    last: &RefCell<Option<Sample>>,
) -> View {
    let names_gateway = all.iter().any(|(_, tunnels)| tunnels.are_of_several);
    let name = |settings: &'_ Settings| arguments.all_clusters.then(|| settings.cluster.to_string());
    let named: Vec<_> = all.iter().map(|(settings, tunnels)| (name(settings), tunnels)).collect();
    let rows = named.iter().flat_map(|(cluster, list)| {
        let row = |tunnel| Row { tunnel, cluster: cluster.as_deref(), names_gateway, rates: None };
        list.tunnels.iter().map(row)
    });
    let rows: Vec<Row<'_>> = rows.collect();
    let before = last.replace(Some(Sample::of(&rows)));
    if arguments.watch.json {
        let json = |row: &Row<'_>| {
            let mut json = row.tunnel.json.clone();
            if let Some(cluster) = row.cluster {
                json["cluster"] = cluster.into();
            }
            json
        };
        return View::Json(rows.iter().map(json).collect());
    }
    if rows.is_empty() {
        return View::Nothing(format!(
            "no open sessions{}",
            vps.map(|vps| format!(" of VPS {vps}")).unwrap_or_default()
        ));
    }
    let now = Instant::now();
    let rates = |row: &Row<'_>| arguments.watch.repeats().then(|| before.as_ref().map(|before| before.rates(row, now)));
    let rows: Vec<_> = rows.iter().map(|row| Row { rates: rates(row), ..*row }).collect();
    View::Text(table(&rows, Look::of_stdout()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tunnel_tests::listed;
    use serde_json::json;

    #[test]
    fn a_number_that_two_gateways_have_is_asked_for_with_its_gateway() {
        let tunnels = Tunnels {
            tunnels: vec![
                listed(json!({ "gateway": "gw1" })),
                listed(json!({ "gateway": "gw2" })),
                listed(json!({ "gateway": "gw2", "id": 8, "name": null })),
            ],
            silent: vec!["gw3: it gave no answer".to_owned()],
            are_of_several: true,
        };
        let one = |text: &str| one(&tunnels, &text.parse().unwrap(), "kohakuriver vps sessions");
        let (which, shown) = one("gw2/7").unwrap();
        assert_eq!(which.to_string(), "gw2/7");
        assert_eq!(shown, "session gw2/7 on VPS trainer (7323718749301768192), open for 1m 1s");
        assert_eq!(one("8").unwrap().0.to_string(), "gw2/8");
        let ambiguous = one("7").unwrap_err().render("p");
        assert!(ambiguous.contains("one of this number: gw1/7, gw2/7"), "{ambiguous}");
        assert!(ambiguous.contains("hint: name one: `kohakuriver vps sessions --end gw1/7`"), "{ambiguous}");
        for unknown in ["gw1/8", "9"] {
            let text = one(unknown).unwrap_err().render("p");
            assert!(text.contains("no such session") && text.contains("gw3: it gave no answer"), "{text}");
        }
    }
}
