//! The text of `--help`, from one table, in the shape and order of clap's: the other two programs have theirs from
//! there.

use crate::settings::{env_vars, process_environment};
use crate::sys;
use crate::terminal::wrapped;

/// Width where the output is no terminal and nothing names a width, as in clap.
const DEFAULT_WIDTH: usize = 100;

/// Indentation of a text that stands below its option, as in clap.
const BELOW: usize = 10;

/// An argument or an option.
pub(super) struct Entry {
    /// `-v`, or nothing.
    pub(super) short: &'static str,
    /// `--verbose`; nothing for an argument.
    pub(super) long: &'static str,
    /// `<PATH>`, or `[PORT]` when it may be left out, or nothing.
    pub(super) value: &'static str,
    /// Its description.
    pub(super) text: &'static str,
}

pub(super) const ABOUT: &str = "Open an SSH tunnel to a KohakuRiver VPS, as the ProxyCommand of ssh";

pub(super) const DETAILS: &str = if PASSES {
    "Opens an HTTP CONNECT tunnel through the Host's SSH proxy and pipes it to stdin and stdout, or hands ssh the socket. \
     Works through any other HTTP CONNECT proxy as well."
} else {
    "Opens an HTTP CONNECT tunnel through the Host's SSH proxy and pipes it to stdin and stdout. Works through any other \
     HTTP CONNECT proxy as well."
};

/// Whether ssh can be handed a socket.
const PASSES: bool = sys::CAN_PASS_DESCRIPTORS;

/// The option for it.
const FDPASS: &str = "--fdpass";

const USAGE: &str = "kohakuriver-proxy [OPTIONS] <TARGET> [PORT]";

pub(super) const ARGUMENTS: [Entry; 2] = [
    argument(
        "<TARGET>",
        "Task id or name of the VPS, with or without `.kohakuriver`; any other host (a name with a dot, or an address) \
         is sent to the proxy unchanged",
    ),
    argument("[PORT]", "TCP port to ask for; a VPS offers 22 only [default: 22]"),
];

const OPTIONS: [Entry; 19] = [
    option(
        FDPASS,
        "",
        "Hand ssh the connected socket and exit (for `ProxyUseFdpass yes`); bytes are piped instead if stdout is not a \
         UNIX socket, or if stdin is a different one",
    ),
    option(
        "--no-disconnect",
        "",
        "Print a failure on stderr only; by default OpenSSH, PuTTY and AsyncSSH get it as a disconnect message (RFC 4253) \
         and print it themselves",
    ),
    option(
        "--cluster",
        "<NAME>",
        "Cluster of the VPS: its addresses, its token, and the part of TARGET that names it [env: KOHAKURIVER_CLUSTER] \
         [default: the default cluster]",
    ),
    option(
        "--proxy",
        "<HOST[:PORT]>",
        "Connect through this proxy; https://HOST[:PORT] for one with TLS [default: the Host, port 8002]",
    ),
    option("--host-api", "<HOST[:PORT]>", "Look names up at this Host's API [default: the Host, port 8000]"),
    option("--ca-file", "<FILE>", "For https://: trust the CAs in this file [default: those of the system]"),
    option(
        "--pinned-key",
        "<PIN>",
        "For https://: trust this public key, as `curl --pinnedpubkey` does: sha256//BASE64",
    ),
    option("--client-cert", "<FILE>", "For https://: log in to the gateway with this certificate"),
    option("--client-key", "<FILE>", "For https://: private key of the certificate [default: in the same file]"),
    option(
        "--upstream-proxy",
        "<URL>",
        "Go through this proxy on the way, such as that of an office: http://, https:// or socks5h://[USER@]HOST[:PORT], or \
         `none` [default: upstream_proxy in config.json, else HTTPS_PROXY, HTTP_PROXY and ALL_PROXY]",
    ),
    option(
        "--protocol",
        "<PROTOCOL>",
        "Speak this protocol with the proxy: auto (HTTP CONNECT, then the line protocol if an older Host answers), \
         connect (HTTP CONNECT only) or request-tunnel (the older Hosts' line protocol only) [default: auto]",
    ),
    option(
        "--resume",
        "",
        if PASSES {
            "Have the tunnel survive its connection, also where ssh would be given the socket itself: then another process \
             carries the bytes"
        } else {
            "Have the tunnel survive its connection, whatever config.json says; this is the default"
        },
    ),
    option(
        "--no-resume",
        "",
        if PASSES {
            "Let the tunnel end with its connection; by default it survives that, unless ssh is given the socket itself or \
             the gateway can't do it"
        } else {
            "Let the tunnel end with its connection; by default it survives that, unless the gateway can't do it"
        },
    ),
    option(
        "--connect-timeout",
        "<SECONDS>",
        "Give up if the VPS has not sent its first byte after this time [default: 20]",
    ),
    option(
        "--wait",
        "[<SECONDS>]",
        "Keep trying while the VPS is starting, for at most SECONDS (300 if omitted); the tunnel that opens still has \
         --connect-timeout for its first byte",
    ),
    option(
        "--log-file",
        "<PATH>",
        if sys::SEES_PARENT {
            "Append failures to this file; `%p` in it is the parent's process id [env: KOHAKURIVER_LOG_FILE]"
        } else {
            "Append failures to this file [env: KOHAKURIVER_LOG_FILE]"
        },
    ),
    Entry { short: "-v", long: "--verbose", value: "", text: "Print each step on stderr" },
    Entry { short: "-h", long: "--help", value: "", text: "Print help" },
    Entry { short: "-V", long: "--version", value: "", text: "Print version" },
];

