//! The command line: the flags of every command, and the groups of commands.
//!
//! A group's verbs are defined in the group's folder. `--help`, shell completions, manual pages and the decision which
//! commands are ours all come from [`definition`].

use std::convert::Infallible;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::cli::host::vps_cache;
use crate::cli::programs::names::PROGRAM;
use crate::cli::{auth, cluster, completions, config, doctor, manual, node, ssh, vps};
use crate::cluster::ClusterName;
use crate::failure::Failure;
use crate::settings::{Flags, Pins, ProxyAddress, Trust, UpstreamProxyError, UpstreamSetting};
use crate::sys;

/// Shown at the end of `--help`.
const AFTER_HELP: &str = "\
Any other command (docker, task, ssh connect, ...) is passed on to the next `kohakuriver` on PATH, KohakuRiver's Python \
CLI, with the same arguments.

A flag overrides the environment variable, which overrides config.json; `kohakuriver config show` shows the values in \
use. The token comes from KOHAKURIVER_TOKEN, or from a login.

Examples:
  kohakuriver login gpu-head
  kohakuriver vps create --gen-ssh-key --connect
  kohakuriver vps list";

/// SSH into the VPSes of a KohakuRiver cluster through its Host's SSH proxy
#[derive(Parser, Debug)]
#[command(name = PROGRAM, version, after_help = AFTER_HELP)]
pub(super) struct CommandLine {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    pub(super) group: Group,
}

/// Flags that may stand before or after the command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
struct Globals {
    /// Cluster to use [default: the default one]
    #[arg(long, global = true, value_name = "NAME", add = vps_cache::clusters())]
    cluster: Option<ClusterName>,
    /// Name or address of the Host, or https://HOST[:PORT]
    #[arg(long, short = 'H', global = true, value_name = "HOST")]
    host: Option<String>,
    /// TCP port of the Host's API [default: 8000]
    #[arg(long, short = 'P', global = true, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// TCP port of the Host's SSH proxy [default: 8002]
    #[arg(long, global = true, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    ssh_proxy_port: Option<u16>,
    /// Address of the gateway, if it is not on the Host
    #[arg(long, global = true, value_name = "HOST[:PORT]")]
    proxy: Option<ProxyAddress>,
    #[command(flatten)]
    tls: Tls,
}

/// Flags for a Host behind the internet or an office network.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options for the internet")]
struct Tls {
    /// Trust the CAs in this file [default: those of the system]
    #[arg(long, global = true, value_name = "FILE", value_parser = file())]
    ca_file: Option<PathBuf>,
    /// Trust this public key, as `curl --pinnedpubkey` does: sha256//BASE64
    #[arg(long, global = true, value_name = "PIN")]
    pinned_key: Option<Pins>,
    /// Log in to the gateway with this certificate
    #[arg(long, global = true, value_name = "FILE", value_parser = file())]
    client_cert: Option<PathBuf>,
    /// Private key of the certificate [default: in the same file]
    #[arg(long, global = true, value_name = "FILE", value_parser = file())]
    client_key: Option<PathBuf>,
    /// Go through this proxy on the way, or `none` [default: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY]
    #[arg(long, global = true, value_name = "URL",
          value_parser = |text: &str| Ok::<_, Infallible>(TypedUpstream(UpstreamSetting::from_flag(text))))]
    upstream_proxy: Option<TypedUpstream>,
}

/// An upstream proxy as it was typed. clap would show a wrong value, which may have a password in it.
#[derive(Clone, Debug)]
struct TypedUpstream(Result<UpstreamSetting, UpstreamProxyError>);

/// Reads the path of a file. It goes into files, so it is made absolute.
fn file() -> impl TypedValueParser<Value = PathBuf> {
    clap::builder::PathBufValueParser::new().try_map(|path| match path.starts_with("~") {
        true => Ok(path),
        false => std::path::absolute(path),
    })
}

/// The groups of commands, and the commands without a group.
#[derive(Subcommand, Debug)]
pub(super) enum Group {
    /// Log in to a Host, remember it, and write ssh_config entries
    Login(cluster::login::Arguments),
    /// List, rename and remove clusters
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// Create, connect to and manage VPSes
    #[command(subcommand)]
    Vps(vps::Verb),
    /// List the Runners, the machines that VPSes run on
    #[command(subcommand)]
    Node(node::Verb),
    /// Write ssh_config entries for VPSes and forget host keys
    #[command(subcommand)]
    Ssh(ssh::Verb),
    /// Log in to the Host and log out
    #[command(subcommand)]
    Auth(auth::Verb),
    /// Show and change this program's settings
    #[command(subcommand)]
    Config(config::Verb),
    /// Find out why a VPS can't be reached
    Doctor(doctor::Arguments),
    /// Print a script for shell completion
    Completions(completions::Arguments),
    /// Print a manual page, or write all of them to a folder
    #[command(hide = !sys::HAS_MANUALS)]
    Man(manual::Arguments),
}

