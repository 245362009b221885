//! What each of these commands says of itself with `--help`, on a terminal of 80 columns.
//!
//! A change of a text here is a change of what people read: it is to be looked at, not only taken over.
#![cfg(feature = "cli")]
// clippy's `allow-unwrap-in-tests` doesn't reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Stands in each of them, before the text that follows the options.
const COMMON: &str = "
Options of every command:
  -H, --host <HOST>            Name or address of the Host [default: localhost]
  -P, --port <PORT>            TCP port of the Host's API [default: 8000]
      --ssh-proxy-port <PORT>  TCP port of the Host's SSH proxy [default: 8002]
      --proxy <HOST[:PORT]>    The gateway, when it is not on the Host
";

fn help(words: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kohakuriver"))
        .args(words.split_whitespace())
        .arg("--help")
        .env_clear()
        .env("HOME", "/no/such/home")
        .env("COLUMNS", "80")
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn says(words: &str, expected: &str) {
    let help = help(words);
    let (before, after) = help.split_once(COMMON).unwrap_or_else(|| panic!("{words}: {help}"));
    assert_eq!(format!("{before}{after}").trim_end(), expected.trim_end(), "kohakuriver {words} --help:\n{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{words}: a line is too long\n{help}");
}

#[test]
fn kohakuriver_help() {
    says(
        "",
        r#"SSH into a VPS of a KohakuRiver cluster, through the front door of its Host

Usage: kohakuriver [OPTIONS] <COMMAND>

Commands:
  vps          Make, reach and end VPSes, and look at them
  node         Look at the Runners that VPSes run on
  ssh          Make VPSes ordinary hosts of ssh
  auth         Log in to the Host
  config       Look at this program's settings
  doctor       Find out why a VPS can't be reached
  completions  Print a script that completes commands and VPSes on TAB
  man          Print the manual page of a command, or write all of them
  help         Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

The commands above are this program's own. Every other one (docker, task, ssh
connect, ...) is run by the next `kohakuriver` on PATH, KohakuRiver's Python
CLI, with the same arguments.

Flags win over the environment (KOHAKURIVER_HOST, KOHAKURIVER_PORT,
KOHAKURIVER_SSH_PROXY_PORT), which wins over config.json; `kohakuriver config
show` tells what is in force. The token comes from KOHAKURIVER_TOKEN, else from
~/.kohakuriver/auth.json.
"#,
    );
}

#[test]
fn vps_help() {
    says(
        "vps",
        r#"Make, reach and end VPSes, and look at them

Usage: kohakuriver vps [OPTIONS] <COMMAND>

Commands:
  connect   Log in to a VPS with the system's ssh
  list      List the VPSes that are up or on their way
  status    Show one VPS
  sessions  Show who is connected to which VPS, as the gateway knows it
  create    Make a new VPS
  stop      End a VPS for good
  restart   Restart a VPS
  pause     Freeze a VPS's processes for a while
  resume    Let the processes of a paused VPS go on
  help      Print this message or the help of the given subcommand(s)

Options:
  -h, --help  Print help
"#,
    );
}

