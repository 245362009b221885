//! The helper's command line as a definition of clap's, for the manual page. The helper itself does not need it.

use clap::{Arg, ArgAction, Command};

use super::PROGRAM;

/// Text after the options.
const AFTER_HELP: &str = "\
Example, in ~/.ssh/config:
  Host *.kohakuriver
      User root
      ProxyCommand kohakuriver-proxy --fdpass %h %p
      ProxyUseFdpass yes
      ServerAliveInterval 30

Exit status:
  0  The tunnel opened and ended normally
  1  The tunnel did not open, or it broke
  2  Wrong usage";

/// The definition of the helper's command line.
pub fn definition() -> Command {
    let about = "Open an SSH tunnel to a KohakuRiver VPS, as the ProxyCommand of ssh";
    let more = "Takes an HTTP CONNECT tunnel through the Host's SSH proxy and pipes it to stdin and stdout, or hands ssh \
                the socket. Works through any other HTTP CONNECT proxy as well.";
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let flag = |name: &'static str, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new(PROGRAM)
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .long_about(format!("{about}\n\n{more}"))
        .after_help(AFTER_HELP)
        .arg(Arg::new("TARGET").required(true).help(
            "Task id or name of the VPS, with or without `.kohakuriver`; any other host (a name with a dot, or an \
             address) is sent to the proxy unchanged",
        ))
        .arg(Arg::new("PORT").help("TCP port to ask for; a VPS offers 22 only [default: 22]"))
        .arg(flag(
            "fdpass",
            "Hand ssh the connected socket and exit (for `ProxyUseFdpass yes`); bytes are piped instead if stdout is no \
             UNIX socket or stdin is another one",
        ))
        .arg(option("proxy", "HOST[:PORT]", "Connect through this proxy [default: the Host, port 8002]"))
        .arg(option("host-api", "HOST[:PORT]", "Look names up at this Host's API [default: the Host, port 8000]"))
        .arg(option(
            "protocol",
            "PROTOCOL",
            "Speak this protocol with the proxy: auto (HTTP CONNECT, then the line protocol if an older Host answers), \
             connect (HTTP CONNECT only) or request-tunnel (the older Hosts' line protocol only) [default: auto]",
        ))
        .arg(option(
            "connect-timeout",
            "SECONDS",
            "Give up if the VPS has not sent its first byte after this time [default: 20]",
        ))
        .arg(
            option(
                "wait",
                "SECONDS",
                "Keep trying while the VPS is starting, for at most SECONDS (300 if omitted); the tunnel that opens still \
                 has --connect-timeout for its first byte",
            )
            .num_args(0..=1),
        )
        .arg(option("log-file", "PATH", "Append failures to this file; `%p` in it is the parent's process id"))
        .arg(flag("verbose", "Print each step on stderr").short('v'))
}
