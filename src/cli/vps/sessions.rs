//! `kohakuriver vps sessions`: the open SSH sessions, from the gateway's admin address.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use crate::api::{Admin, ApiError, Case, Tunnel};
use crate::cli::host::{ask_host, block_on, client, vps_ref};
use crate::cli::terminal::progress;
use crate::cli::terminal::table::{Column, table};
use crate::cli::terminal::ui::{self, Look};
use crate::cli::vps::watch::{self, View, WatchFlags};
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::env_vars::KOHAKURIVER_GATEWAY_ADMIN_TOKEN;
use crate::settings::{ADMIN_FORM, AdminAddress, Settings, token_in};
use crate::sys;
use crate::target::{TaskId, VpsRef};

const ID: Column = Column::whole("ID", 0);
const VPS: Column = Column::whole("VPS", 1);
const USER: Column = Column::cut("USER", 2, 16);
const SINCE: Column = Column::whole("SINCE", 3);
// The address tells sessions without a user apart. It is dropped before the byte counts: a Host with users fills USER.
const CLIENT: Column = Column::whole("CLIENT", 8);
const NODE: Column = Column::cut("NODE", 9, 16);

/// The columns without `--watch`.
const COLUMNS: [Column; 8] = [ID, USER, VPS, SINCE, Column::whole("UP", 5), Column::whole("DOWN", 4), NODE, CLIENT];

/// How often the client has continued a tunnel, and for how long it is away. Shown if there is such a tunnel.
const MOVES: Column = Column::whole("MOVES", 4);

/// The columns with `--watch`, which also shows the rates.
const WATCHED_COLUMNS: [Column; 10] = [
    ID,
    USER,
    VPS,
    SINCE,
    Column::whole("UP", 7),
    Column::whole("UP/S", 5),
    Column::whole("DOWN", 6),
    Column::whole("DOWN/S", 4),
    NODE,
    CLIENT,
];

/// The text below the options. Only some systems have UNIX sockets.
fn explanation() -> String {
    let of_sockets = |text: &'static str| if sys::HAS_LOCAL_SOCKETS { text } else { "" };
    format!(
        "\
The sessions come from the gateway's admin address: port 8003 of the Host, unless --admin, KOHAKURIVER_GATEWAY_ADMIN or \
`gateway_admin` in config.json gives another: HOST[:PORT]{}. By default a gateway answers there on its own machine only.

Over HOST:PORT, ending a session needs the token of the gateway's --admin-token-file. Give it with the option of the same \
name here, or in KOHAKURIVER_GATEWAY_ADMIN_TOKEN.{}

The JSON is an array of objects with the keys id, user, client, transport (tcp or tls), protocol (connect or line), \
task_id (a string), node, opened (RFC 3339, UTC), seconds, bytes_up (from the client to the VPS) and bytes_down. A \
resumable one has parked_seconds (how long its client has been away, or null) and moves (how often the client has continued \
it). Without authentication and without a client's certificate, user is null. With --watch, each line is one such array.

Examples:
  kohakuriver vps sessions trainer
  kohakuriver vps sessions --watch
  kohakuriver vps sessions --end 7 --admin-token-file admin-token{}",
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
    /// End the session with this ID
    #[arg(long, value_name = "ID", conflicts_with_all = ["vps", "json", "watch"])]
    end: Option<u64>,
    /// With --end, send the token in this file
    #[arg(long, value_name = "FILE", requires = "end")]
    admin_token_file: Option<PathBuf>,
    /// Admin address of the gateway [default: port 8003 of the Host]
    #[arg(long, value_name = "ADDR",
          value_parser = |typed: &str| typed.parse::<AdminAddress>().map_err(|_| ADMIN_FORM))]
    pub(crate) admin: Option<AdminAddress>,
}

pub(crate) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let base = settings.gateway_admin_url();
    let admin = Admin::new(&base, &settings.host.value)
        .map_err(|error| Failure::usage(format!("cannot ask {base}")).because(&error))?;
    let whom = format!("the gateway at {base}");
    if let Some(id) = arguments.end {
        let token = admin_token(arguments)?;
        return block_on(progress::while_asking(&whom, end(&admin, id, token.as_ref())));
    }
    let vps = match &arguments.vps {
        Some(typed) => Some(ask_host(settings, find(settings, &vps_ref(&settings.cluster, typed)?))?),
        None => None,
    };
    let last = RefCell::new(None);
    watch::show(&arguments.watch, &whom, async || {
        let cannot = |error: ApiError| admin.failure(&error, "cannot list the sessions");
        let mut tunnels = admin.tunnels().await.map_err(cannot)?;
        tunnels.retain(|tunnel| vps.is_none_or(|vps| vps == tunnel.vps));
        let before: Option<Sample> = last.replace(Some(Sample::of(&tunnels)));
        Ok(if arguments.watch.json {
            View::Json(tunnels.iter().map(|tunnel| tunnel.json.clone()).collect())
        } else if tunnels.is_empty() {
            View::Nothing(format!("no open sessions{}", vps.map(|vps| format!(" of VPS {vps}")).unwrap_or_default()))
        } else if arguments.watch.repeats() {
            let now = Instant::now();
            let rates = |tunnel: &Tunnel| before.as_ref().map(|before| before.rates(tunnel, now));
            View::Text(watched_table(&tunnels, rates, Look::of_stdout()))
        } else {
            View::Text(once_table(&tunnels, Look::of_stdout()))
        })
    })
}