#[test]
fn vps_create_help() {
    says(
        "vps create",
        r#"Make a new VPS

Usage: kohakuriver vps create [OPTIONS]

Options:
      --name <NAME>
          Name of the VPS
  -t, --target <NODE[:NUMA][::GPU,...]>
          Run on this Runner, on this NUMA node of it, with these of its GPUs
  -c, --cores <NUMBER>
          CPU cores [default: the Host's, 1]
  -m, --memory <SIZE>
          Memory, as 512M or 16G
      --container <NAME>
          Start from this environment of the Host [default: the Host's]
      --image <IMAGE>
          Start from this image of a registry
      --backend <docker|qemu>
          A container or a virtual machine [default: docker]
      --vm-image <NAME>
          Image of the virtual machine, by the Host's name for it
      --vm-disk-size <SIZE>
          Disk of the virtual machine, as 50G
      --vm-memory <SIZE>
          Memory of the virtual machine, as 8G
      --mount <FOLDER:FOLDER[:ro]>
          Mount a folder of the Runner; only an older Host takes it
      --privileged
          Give the container the Runner's devices and powers; only an older Host
          takes it
      --wait [<SECONDS>]
          Wait until its sshd answers, for 300 seconds unless told otherwise
      --connect
          Wait, then log in
      --json
          Print JSON
  -h, --help
          Print help

Who may log in, one of:
      --gen-ssh-key
          Make a key pair here, ~/.ssh/id-kohakuriver-<id>, and send its public
          half
      --public-key-file <FILE>
          Send the public key in this file
      --public-key-string <KEY>
          Send this public key
      --no-ssh-key
          Let everybody in as root, without a key or a password

Where nothing is said of who may log in, the VPS has no sshd: it is reached by
the Host's terminals only.

  kohakuriver vps create --gen-ssh-key --connect
  kohakuriver vps create -t gpu-1::0,1 -m 64G --gen-ssh-key --wait
  kohakuriver vps create --backend qemu --vm-memory 8G --gen-ssh-key

The JSON has the keys task_id (a string), name, status, assigned_node,
ssh_key_mode (disabled, none or upload), key_file (the private key that was
made) and message (the Host's); null stands where there is no value.
"#,
    );
}

#[test]
fn vps_list_help() {
    says(
        "vps list",
        r#"List the VPSes that are up or on their way

Usage: kohakuriver vps list [OPTIONS]

Options:
  -a, --all                List those that have ended too
      --watch [<SECONDS>]  Go on showing it, every 2 seconds unless told
                           otherwise, until Ctrl-C
      --json               Print JSON; with --watch, one line each time
  -h, --help               Print help

The JSON is an array of what `kohakuriver vps status --json` prints of one. On a
narrow terminal, columns are left out; they are all there when stdout is no
terminal.
"#,
    );
}

#[test]
fn vps_status_help() {
    says(
        "vps status",
        r#"Show one VPS

Usage: kohakuriver vps status [OPTIONS] <VPS>

Arguments:
  <VPS>  Task id or name of the VPS

Options:
      --watch [<SECONDS>]  Go on showing it, every 2 seconds unless told
                           otherwise, until Ctrl-C
      --json               Print JSON; with --watch, one line each time
  -h, --help               Print help

The JSON has the keys task_id (a string), name, status, assigned_node, ssh_port,
vps_backend, owner_username, submitted_at, started_at and error_message; null
stands where there is no value. ssh_port is null unless the VPS is running or
paused. Times are ISO 8601, the Host's local time.
"#,
    );
}

#[test]
fn vps_stop_help() {
    says(
        "vps stop",
        r#"End a VPS for good

Usage: kohakuriver vps stop [OPTIONS] <VPS>

Arguments:
  <VPS>  Task id or name of the VPS

Options:
  -y, --yes   Don't ask
  -h, --help  Print help

A stopped VPS can't be started again: make a new one with `kohakuriver vps
create`.
"#,
    );
}

#[test]
fn vps_restart_help() {
    says(
        "vps restart",
        r#"Restart a VPS

Usage: kohakuriver vps restart [OPTIONS] <VPS>

Arguments:
  <VPS>  Task id or name of the VPS

Options:
  -y, --yes               Don't ask
      --wait [<SECONDS>]  Wait until its sshd answers, for 300 seconds unless
                          told otherwise
  -h, --help              Print help

A Host restarts a container (the backend docker) by making it anew, in the mode
that lets everybody in as root without a key; its host key and its SSH port may
be new, too. Whether it takes such logins is looked at afterwards.
"#,
    );
}

#[test]
fn vps_pause_and_resume_help() {
    for (verb, about) in
        [("pause", "Freeze a VPS's processes for a while"), ("resume", "Let the processes of a paused VPS go on")]
    {
        says(
            &format!("vps {verb}"),
            &format!(
                "{about}\n\n\
                 Usage: kohakuriver vps {verb} [OPTIONS] <VPS>\n\n\
                 Arguments:\n  <VPS>  Task id or name of the VPS\n\n\
                 Options:\n  -h, --help  Print help\n"
            ),
        );
    }
}

#[test]
fn node_list_help() {
    says(
        "node list",
        r#"List the Runners, and which are online

Usage: kohakuriver node list [OPTIONS]

Options:
  -s, --status <online|offline>  List only the Runners of this status
      --json                     Print JSON
  -h, --help                     Print help

The JSON is an array; each Runner has the keys hostname, status (online or
offline), url and last_heartbeat.
"#,
    );
}

#[test]
fn auth_help() {
    says(
        "auth",
        r#"Log in to the Host

Usage: kohakuriver auth [OPTIONS] <COMMAND>

Commands:
  login   Keep a token for the Host
  status  Show who you are to the Host
  logout  Drop the stored token
  help    Print this message or the help of the given subcommand(s)

Options:
  -h, --help  Print help
"#,
    );
}

#[test]
fn auth_login_help() {
    says(
        "auth login",
        r#"Keep a token for the Host

Usage: kohakuriver auth login [OPTIONS]

Options:
      --token-stdin     Read the token from stdin
  -u, --user <USER>     Log in with a password as this user
      --password-stdin  Read the password from stdin
  -h, --help            Print help

Without an option it asks for a user name and a password, and has the Host make
a token; with no user name, for a token that you have. The token is kept in
~/.kohakuriver/auth.json, which KohakuRiver's Python CLI uses too.

  kohakuriver auth login
  kohakuriver auth login --token-stdin < token.txt
"#,
    );
}

#[test]
fn auth_status_help() {
    says(
        "auth status",
        r#"Show who you are to the Host

Usage: kohakuriver auth status [OPTIONS]

Options:
      --json  Print JSON
  -h, --help  Print help

The exit status is 1 when the Host wants a login and there is none that it
knows. The JSON has the keys host_api, users (whether the Host has any),
logged_in, username, role and token_source; null stands where there is no value.
"#,
    );
}

#[test]
fn auth_logout_help() {
    says(
        "auth logout",
        r#"Drop the stored token

Usage: kohakuriver auth logout [OPTIONS]

Options:
  -h, --help  Print help
"#,
    );
}

#[test]
fn config_help() {
    says(
        "config",
        r#"Look at this program's settings

Usage: kohakuriver config [OPTIONS] <COMMAND>

Commands:
  show  Show every setting, its value and where it came from
  path  Print where the configuration file is, whether it exists or not
  help  Print this message or the help of the given subcommand(s)

Options:
  -h, --help  Print help
"#,
    );
}

#[test]
fn config_show_help() {
    says(
        "config show",
        r#"Show every setting, its value and where it came from

Usage: kohakuriver config show [OPTIONS]

Options:
  -h, --help  Print help
"#,
    );
}

#[test]
fn config_path_help() {
    says(
        "config path",
        r#"Print where the configuration file is, whether it exists or not

Usage: kohakuriver config path [OPTIONS]

Options:
  -h, --help  Print help
"#,
    );
}

#[test]
fn completions_help() {
    says(
        "completions",
        r#"Print a script that completes commands and VPSes on TAB

Usage: kohakuriver completions [OPTIONS] <bash|zsh|fish>

Arguments:
  <bash|zsh|fish>  The shell to print a script for

Options:
  -h, --help  Print help

VPSes are offered by the names and ids that `vps list` and `ssh config` saw
last. Where the script goes:

  bash   ~/.local/share/bash-completion/completions/kohakuriver
  zsh    _kohakuriver, in a folder of $fpath
  fish   ~/.config/fish/completions/kohakuriver.fish
"#,
    );
}

#[test]
fn man_help() {
    says(
        "man",
        r#"Print the manual page of a command, or write all of them

Usage: kohakuriver man [OPTIONS] [COMMAND]...

Arguments:
  [COMMAND]...  Command of this program, or the name of another program of this
                package

Options:
  -o, --output <FOLDER>  Write all pages to this folder, each in the subfolder
                         of its section
  -h, --help             Print help

To read a page, or to install all of them:

  kohakuriver man vps create | man -l -
  kohakuriver man kohakuriver-proxy | man -l -
  kohakuriver man --output /usr/local/share/man
"#,
    );
}

#[test]
fn kohakuriver_proxy_help_has_the_width_of_the_terminal() {
    for width in [60, 80, 120] {
        let output = Command::new(env!("CARGO_BIN_EXE_kohakuriver-proxy"))
            .arg("--help")
            .env_clear()
            .env("COLUMNS", width.to_string())
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        let longest = help.lines().map(str::len).max().unwrap();
        // Wrapped lines come close to the width.
        assert!(longest <= width && longest > width - 12, "{longest} of {width} columns:\n{help}");
    }
}
