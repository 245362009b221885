//! `auth`, `config`, `completions`, `man`, and what is none of our commands.

use super::{host, shell};

#[test]
fn auth() {
    let host = host();
    host.change(|state| state.auth = true);
    shell(&host).shows(
        r#"
$ kohakuriver auth status
Host API    http://127.0.0.1:18000
User        nobody: not logged in
Role        -
Token from  -
2> kohakuriver: you are not logged in
2>   caused by: there is no token
2>   hint: log in with `kohakuriver auth login`
[exit status 1]
$ kohakuriver auth login
2> kohakuriver: there is no terminal to ask on
2>   hint: give a token with `--token-stdin`, or `--user` and `--password-stdin`
[exit status 2]
$ echo wrong | kohakuriver auth login --token-stdin
2> kohakuriver: the Host does not know this token
2>   caused by: to the Host at http://127.0.0.1:18000 whoever shows it is anonymous
2>   hint: make a new one with `kohakuriver auth login` and your password, or on the Host's web page
[exit status 1]
$ echo wrong | kohakuriver auth login --user operator1 --password-stdin
2> kohakuriver: cannot log in as operator1
2>   caused by: the Host at http://127.0.0.1:18000 says: wrong user name or password
2>   hint: try again with `kohakuriver auth login`; who runs the Host can set a new password
[exit status 1]
$ echo wrong | kohakuriver auth login --password-stdin
2> kohakuriver: the following required arguments were not provided: --user <USER>
2>   hint: `kohakuriver auth login --help` shows how it is used
[exit status 2]
$ echo $OPERATOR | kohakuriver auth login --token-stdin -P 1
2> kohakuriver: cannot log in
2>   caused by: the Host API at http://127.0.0.1:1 can't be reached
2>   caused by: Connection refused (os error 111)
2>   hint: check that the Host runs; `kohakuriver config show` shows where its address is set
[exit status 1]
$ echo $OPERATOR | kohakuriver auth login --token-stdin
2> logged in to http://127.0.0.1:18000 as operator1 (operator); the token is in /home/me/.kohakuriver/auth.json
$ kohakuriver auth status
Host API    http://127.0.0.1:18000
User        operator1
Role        operator
Token from  /home/me/.kohakuriver/auth.json
$ kohakuriver auth status --json
{
  "host_api": "http://127.0.0.1:18000",
  "logged_in": true,
  "role": "operator",
  "token_source": "/home/me/.kohakuriver/auth.json",
  "username": "operator1",
  "users": true
}
$ kohakuriver auth status -P 1
2> kohakuriver: cannot ask the Host who you are
2>   caused by: the Host API at http://127.0.0.1:1 can't be reached
2>   caused by: Connection refused (os error 111)
2>   hint: check that the Host runs; `kohakuriver config show` shows where its address is set
[exit status 1]
$ KOHAKURIVER_TOKEN=expired kohakuriver auth status
Host API    http://127.0.0.1:18000
User        nobody: not logged in
Role        -
Token from  KOHAKURIVER_TOKEN
2> kohakuriver: you are not logged in
2>   caused by: the Host does not know the token from KOHAKURIVER_TOKEN
2>   hint: log in with `kohakuriver auth login`
[exit status 1]
$ kohakuriver auth logout
2> logged out: /home/me/.kohakuriver/auth.json is gone
$ kohakuriver auth logout
2> there was no stored token
$ kohakuriver auth logout now
2> kohakuriver: unexpected argument 'now' found
2>   hint: `kohakuriver auth logout --help` shows how it is used
[exit status 2]
$ kohakuriver auth
2> Log in to the Host
2>
2> Usage: kohakuriver auth [OPTIONS] <COMMAND>
2>
2> Commands:
2>   login   Keep a token for the Host
2>   status  Show who you are to the Host
2>   logout  Drop the stored token
2>   help    Print this message or the help of the given subcommand(s)
2>
2> Options:
2>   -h, --help  Print help
2>
2> Options of every command:
2>   -H, --host <HOST>            Name or address of the Host [default: localhost]
2>   -P, --port <PORT>            TCP port of the Host's API [default: 8000]
2>       --ssh-proxy-port <PORT>  TCP port of the Host's SSH proxy [default: 8002]
2>       --proxy <HOST[:PORT]>    The gateway, when it is not on the Host
[exit status 2]
"#,
    );
}