/// The token with which sessions are ended, if one is given.
fn admin_token(arguments: &Arguments) -> Result<Option<Token>, Failure> {
    match &arguments.admin_token_file {
        Some(path) => Token::from_file(path).map(Some).map_err(|error| error.failure(path, "the gateway's admin")),
        None => token_in(KOHAKURIVER_GATEWAY_ADMIN_TOKEN),
    }
}

/// The id of the VPS. The Host is asked only for a name.
async fn find(settings: &Settings, vps: &VpsRef) -> Result<TaskId, Failure> {
    match vps {
        VpsRef::Id(id) => Ok(*id),
        VpsRef::Name(name) => {
            let client = client(settings)?;
            client.id_of(name, Case::Kept).await.map_err(|error| error.about(vps, client.base()))
        }
    }
}

async fn end(admin: &Admin, id: u64, token: Option<&Token>) -> Result<(), Failure> {
    let what = format!("cannot end session {id}");
    if admin.end(id, token).await.map_err(|error| admin.failure(&error, &what))? {
        ui::remark(&format!("ended session {id}"));
        return Ok(());
    }
    Err(Failure::new(what)
        .cause("the gateway has no such session")
        .hint("list the open sessions with `kohakuriver vps sessions`"))
}

/// The byte counts of all sessions at one moment.
struct Sample {
    at: Instant,
    bytes: HashMap<u64, (u64, u64)>,
}

impl Sample {
    fn of(tunnels: &[Tunnel]) -> Self {
        let bytes = tunnels.iter().map(|tunnel| (tunnel.id, (tunnel.bytes_up, tunnel.bytes_down))).collect();
        Self { at: Instant::now(), bytes }
    }

    /// Bytes per second of `tunnel` since this sample, up and down. A new tunnel counts from zero.
    fn rates(&self, tunnel: &Tunnel, now: Instant) -> (u64, u64) {
        let (up, down) = self.bytes.get(&tunnel.id).copied().unwrap_or_default();
        let seconds = now.duration_since(self.at).as_secs_f64().max(0.001);
        let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds) as u64;
        (rate(tunnel.bytes_up, up), rate(tunnel.bytes_down, down))
    }
}

fn once_table(tunnels: &[Tunnel], look: Look) -> String {
    let rows = tunnels.iter().map(row);
    if !tunnels.iter().any(has_moved) {
        return table(COLUMNS, &rows.collect::<Vec<_>>(), look);
    }
    let rows = rows.zip(tunnels).map(|([id, user, vps, since, up, down, node, client], tunnel)| {
        [id, user, vps, since, moves(tunnel), up, down, node, client]
    });
    let [id, user, vps, since, up, down, node, client] = COLUMNS;
    table([id, user, vps, since, MOVES, up, down, node, client], &rows.collect::<Vec<_>>(), look)
}

/// Whether a tunnel has lost its first connection.
fn has_moved(tunnel: &Tunnel) -> bool {
    tunnel.moves > 0 || tunnel.parked_seconds.is_some()
}

fn moves(tunnel: &Tunnel) -> String {
    match tunnel.parked_seconds {
        Some(seconds) => format!("{}, away {}", tunnel.moves, since(seconds)),
        None if tunnel.moves > 0 => tunnel.moves.to_string(),
        None => String::new(),
    }
}

fn watched_table(tunnels: &[Tunnel], rates: impl Fn(&Tunnel) -> Option<(u64, u64)>, look: Look) -> String {
    let rows: Vec<_> = tunnels
        .iter()
        .map(|tunnel| {
            let [id, user, vps, since, up, down, node, client] = row(tunnel);
            let rates = rates(tunnel);
            let (up_rate, down_rate) = (rate(rates.map(|(up, _)| up)), rate(rates.map(|(_, down)| down)));
            [id, user, vps, since, up, up_rate, down, down_rate, node, client]
        })
        .collect();
    if !tunnels.iter().any(has_moved) {
        return table(WATCHED_COLUMNS, &rows, look);
    }
    let rows = rows.into_iter().zip(tunnels).map(|(row, tunnel)| {
        let [id, user, vps, since, up, up_rate, down, down_rate, node, client] = row;
        [id, user, vps, since, moves(tunnel), up, up_rate, down, down_rate, node, client]
    });
    let [id, user, vps, since, up, up_rate, down, down_rate, node, client] = WATCHED_COLUMNS;
    let columns = [id, user, vps, since, MOVES, up, up_rate, down, down_rate, node, client];
    table(columns, &rows.collect::<Vec<_>>(), look)
}

