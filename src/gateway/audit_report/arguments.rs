//! The command line of `kohakuriver-gateway audit`, as typed.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::ArgAction;
use ipnet::IpNet;

use super::choices::{By, Format};
use super::line::Event;
use super::period::time;
use crate::failure::Failure;
use crate::gateway::decide::networks::network;

/// List or sum what audit logs tell: who used which VPS, from where, how long, how many bytes
///
/// Without --by, each tunnel is one row, in the order of their ends; those that are still open come last. Without FILE, it
/// reads stdin. Times are in UTC. It holds the tunnels that are open at a time, and the sums, however long a log is.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Audit logs, the oldest first; `-`, or no FILE, is stdin
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,

    /// Only of this user; `-` is none; may be given several times
    #[arg(long, value_name = "USER")]
    pub(super) user: Vec<String>,

    /// Only of this VPS, by its task id or name; may be given several times
    #[arg(long, value_name = "VPS")]
    pub(super) vps: Vec<String>,

    /// Only of VPSes on this Runner; may be given several times
    #[arg(long, value_name = "RUNNER")]
    pub(super) node: Vec<String>,

    /// Only of clients in this network, or with this address; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(super) client: Vec<IpNet>,

    /// Only what was open or refused at this time or later, such as 2026-11-23T12:00:00Z, 2026-11-23, or a duration before now:
    /// 90min, 2h, 7days
    #[arg(long, value_name = "TIME", value_parser = time,
          help = "Only what was open or refused then or later: 2026-11-23T12:00:00Z, 2026-11-23, or a duration before now: 90min, 2h, 7days")]
    pub(super) since: Option<SystemTime>,

    /// Only what was open or refused at this time or earlier
    #[arg(long, value_name = "TIME", value_parser = time, help = "Only what was open or refused then or earlier")]
    pub(super) until: Option<SystemTime>,

    /// Only lines with this event, each as a row of its own; may be given several times
    #[arg(long, value_name = "EVENT", value_enum)]
    pub(super) event: Vec<Event>,

    /// Only what ended or was refused for this reason; may be given several times
    #[arg(long, value_name = "REASON")]
    pub(super) reason: Vec<String>,

    /// Print sums for each of these instead
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(super) by: Option<By>,

    /// Print JSON: an array with an object for each row
    #[arg(long)]
    json: bool,

    /// Print CSV (RFC 4180), with a line of headers
    ///
    /// A cell that a spreadsheet would take for a formula gets an apostrophe in front.
    #[arg(long, conflicts_with = "json")]
    csv: bool,

    /// Print help
    // As the gateway's own.
    #[arg(long, short = 'h', action = ArgAction::HelpShort)]
    help: Option<bool>,
}

impl Arguments {
    /// # Errors
    /// When nothing can match.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since > until => Err(Failure::usage("--since is later than --until")
                .cause("no tunnel can be listed")
                .hint("give --until a later time, or leave it out")),
            _ => Ok(()),
        }
    }

    /// Whether each line with one of the wanted events is a row of its own.
    pub(super) fn is_by_line(&self) -> bool {
        !self.event.is_empty()
    }

    pub(super) fn format(&self) -> Format {
        match (self.json, self.csv) {
            (true, _) => Format::Json,
            (_, true) => Format::Csv,
            _ => Format::Table,
        }
    }
}

const AFTER_HELP: &str = "\
Lines of anything else, as in a journal, are left out and counted. Refused requests are in sums, and listed with \
`--event refused`.

Exit status:
  0  Success, also if the reader of the report has closed its pipe
  1  A file could not be read, or the report could not be written
  2  Wrong usage

Examples:
  kohakuriver-gateway audit --by user --since 24h audit.log
  zcat -f $(ls -tr audit.log*) | kohakuriver-gateway audit --by vps --csv
  journalctl -u kohakuriver-gateway -o cat >day; kohakuriver-gateway audit day";