#[test]
fn auth_where_nobody_need_log_in() {
    shell(&host()).shows(
        r#"
$ kohakuriver auth status
Host API    http://127.0.0.1:18000
User        everybody: the Host has no users
Role        -
Token from  -
$ kohakuriver auth login
2> the Host at http://127.0.0.1:18000 has no users: everything is allowed without a login
"#,
    );
}

#[test]
fn config() {
    shell(&host()).shows(
        r#"
$ kohakuriver config path
/home/me/.config/kohakuriver/config.json
$ kohakuriver config show
SETTING         VALUE                  SOURCE
host            127.0.0.1              KOHAKURIVER_HOST
port            18000                  KOHAKURIVER_PORT
ssh_proxy_port  18002                  KOHAKURIVER_SSH_PROXY_PORT
proxy           the Host's             default
gateway_admin   http://127.0.0.1:8003  default
log_file        -                      default
token           none                   -

config.json  /home/me/.config/kohakuriver/config.json (does not exist)
auth.json    /home/me/.kohakuriver/auth.json (does not exist)
$ kohakuriver config show all
2> kohakuriver: unexpected argument 'all' found
2>   hint: `kohakuriver config show --help` shows how it is used
[exit status 2]
$ kohakuriver config path all
2> kohakuriver: unexpected argument 'all' found
2>   hint: `kohakuriver config path --help` shows how it is used
[exit status 2]
$ mkdir -p .config/kohakuriver && echo '{ "hots": "gpu-head" }' >.config/kohakuriver/config.json
$ kohakuriver config show
2> kohakuriver: cannot use the configuration file /home/me/.config/kohakuriver/config.json
2>   caused by: unknown setting `hots`; did you mean `host`?
2>   hint: correct it, or move it away; the README lists every setting
[exit status 2]
$ kohakuriver vps list
2> kohakuriver: cannot use the configuration file /home/me/.config/kohakuriver/config.json
2>   caused by: unknown setting `hots`; did you mean `host`?
2>   hint: correct it, or move it away; the README lists every setting
[exit status 2]
$ echo '{ "host": "gpu-head"' >.config/kohakuriver/config.json
$ kohakuriver config show
2> kohakuriver: cannot use the configuration file /home/me/.config/kohakuriver/config.json
2>   caused by: it is not valid JSON: EOF while parsing an object at line 2 column 0
2>   hint: correct it, or move it away; the README lists every setting
[exit status 2]
$ echo '{ "host": "gpu-head", "port": 8001 }' >.config/kohakuriver/config.json
$ env -u KOHAKURIVER_HOST kohakuriver config show -P 9000
SETTING         VALUE                 SOURCE
host            gpu-head              config.json
port            9000                  flag
ssh_proxy_port  18002                 KOHAKURIVER_SSH_PROXY_PORT
proxy           the Host's            default
gateway_admin   http://gpu-head:8003  default
log_file        -                     default
token           none                  -

config.json  /home/me/.config/kohakuriver/config.json
auth.json    /home/me/.kohakuriver/auth.json (does not exist)
$ KOHAKURIVER_PORT=many kohakuriver config show
2> kohakuriver: KOHAKURIVER_PORT is `many`, which is no TCP port
2>   caused by: a TCP port is a number from 1 to 65535
2>   hint: `export KOHAKURIVER_PORT=PORT`, or `unset KOHAKURIVER_PORT`
[exit status 2]
"#,
    );
}