macro_rules! after {
    ($proxy_command:literal) => {
        concat!(
            "\
Example, in ~/.ssh/config:
  Host *.kohakuriver
      User root
      ProxyCommand ",
            $proxy_command,
            "
      ServerAliveInterval 30
      ServerAliveCountMax 3

Exit status:
  0  The tunnel opened and ended normally
  1  The tunnel did not open, or it broke
  2  Wrong usage"
        )
    };
}

pub(super) const AFTER: &str = if PASSES {
    after!("kohakuriver-proxy --fdpass %h %p\n      ProxyUseFdpass yes")
} else {
    after!("\"C:/Program Files/KohakuRiver/kohakuriver-proxy.exe\" %h %p")
};

/// The options that this system has.
pub(super) fn options() -> Vec<&'static Entry> {
    OPTIONS.iter().filter(|option| PASSES || option.long != FDPASS).collect()
}

const fn argument(value: &'static str, text: &'static str) -> Entry {
    Entry { short: "", long: "", value, text }
}

const fn option(long: &'static str, value: &'static str, text: &'static str) -> Entry {
    Entry { short: "", long, value, text }
}

impl Entry {
    /// The left column.
    fn head(&self) -> String {
        let Self { short, long, value, .. } = self;
        match (short.is_empty(), long.is_empty()) {
            (_, true) => (*value).to_owned(),
            (true, _) => format!("    {long} {value}").trim_end().to_owned(),
            (false, _) => format!("{short}, {long} {value}").trim_end().to_owned(),
        }
    }
}

/// The text of `--help` for this terminal.
pub(super) fn text() -> String {
    render(width())
}

/// The width of the terminal, else of `COLUMNS`.
fn width() -> usize {
    let columns = || process_environment(env_vars::COLUMNS)?.to_str()?.parse().ok();
    let terminal = sys::terminal_size(std::io::stdout()).or_else(|| sys::terminal_size(std::io::stderr()));
    terminal.map(|(width, _)| width).or_else(columns).unwrap_or(DEFAULT_WIDTH)
}

fn render(width: usize) -> String {
    let paragraph = |text| wrapped(text, 0, 0, width);
    let usage = format!("Usage: {USAGE}");
    let (arguments, options) =
        (section("Arguments", &ARGUMENTS.each_ref(), width), section("Options", &options(), width));
    format!("{}\n\n{}\n\n{usage}\n\n{arguments}\n{options}\n{AFTER}\n", paragraph(ABOUT), paragraph(DETAILS))
}

/// Texts stand beside their options, or below them on a narrow terminal.
fn section(name: &str, entries: &[&Entry], width: usize) -> String {
    let heads: Vec<_> = entries.iter().map(|entry| entry.head()).collect();
    let column = 4 + heads.iter().map(String::len).max().unwrap_or(0);
    let is_narrow = column * 2 > width;
    let mut section = format!("{name}:\n");
    for (head, entry) in heads.iter().zip(entries) {
        if is_narrow {
            section += &format!("  {head}\n{:BELOW$}{}\n", "", wrapped(entry.text, BELOW, BELOW, width));
        } else {
            let text = wrapped(entry.text, column, column, width);
            section += &format!("  {head:padded$}  {text}\n", padded = column - 4);
        }
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_holds_the_whole_text() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let wide = render(1000);
        assert!(wide.contains("\n  -v, --verbose                    Print each step on stderr\n"), "{wide}");
        for width in [40, 60, 69, 70, 80, 100, 200] {
            let help = render(width);
            assert_eq!(words(&help), words(&wide), "{width}");
            let fixed = [AFTER, USAGE].concat();
            for line in help.lines().filter(|line| !fixed.contains(line.trim_start_matches("Usage: "))) {
                assert!(line.len() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn texts_stand_beside_their_options_or_below_them() {
        let help = render(80);
        let beside = "\n      --proxy <HOST[:PORT]>        Connect through this proxy;\n                                   \
                      https://HOST[:PORT] for one with TLS\n                                   [default: the Host, port \
                      8002]\n";
        assert!(help.contains(beside), "{help}");
        let help = render(60);
        let below = "\n      --proxy <HOST[:PORT]>\n          Connect through this proxy; https://HOST[:PORT]\n          for one \
                     with TLS [default: the Host, port 8002]\n";
        assert!(help.contains(below), "{help}");
    }

    #[test]
    fn sections_come_in_clap_s_order() {
        let help = render(80);
        let at = |heading: &str| help.find(heading).unwrap_or_else(|| panic!("{heading}: {help}"));
        assert!(at("\nUsage: ") < at("\nArguments:\n") && at("\nArguments:\n") < at("\nOptions:\n"), "{help}");
    }
}
