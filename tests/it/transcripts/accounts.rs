//! `auth`, `config`, `completions`, `man`, and unknown commands.

use super::{host, shell};

#[test]
fn auth() {
    let host = host();
    host.change(|state| state.auth = true);
    shell(&host).shows(
        r#"
$ kohakuriver auth status
Host API    http://127.0.0.1:18000
User        none: not logged in
Role        -
Token from  -
2> kohakuriver: you are not logged in
2>   caused by: there is no token
2>   hint: log in with `kohakuriver auth login`
[exit status 1]
$ kohakuriver auth login
2> kohakuriver: there is no terminal to ask on
2>   hint: use `--token-stdin`, or `--user` with `--password-stdin`
[exit status 2]
$ echo wrong | kohakuriver auth login --token-stdin
2> kohakuriver: the Host does not know this token
2>   caused by: the Host at http://127.0.0.1:18000 treats it as anonymous
2>   hint: make a new token with `kohakuriver auth login` and your password, or on the Host's web page
[exit status 1]
$ echo wrong | kohakuriver auth login --user operator1 --password-stdin
2> kohakuriver: cannot log in as operator1
2>   caused by: the Host at http://127.0.0.1:18000 says: wrong user name or password
2>   hint: try again with `kohakuriver auth login`; the Host's admin can set a new password
[exit status 1]
$ echo wrong | kohakuriver auth login --password-stdin
2> kohakuriver: the following required arguments were not provided: --user <USER>
2>   hint: see `kohakuriver auth login --help`
[exit status 2]
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
$ KOHAKURIVER_TOKEN=expired kohakuriver auth status
Host API    http://127.0.0.1:18000
User        none: not logged in
Role        -
Token from  KOHAKURIVER_TOKEN
2> kohakuriver: you are not logged in
2>   caused by: the Host does not accept the token from KOHAKURIVER_TOKEN
2>   hint: correct KOHAKURIVER_TOKEN, or remove it with `unset KOHAKURIVER_TOKEN` and log in with `kohakuriver auth login`
[exit status 1]
$ kohakuriver auth logout
2> logged out of the Host at http://127.0.0.1:18000; removed its token from /home/me/.kohakuriver/auth.json
$ kohakuriver auth logout
2> not logged in: there is no stored token for the Host at http://127.0.0.1:18000
$ kohakuriver auth logout now
2> kohakuriver: unexpected argument 'now' found
2>   hint: see `kohakuriver auth logout --help`
[exit status 2]
"#,
    );
}