fn row(tunnel: &Tunnel) -> [String; 8] {
    [
        tunnel.id.to_string(),
        tunnel.user.clone().unwrap_or_default(),
        tunnel.vps.to_string(),
        since(tunnel.seconds),
        bytes(tunnel.bytes_up),
        bytes(tunnel.bytes_down),
        tunnel.node.clone(),
        tunnel.client.clone(),
    ]
}

/// A duration in its two largest units.
fn since(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// A byte count in a unit that leaves at most four digits.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    // From here on it would be shown as 1024.0.
    while value >= 1023.95 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, Some(next));
    }
    format!("{value:.1} {}", unit.unwrap_or(&""))
}

/// A rate; empty until there are two samples.
fn rate(count: Option<u64>) -> String {
    count.map(|count| format!("{}/s", bytes(count))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::admin_tests::listed;
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn sessions_are_listed_in_a_table() {
        let tunnels = [
            listed(json!({ "bytes_down": 123_456_789 })),
            listed(json!({ "id": 12, "user": null, "seconds": 90_061 })),
        ];
        assert_eq!(
            once_table(&tunnels, Look::PLAIN),
            "ID  USER   VPS                  SINCE  UP   DOWN       NODE   CLIENT\n\
             7   alice  7323718749301768192  1m 1s  3 B  117.7 MiB  node1  10.0.0.9:51234\n\
             12  -      7323718749301768192  1d 1h  3 B  5 B        node1  10.0.0.9:51234\n"
        );
    }

    #[test]
    fn a_tunnel_that_has_moved_shows_so_and_one_that_is_away_since_when() {
        let tunnels = [
            listed(json!({ "parked_seconds": null, "moves": 0 })),
            listed(json!({ "id": 8, "parked_seconds": null, "moves": 3 })),
            listed(json!({ "id": 9, "parked_seconds": 72, "moves": 0 })),
        ];
        assert_eq!(
            once_table(&tunnels, Look::PLAIN),
            "ID  USER   VPS                  SINCE  MOVES           UP   DOWN  NODE   CLIENT\n\
             7   alice  7323718749301768192  1m 1s  -               3 B  5 B   node1  10.0.0.9:51234\n\
             8   alice  7323718749301768192  1m 1s  3               3 B  5 B   node1  10.0.0.9:51234\n\
             9   alice  7323718749301768192  1m 1s  0, away 1m 12s  3 B  5 B   node1  10.0.0.9:51234\n"
        );
        let watched = watched_table(&tunnels, |_| None, Look::PLAIN);
        assert!(
            watched.contains("  SINCE  MOVES           UP ") && watched.contains("1m 1s  0, away 1m 12s  3 B"),
            "{watched}"
        );
        assert!(!once_table(&tunnels[..1], Look::PLAIN).contains("MOVES"));
        assert!(!watched_table(&tunnels[..1], |_| None, Look::PLAIN).contains("MOVES"));
    }

    #[test]
    fn rates_count_from_the_last_sample() {
        let before = Sample::of(&[listed(json!({ "bytes_up": 1000, "bytes_down": 0 }))]);
        let later = before.at + Duration::from_secs(2);
        let now = listed(json!({ "bytes_up": 5000, "bytes_down": 4096 }));
        assert_eq!(before.rates(&now, later), (2000, 2048));
        let new = listed(json!({ "id": 8, "bytes_up": 4, "bytes_down": 0 }));
        assert_eq!(before.rates(&new, later), (2, 0));
        let shown = watched_table(std::slice::from_ref(&now), |_| Some((2000, 2048)), Look::PLAIN);
        assert!(shown.contains("4.9 KiB  2.0 KiB/s  4.0 KiB  2.0 KiB/s"), "{shown}");
        let shown = watched_table(&[now], |_| None, Look::PLAIN);
        assert!(shown.contains("4.9 KiB  -     4.0 KiB  -"), "{shown}");
    }

    #[test]
    fn durations_and_byte_counts_have_readable_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3599, "59m 59s"),
            (3600, "1h 0m"),
            (86_399, "23h 59m"),
            (86_400, "1d 0h"),
            (1_000_000, "11d 13h"),
        ] {
            assert_eq!(since(seconds), expected);
        }
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_048_576, "1.0 MiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }
}