#[test]
fn completions_and_man() {
    shell(&host()).shows(
        r#"
$ kohakuriver completions bash | head -n 3

_clap_complete_kohakuriver() {
    local IFS=$'\013'
$ kohakuriver completions tcsh
2> kohakuriver: invalid value 'tcsh' for '<bash|zsh|fish>'
2>   caused by: possible values: bash, zsh, fish
2>   hint: `kohakuriver completions --help` shows how it is used
[exit status 2]
$ kohakuriver completions
2> kohakuriver: the following required arguments were not provided: <bash|zsh|fish>
2>   hint: `kohakuriver completions --help` shows how it is used
[exit status 2]
$ kohakuriver man vps list | grep -A 1 NAME
.SH NAME
kohakuriver\-vps\-list \- List the VPSes that are up or on their way
$ kohakuriver man vps lst
2> kohakuriver: there is no page of `vps lst`
2>   hint: `kohakuriver --help` lists the commands
[exit status 2]
$ kohakuriver man --output pages
2> wrote 28 pages to pages
$ touch file && kohakuriver man --output file/pages
2> kohakuriver: cannot write file/pages/man1/kohakuriver.1
2>   caused by: Not a directory (os error 20)
2>   hint: name a folder that you may write to with --output
[exit status 1]
"#,
    );
}

#[test]
fn what_is_none_of_our_commands() {
    shell(&host()).shows(
        r#"
$ kohakuriver
2> SSH into a VPS of a KohakuRiver cluster, through the front door of its Host
2>
2> Usage: kohakuriver [OPTIONS] <COMMAND>
2>
2> Commands:
2>   vps          Make, reach and end VPSes, and look at them
2>   node         Look at the Runners that VPSes run on
2>   ssh          Make VPSes ordinary hosts of ssh
2>   auth         Log in to the Host
2>   config       Look at this program's settings
2>   doctor       Find out why a VPS can't be reached
2>   completions  Print a script that completes commands and VPSes on TAB
2>   man          Print the manual page of a command, or write all of them
2>   help         Print this message or the help of the given subcommand(s)
2>
2> Options:
2>   -h, --help     Print help
2>   -V, --version  Print version
2>
2> Options of every command:
2>   -H, --host <HOST>            Name or address of the Host [default: localhost]
2>   -P, --port <PORT>            TCP port of the Host's API [default: 8000]
2>       --ssh-proxy-port <PORT>  TCP port of the Host's SSH proxy [default: 8002]
2>       --proxy <HOST[:PORT]>    The gateway, when it is not on the Host
2>
2> The commands above are this program's own. Every other one (docker, task, ssh
2> connect, ...) is run by the next `kohakuriver` on PATH, KohakuRiver's Python
2> CLI, with the same arguments.
2>
2> Flags win over the environment (KOHAKURIVER_HOST, KOHAKURIVER_PORT,
2> KOHAKURIVER_SSH_PROXY_PORT), which wins over config.json; `kohakuriver config
2> show` tells what is in force. The token comes from KOHAKURIVER_TOKEN, else from
2> ~/.kohakuriver/auth.json.
[exit status 2]
$ kohakuriver vps lst
2> kohakuriver: `kohakuriver vps lst` is none of this program's own commands
2>   caused by: it is left to KohakuRiver's Python CLI, and there is no other `kohakuriver` on PATH
2>   hint: install that with `pip install kohakuriver`; `kohakuriver --help` lists the commands of this one
[exit status 2]
$ kohakuriver docker ps
2> kohakuriver: `kohakuriver docker` is none of this program's own commands
2>   caused by: it is left to KohakuRiver's Python CLI, and there is no other `kohakuriver` on PATH
2>   hint: install that with `pip install kohakuriver`; `kohakuriver --help` lists the commands of this one
[exit status 2]
$ kohakuriver --colour vps list
2> kohakuriver: unexpected argument '--colour' found
2>   hint: `kohakuriver vps list --help` shows how it is used
[exit status 2]
$ kohakuriver --version
kohakuriver 0.1.0
"#,
    );
}