#[test]
fn auth_on_a_host_without_users() {
    shell(&host()).shows(
        r#"
$ kohakuriver auth status
Host API    http://127.0.0.1:18000
User        none: the Host has no users
Role        -
Token from  -
$ kohakuriver auth login
2> the Host at http://127.0.0.1:18000 has no users, so no login is needed
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
SETTING             VALUE       SOURCE
cluster             default     KOHAKURIVER_HOST
host                127.0.0.1   KOHAKURIVER_HOST
port                18000       KOHAKURIVER_PORT
ssh_proxy_port      18002       KOHAKURIVER_SSH_PROXY_PORT
proxy               the Host's  default
gateway_admin       -           default
ca_file             -           default
pinned_key          -           default
client_cert         -           default
client_key          -           default
upstream_proxy      -           default
proxy_auth_command  -           default
resume              auto        default
log_file            -           default
known_hosts         -           default
token               none        -

config.json  /home/me/.config/kohakuriver/config.json (does not exist)
auth.json    /home/me/.kohakuriver/auth.json (does not exist)
tokens.json  /home/me/.kohakuriver/tokens.json (does not exist)
$ kohakuriver config show all
2> kohakuriver: unexpected argument 'all' found
2>   hint: see `kohakuriver config show --help`
[exit status 2]
$ kohakuriver config path all
2> kohakuriver: unexpected argument 'all' found
2>   hint: see `kohakuriver config path --help`
[exit status 2]
$ kohakuriver config set ssh_proxy_port 9002
2> set `ssh_proxy_port` in /home/me/.config/kohakuriver/config.json
2> warning: KOHAKURIVER_SSH_PROXY_PORT is set and overrides it; `unset KOHAKURIVER_SSH_PROXY_PORT` makes the file count
$ kohakuriver config set ssh_proxy_port none
2> kohakuriver: /home/me/.config/kohakuriver/config.json would not be usable
2>   caused by: `ssh_proxy_port` must be a TCP port, a number from 1 to 65535
2>   hint: see the settings with `kohakuriver config set --help`
[exit status 2]
$ kohakuriver config set hots gpu-head
2> kohakuriver: invalid value 'hots' for '<SETTING>'
2>   caused by: possible values: host, port, ssh_proxy_port, proxy, gateway_admin, ca_file, pinned_key, client_cert, client_key, upstream_proxy, proxy_auth_command, resume, log_file, known_hosts
2>   hint: see `kohakuriver config set --help`
[exit status 2]
$ kohakuriver config unset ssh_proxy_port
2> removed `ssh_proxy_port` from /home/me/.config/kohakuriver/config.json
$ kohakuriver config unset
2> kohakuriver: the following required arguments were not provided: <SETTING>
2>   hint: see `kohakuriver config unset --help`
[exit status 2]
$ mkdir -p .config/kohakuriver && echo '{ "hots": "gpu-head" }' >.config/kohakuriver/config.json
$ kohakuriver config show | tail -n 3
config.json  /home/me/.config/kohakuriver/config.json
auth.json    /home/me/.kohakuriver/auth.json (does not exist)
tokens.json  /home/me/.kohakuriver/tokens.json (does not exist)
2> warning: config.json: unknown setting `hots`; did you mean `host`?
$ kohakuriver vps list | head -n 1
TASK ID              NAME      STATUS     NODE     SSH PORT  SUBMITTED      BACKEND  OWNER
2> warning: config.json: unknown setting `hots`; did you mean `host`?
$ echo '{ "host": "gpu-head"' >.config/kohakuriver/config.json
$ kohakuriver config show
2> kohakuriver: cannot use the configuration file /home/me/.config/kohakuriver/config.json
2>   caused by: it is not valid JSON: EOF while parsing an object at line 2 column 0
2>   hint: correct it, or move it away; the README lists every setting
[exit status 2]
$ echo '{ "host": "gpu-head", "port": 8001 }' >.config/kohakuriver/config.json
$ env -u KOHAKURIVER_HOST kohakuriver config show -P 9000 | head -n 4
SETTING             VALUE       SOURCE
cluster             default     default
host                gpu-head    config.json
port                9000        flag
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
2> kohakuriver: invalid value 'tcsh' for '<bash|zsh|fish|powershell>'
2>   caused by: possible values: bash, zsh, fish, powershell
2>   hint: see `kohakuriver completions --help`
[exit status 2]
$ kohakuriver completions
2> kohakuriver: the following required arguments were not provided: <bash|zsh|fish|powershell>
2>   hint: see `kohakuriver completions --help`
[exit status 2]
$ kohakuriver man vps list | grep -A 1 NAME
.SH NAME
kohakuriver\-vps\-list \- List running and starting VPSes
--
[\fB\-\-cluster\fR\ \fINAME\fR]
[\fB\-H\fR\ \fIHOST\fR]
--
\fB\-\-cluster\fR \fINAME\fR
Cluster to use [default: the default one]
$ kohakuriver man vps lst
2> kohakuriver: there is no manual page for `vps lst`
2>   hint: `kohakuriver --help` lists the commands
[exit status 2]
$ kohakuriver man --output pages
2> wrote 40 pages to pages
$ touch file && kohakuriver man --output file/pages
2> kohakuriver: cannot write file/pages/man1/kohakuriver.1
2>   caused by: Not a directory (os error 20)
2>   hint: give --output a folder that you may write to
[exit status 1]
"#,
    );
}

#[test]
fn unknown_commands() {
    shell(&host()).shows(
        r#"
$ kohakuriver vps lst
2> kohakuriver: unknown command `kohakuriver vps lst`
2>   hint: did you mean `kohakuriver vps list`?
[exit status 2]
$ kohakuriver docker ps
2> kohakuriver: unknown command `kohakuriver docker`
2>   caused by: unknown commands go to KohakuRiver's Python CLI, but there is no other `kohakuriver` on PATH
2>   hint: see the commands with `kohakuriver --help`
[exit status 2]
$ kohakuriver --colour vps list
2> kohakuriver: unexpected argument '--colour' found
2>   hint: see `kohakuriver vps list --help`
[exit status 2]
$ kohakuriver --version
kohakuriver 1.2.3
"#,
    );
}