impl CommandLine {
    /// The VPSes that the command line names, as typed.
    pub(super) fn vpses(&self) -> Vec<&str> {
        match &self.group {
            Group::Vps(verb) => verb.vpses(),
            Group::Ssh(verb) => verb.vpses(),
            Group::Doctor(arguments) => arguments.vpses(),
            _ => Vec::new(),
        }
    }

    /// The settings that the command line gives.
    pub(super) fn flags(&self) -> Result<Flags, Failure> {
        let gateway_admin = match &self.group {
            Group::Vps(verb) => verb.gateway_admin(),
            _ => None,
        };
        let upstream_proxy = self.globals.tls.upstream_proxy.clone().map(|TypedUpstream(typed)| typed).transpose();
        let upstream_proxy = upstream_proxy.map_err(|error| {
            Failure::usage("--upstream-proxy can't be used")
                .because(&error)
                .hint("name it as http://PROXY:3128, https://, socks5h:// or `none`")
        })?;
        Ok(Flags {
            cluster: self.globals.cluster.clone(),
            host: self.globals.host.clone(),
            port: self.globals.port,
            ssh_proxy_port: self.globals.ssh_proxy_port,
            proxy: self.globals.proxy.clone(),
            gateway_admin,
            log_file: None,
            trust: Trust {
                ca_file: self.globals.tls.ca_file.clone(),
                pins: self.globals.tls.pinned_key.clone(),
                client_cert: self.globals.tls.client_cert.clone(),
                client_key: self.globals.tls.client_key.clone(),
            },
            upstream_proxy,
        })
    }
}

/// The whole definition.
pub(super) fn definition() -> clap::Command {
    CommandLine::command()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::programs::next::{Owner, owner};

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_valid() {
        definition().debug_assert();
    }

    #[test]
    fn global_flags_may_stand_before_and_after_the_command() {
        for line in ["kohakuriver -H h -P 1 vps list", "kohakuriver vps -H h list -P 1", "kohakuriver vps list -P1 -Hh"]
        {
            let flags = parse(line).unwrap().flags().unwrap();
            assert_eq!((flags.host.as_deref(), flags.port), (Some("h"), Some(1)), "{line}");
        }
    }

    #[test]
    fn words_after_two_dashes_are_passed_to_ssh() {
        let line = parse("kohakuriver vps connect 42 --user u -- -L 1:a:2 -P 9 --host x --help").unwrap();
        assert_eq!((line.flags().unwrap().host, line.flags().unwrap().port), (None, None));
        let Group::Vps(vps::Verb::Connect(arguments)) = line.group else { panic!("{line:?}") };
        assert_eq!(arguments.ssh_args, ["-L", "1:a:2", "-P", "9", "--host", "x", "--help"]);
    }

    #[test]
    fn invalid_values_are_usage_errors() {
        for line in [
            "kohakuriver vps connect 42 --colour",
            "kohakuriver vps connect 42 --user=",
            "kohakuriver -P 0 vps list",
            "kohakuriver --proxy ftp://door vps list",
        ] {
            assert!(parse(line).unwrap_err().use_stderr(), "{line}");
        }
    }

    fn owner_of(line: &str) -> Owner {
        let mut definition = definition();
        definition.build();
        owner(&definition, &line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn commands_of_this_program_are_ours() {
        for line in [
            "",
            "vps",
            "--help",
            "help",
            "help vps",
            "--version",
            "vps --help",
            "vps connect 42",
            "vps connect 42 --no-such-flag",
            "vps list -a",
            "-H gpu-head vps status 42",
            "-Hgpu-head -P 9000 --ssh-proxy-port=1 --proxy door node list",
            "vps --host gpu-head list",
            "config show",
            "ssh config --write",
            "vps create --gen-ssh-key",
            "auth login",
            "man vps create",
            "completions fish",
            "ssh forget 42",
            "vps connect 42 -- docker ps",
        ] {
            assert_eq!(owner_of(line), Owner::Ours, "{line}");
        }
    }

    #[test]
    fn unknown_commands_belong_to_the_next_program() {
        for (line, command) in [
            ("docker list", "kohakuriver docker"),
            ("docker --help", "kohakuriver docker"),
            ("vps snapshot 42", "kohakuriver vps snapshot"),
            ("-H gpu-head vps assign 42", "kohakuriver vps assign"),
            ("--port 9000 task list", "kohakuriver task"),
            ("auth token list", "kohakuriver auth token"),
            ("vps lst", "kohakuriver vps lst"),
            ("ssh connect 42", "kohakuriver ssh connect"),
            ("node status n1", "kohakuriver node status"),
        ] {
            let Owner::Next(unknown) = owner_of(line) else { panic!("{line}") };
            assert_eq!(unknown.command(), command, "{line}");
            let rest: Vec<OsString> = line
                .split(' ')
                .skip_while(|word| *word != unknown.words.last().unwrap())
                .skip(1)
                .map(OsString::from)
                .collect();
            assert_eq!(unknown.rest, rest, "{line}");
        }
        assert_eq!(owner_of("-f json docker list"), Owner::UnknownFlag);
        assert_eq!(owner_of("--format=json vps list"), Owner::UnknownFlag);
    }
}
