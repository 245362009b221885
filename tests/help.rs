//! The `--help` of each of these commands, on a terminal of 80 columns.
//!
//! These texts are what people read: review a changed text here, don't only copy it.
#![cfg(feature = "cli")]
// clippy's `allow-unwrap-in-tests` doesn't reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

const KOHAKURIVER: &str = env!("CARGO_BIN_EXE_kohakuriver");

/// This is in each of them, between the options and the text after them.
const COMMON: &str = "
Options of every command:
      --cluster <NAME>         Cluster to use [default: the default one]
  -H, --host <HOST>            Name or address of the Host, or
                               https://HOST[:PORT]
  -P, --port <PORT>            TCP port of the Host's API [default: 8000]
      --ssh-proxy-port <PORT>  TCP port of the Host's SSH proxy [default: 8002]
      --proxy <HOST[:PORT]>    Address of the gateway, if it is not on the Host

Options for the internet:
      --ca-file <FILE>        Trust the CAs in this file [default: those of the
                              system]
      --pinned-key <PIN>      Trust this public key, as `curl --pinnedpubkey`
                              does: sha256//BASE64
      --client-cert <FILE>    Log in to the gateway with this certificate
      --client-key <FILE>     Private key of the certificate [default: in the
                              same file]
      --upstream-proxy <URL>  Go through this proxy on the way, or `none`
                              [default: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY]
";

/// Each command and its help, without [`COMMON`].
const HELP: &str = r#"
$ kohakuriver --help
SSH into the VPSes of a KohakuRiver cluster through its Host's SSH proxy

Usage: kohakuriver [OPTIONS] <COMMAND>

Commands:
  login        Log in to a Host, remember it, and write ssh_config entries
  cluster      List, rename and remove clusters
  vps          Create, connect to and manage VPSes
  node         List the Runners, the machines that VPSes run on
  ssh          Write ssh_config entries for VPSes and forget host keys
  auth         Log in to the Host and log out
  config       Show and change this program's settings
  doctor       Find out why a VPS can't be reached
  completions  Print a script for shell completion
  man          Print a manual page, or write all of them to a folder
  help         Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help
  -V, --version  Print version

Any other command (docker, task, ssh connect, ...) is passed on to the next
`kohakuriver` on PATH, KohakuRiver's Python CLI, with the same arguments.

A flag overrides the environment variable, which overrides config.json;
`kohakuriver config show` shows the values in use. The token comes from
KOHAKURIVER_TOKEN, or from a login.

Examples:
  kohakuriver login gpu-head
  kohakuriver vps create --gen-ssh-key --connect
  kohakuriver vps list

$ kohakuriver login --help
Log in to a Host, remember it, and write ssh_config entries

Usage: kohakuriver login [OPTIONS] [HOST]

Arguments:
  [HOST]  Name or address of the Host, or https://HOST[:PORT] [default: the one
          of the cluster]

Options:
      --token-stdin        Read the token from stdin
  -u, --user <USER>        Log in with a password as this user
      --password-stdin     Read the password from stdin
      --token-name <NAME>  Name of the new token in the Host's list [default:
                           kohakuriver on <this machine>]
  -y, --yes                The cluster has moved to this Host: don't ask
  -h, --help               Print help

The Host's address is stored in config.json, the token in a file of its own, and
ssh_config gets entries for your VPSes. Ports and the gateway are stored as
well: give them by their options. With --cluster, this is one more cluster
beside the default one, and its VPSes are NAME.CLUSTER.kohakuriver.

Examples:
  kohakuriver login gpu-head
  kohakuriver login https://gpu.example.org --ca-file ca.pem
  kohakuriver login lab-head --cluster lab --port 9000
  kohakuriver login gpu-head --token-stdin < token.txt

$ kohakuriver cluster --help
List, rename and remove clusters

Usage: kohakuriver cluster [OPTIONS] <COMMAND>

Commands:
  list    List your clusters
  use     Make a cluster the default one
  rename  Give a cluster another name
  remove  Remove a cluster from this machine, with its token and its ssh_config
          entries
  help    Print this message or the help of the given subcommand(s)

Options:
  -h, --help  Print help

$ kohakuriver cluster list --help
List your clusters

Usage: kohakuriver cluster list [OPTIONS]

Options:
      --json  Print JSON
  -h, --help  Print help

USER is the user of the stored token, as the Host called it at the login. The
JSON is an array of objects with the keys name, default, host_api, ssh_proxy,
logged_in and username. A missing value is null.

Examples:
  kohakuriver cluster list
  kohakuriver cluster list --json | jq -r '.[].name'

$ kohakuriver cluster use --help
Make a cluster the default one

Usage: kohakuriver cluster use [OPTIONS] <NAME>

Arguments:
  <NAME>  The cluster

Options:
  -h, --help  Print help

`ssh NAME.kohakuriver`, and each command without --cluster, goes to the default
cluster.

Examples:
  kohakuriver cluster use lab

$ kohakuriver cluster rename --help
Give a cluster another name

Usage: kohakuriver cluster rename [OPTIONS] <OLD> <NEW>

Arguments:
  <OLD>  Its name now
  <NEW>  Its new name

Options:
  -h, --help  Print help

Stored host keys and keys of VPSes get the new name, too.

Examples:
  kohakuriver cluster rename default work

$ kohakuriver cluster remove --help
Remove a cluster from this machine, with its token and its ssh_config entries

Usage: kohakuriver cluster remove [OPTIONS] <NAME>

Arguments:
  <NAME>  The cluster

Options:
  -h, --help  Print help

Its token is removed, and revoked on the Host if a login made it. Nothing else
changes on the Host. Keys of VPSes and their host keys stay in ~/.ssh.

Examples:
  kohakuriver cluster remove lab

$ kohakuriver vps --help
Create, connect to and manage VPSes

Usage: kohakuriver vps [OPTIONS] <COMMAND>

Commands:
  connect   Log in to a VPS with the system's ssh
  cp        Copy files from or to a VPS
  forward   Forward ports of this machine to a VPS
  list      List running and starting VPSes
  status    Show the details of one VPS
  sessions  List open SSH sessions, or end one
  create    Create a VPS
  stop      Stop VPSes permanently
  restart   Restart VPSes
  pause     Pause all processes of VPSes
  resume    Resume the processes of paused VPSes
  help      Print this message or the help of the given subcommand(s)

Options:
  -h, --help  Print help

$ kohakuriver vps create --help
Create a VPS

Usage: kohakuriver vps create [OPTIONS]

Options:
      --name <NAME>
          Name of the VPS
  -t, --target <NODE[:NUMA][::GPU,...]>
          Run on this Runner, NUMA node and GPUs [default: the Host chooses]
  -c, --cores <NUMBER>
          CPU cores [default: 1]
  -m, --memory <SIZE>
          Memory, for example 512M or 16G
      --container <NAME>
          Start from this environment of the Host [default: the Host chooses]
      --image <IMAGE>
          Start from this image in a registry
  -b, --backend <docker|qemu>
          Create a container (docker) or a virtual machine (qemu) [default:
          docker]
      --vm-image <NAME>
          Image of the virtual machine, as the Host names it
      --vm-disk-size <SIZE>
          Disk of the virtual machine, for example 50G
      --vm-memory <SIZE>
          Memory of the virtual machine, for example 8G
      --mount <FOLDER:FOLDER[:ro]>
          Mount a folder of the Runner (older Hosts only)
      --privileged
          Give the container the Runner's devices and capabilities (older Hosts
          only)
      --wait [<SECONDS>]
          Wait until its sshd answers, for at most SECONDS (300 if omitted)
      --connect
          Wait, then log in
  -y, --yes
          Don't ask before a second VPS of the same name is created
      --json
          Print JSON
      --key-out-file <FILE>
          With --gen-ssh-key, write the private key to this new file
  -h, --help
          Print help

Login options (at most one):
      --gen-ssh-key
          Generate a key pair, ~/.ssh/id-kohakuriver-<id>, and send its public
          half
      --public-key-file <FILE>
          Send the public key in this file
      --public-key-string <KEY>
          Send this public key
      --no-ssh-key
          Let everybody log in as root, without a key or a password

Without a login option the VPS has no sshd and can only be used through the
Host's terminals.

The JSON has the keys task_id (a string), name, status, assigned_node,
ssh_key_mode (disabled, none or upload), key_file (the generated private key),
message (from the Host) and error_message (why it failed). A missing value is
null.

Examples:
  kohakuriver vps create --gen-ssh-key --connect
  kohakuriver vps create -t gpu-1::0,1 -m 64G --gen-ssh-key --wait
  kohakuriver vps create --backend qemu --vm-memory 8G --gen-ssh-key

$ kohakuriver vps list --help
List running and starting VPSes

Usage: kohakuriver vps list [OPTIONS]

Options:
  -a, --all                Include VPSes that have ended
      --all-clusters       List the VPSes of all your clusters
      --mine               List only VPSes that you own or are assigned to
  -s, --status <STATUS>    List only VPSes with one of these statuses
  -q, --quiet              Print task ids only
      --watch [<SECONDS>]  Refresh every SECONDS (2 if omitted) until Ctrl-C
      --json               Print JSON; with --watch, one line per refresh
  -h, --help               Print help

The JSON is an array of objects as `kohakuriver vps status --json` prints them.
A narrow terminal shows fewer columns; a pipe or a file gets all of them.

Examples:
  kohakuriver vps list --all
  kohakuriver vps list --mine --status running,paused
  kohakuriver vps list --watch 5
  kohakuriver vps stop $(kohakuriver vps list --mine -q)
  kohakuriver vps list --json | jq -r '.[].name'

$ kohakuriver vps status --help
Show the details of one VPS

Usage: kohakuriver vps status [OPTIONS] <VPS>

Arguments:
  <VPS>  Task id or name of the VPS

Options:
      --watch [<SECONDS>]  Refresh every SECONDS (2 if omitted) until Ctrl-C
      --json               Print JSON; with --watch, one line per refresh
  -h, --help               Print help

The JSON has the keys task_id (a string), name, status, assigned_node, ssh_port,
vps_backend, owner_username, submitted_at, started_at, error_message and
rejection_reason. A missing value is null; ssh_port is null unless the VPS is
running or paused. Times are in RFC 3339, or null while no Runner is online: the
Host's time zone is then unknown.

Examples:
  kohakuriver vps status trainer
  kohakuriver vps status 7323718749301768192 --json

$ kohakuriver vps stop --help
Stop VPSes permanently

Usage: kohakuriver vps stop [OPTIONS] <VPS>...

Arguments:
  <VPS>...  Task ids or names of the VPSes

Options:
  -y, --yes   Don't ask for confirmation
  -h, --help  Print help

A stopped VPS can't be started again. Create a new one with `kohakuriver vps
create`.

Examples:
  kohakuriver vps stop trainer notebook
  kohakuriver vps stop 7323718749301768192 --yes

$ kohakuriver vps restart --help
Restart VPSes

Usage: kohakuriver vps restart [OPTIONS] <VPS>...

Arguments:
  <VPS>...  Task ids or names of the VPSes

Options:
  -y, --yes               Don't ask for confirmation
      --wait [<SECONDS>]  Wait until its sshd answers, for at most SECONDS (300
                          if omitted)
  -h, --help              Print help

The Host restarts a container (backend docker) by re-creating it. The new
container lets everybody log in as root without a key, and may have another host
key and SSH port. Afterwards this command tests whether such logins work. If a
host key of the VPS was stored, the new one replaces it, and both fingerprints
are printed.

Examples:
  kohakuriver vps restart trainer
  kohakuriver vps restart trainer --yes --wait 60

$ kohakuriver node list --help
List the Runners and their status

Usage: kohakuriver node list [OPTIONS]

Options:
  -s, --status <online|offline>  List only the Runners with this status
      --json                     Print JSON
  -h, --help                     Print help

The JSON is an array of objects with the keys hostname, status (online or
offline), url and last_heartbeat (RFC 3339, or null while no Runner is online:
the Host's time zone is then unknown).

Examples:
  kohakuriver node list
  kohakuriver node list --status online --json

$ kohakuriver auth --help
Log in to the Host and log out

Usage: kohakuriver auth [OPTIONS] <COMMAND>

Commands:
  login   Log in to the Host and store a token
  status  Show which user you are on the Host
  logout  Remove the stored token
  help    Print this message or the help of the given subcommand(s)

Options:
  -h, --help  Print help

$ kohakuriver auth login --help
Log in to the Host and store a token

Usage: kohakuriver auth login [OPTIONS]

Options:
      --token-stdin        Read the token from stdin
  -u, --user <USER>        Log in with a password as this user
      --password-stdin     Read the password from stdin
      --token-name <NAME>  Name of the new token in the Host's list [default:
                           kohakuriver on <this machine>]
  -h, --help               Print help

Without an option this command prompts for a user name and a password, and the
Host makes a token. With an empty user name it prompts for an existing token.
The token is stored in ~/.kohakuriver/auth.json, which KohakuRiver's Python CLI
uses too.

Examples:
  kohakuriver auth login
  kohakuriver auth login --token-stdin < token.txt
  kohakuriver auth login --user alice --password-stdin < password.txt

$ kohakuriver auth status --help
Show which user you are on the Host

Usage: kohakuriver auth status [OPTIONS]

Options:
      --json  Print JSON
  -h, --help  Print help

The JSON has the keys host_api, users (whether the Host has any), logged_in,
username, role and token_source. A missing value is null.

Exit status:
  0  Logged in, or no login is needed
  1  The Host requires a login, or did not answer
  2  Wrong usage, or unusable settings

Examples:
  kohakuriver auth status
  kohakuriver auth status --json

$ kohakuriver auth logout --help
Remove the stored token

Usage: kohakuriver auth logout [OPTIONS]

Options:
  -r, --revoke  Fail, and keep the token, if it can't be revoked
  -h, --help    Print help

If `auth login` made the token with a password, the token is also revoked on the
Host. Any other token stays valid there.

Examples:
  kohakuriver auth logout
  kohakuriver auth logout --revoke

$ kohakuriver config --help
Show and change this program's settings

Usage: kohakuriver config [OPTIONS] <COMMAND>

Commands:
  show   Show every setting with its value and source
  set    Change a setting in the configuration file
  unset  Remove a setting from the configuration file
  path   Print the path of the configuration file, whether it exists or not
  help   Print this message or the help of the given subcommand(s)

Options:
  -h, --help  Print help

$ kohakuriver config set --help
Change a setting in the configuration file

Usage: kohakuriver config set [OPTIONS] <SETTING> <VALUE>

Arguments:
  <SETTING>  Setting to change
  <VALUE>    Its new value

Options:
  -h, --help  Print help

The settings are host, port, ssh_proxy_port, proxy, gateway_admin, ca_file,
pinned_key, client_cert, client_key, upstream_proxy, proxy_auth_command, resume
(auto, on or off), log_file and known_hosts. `-` reads the value from stdin, for
an upstream_proxy with a password. A token is not a setting: `kohakuriver auth
login` stores one. With `--cluster`, the setting is that cluster's.

Examples:
  kohakuriver config set host gpu-head
  kohakuriver config set ssh_proxy_port 9002
  kohakuriver config set upstream_proxy none

$ kohakuriver config unset --help
Remove a setting from the configuration file

Usage: kohakuriver config unset [OPTIONS] <SETTING>

Arguments:
  <SETTING>  Setting to remove; one that this version doesn't know can be
             removed as well

Options:
  -h, --help  Print help

Examples:
  kohakuriver config unset proxy

$ kohakuriver config show --help
Show every setting with its value and source

Usage: kohakuriver config show [OPTIONS]

Options:
      --json  Print JSON
  -h, --help  Print help

A flag overrides the environment variable, which overrides config.json. The
token itself is not shown.

The JSON is an object with a key for each setting and one for the token. Each
holds an object with the keys value and source. A missing value is null.

Examples:
  kohakuriver config show
  kohakuriver --host gpu-head config show --json | jq -r .host.source

$ kohakuriver config path --help
Print the path of the configuration file, whether it exists or not

Usage: kohakuriver config path [OPTIONS]

Options:
  -h, --help  Print help

Examples:
  cat "$(kohakuriver config path)"

$ kohakuriver completions --help
Print a script for shell completion

Usage: kohakuriver completions [OPTIONS] <bash|zsh|fish|powershell> [PROGRAM]

Arguments:
  <bash|zsh|fish|powershell>  The shell that will read the script
  [PROGRAM]                   The program whose command line is to be completed
                              [default: kohakuriver] [possible values:
                              kohakuriver, kohakuriver-proxy,
                              kohakuriver-gateway]

Options:
  -h, --help  Print help

Completion offers the names and ids of the VPSes that `vps list` or `ssh config`
last showed.

Files:
  bash        ~/.local/share/bash-completion/completions/kohakuriver
  zsh         _kohakuriver, in a folder of $fpath
  fish        ~/.config/fish/completions/kohakuriver.fish
  powershell  a file that $PROFILE runs

Examples:
  kohakuriver completions zsh > ~/.zfunc/_kohakuriver
  kohakuriver completions fish kohakuriver-proxy | source

$ kohakuriver man --help
Print a manual page, or write all of them to a folder

Usage: kohakuriver man [OPTIONS] [COMMAND]...

Arguments:
  [COMMAND]...  Command of this program, or another program of this package

Options:
  -o, --output <FOLDER>  Write all pages to this folder, in one subfolder per
                         section
  -h, --help             Print help

Examples:
  kohakuriver man vps create | man -l -
  kohakuriver man kohakuriver-proxy | man -l -
  kohakuriver man --output /usr/local/share/man

$ kohakuriver vps connect --help
Log in to a VPS with the system's ssh

Usage: kohakuriver vps connect [OPTIONS] [[USER@]VPS] [-- <SSH ARGS>...]

Arguments:
  [[USER@]VPS]   Task id or name of the VPS; without it, a terminal shows a list
                 to choose from
  [SSH ARGS]...  ssh's options, and the remote command

Options:
  -i, --key <FILE>        Private key for the login
  -u, --user <USER>       User name on the VPS [default: root]
      --wait [<SECONDS>]  Keep trying while the VPS is starting, for at most
                          SECONDS (300 if omitted)
      --diagnose          If ssh fails, find the cause and report it after ssh's
                          own message
      --dry-run           Print the ssh command instead of running it
  -h, --help              Print help

Without --key, ssh uses ~/.ssh/id-kohakuriver-<id> or ~/.ssh/kohakuriver_<id> if
one exists, otherwise its agent and default keys. In a cluster with a name, that
stands before the id: id-kohakuriver-lab-<id>.

Use it like ssh: ssh's own options may stand before and after the VPS, and the
words after it are the remote command. -h, -H, -i, -P and -u have the meaning
given here; all other one-letter options, and all words after `--`, go to ssh.
So other programs can run this command in place of ssh.

Exit status:
  255    ssh failed, or this command failed before it started ssh
  other  That of the remote command

Examples:
  kohakuriver vps connect trainer
  kohakuriver vps connect -L 8888:localhost:8888 trainer
  kohakuriver vps connect trainer -t htop
  rsync -a -e 'kohakuriver vps connect' results/ trainer:results/
  GIT_SSH_COMMAND='kohakuriver vps connect' git clone trainer:repo

$ kohakuriver vps cp --help
Copy files from or to a VPS

Usage: kohakuriver vps cp [OPTIONS] <FILE> <FILE>...

Arguments:
  <FILE> <FILE>...  Files to copy, then their destination

Options:
  -r, --recursive         Copy directories and everything in them
  -p, --preserve          Keep times and modes
  -i, --key <FILE>        Private key for the login
  -u, --user <USER>       User name on the VPS [default: root]
      --wait [<SECONDS>]  Keep trying while the VPS is starting, for at most
                          SECONDS (300 if omitted)
      --dry-run           Print the scp command instead of running it
  -h, --help              Print help

Write a file on a VPS as [USER@]VPS:FILE; FILE is relative to the home directory
there. Write a local file with a colon in its name as ./a:b.

Exit status:
  2      An unknown option, or fewer than two files
  255    This command failed before it started scp
  other  That of scp

Examples:
  kohakuriver vps cp model.bin trainer:
  kohakuriver vps cp -r trainer:runs/today .

$ kohakuriver vps forward --help
Forward ports of this machine to a VPS

Usage: kohakuriver vps forward [OPTIONS] <VPS> <PORT[:PORT]>...

Arguments:
  <VPS>             Task id or name of the VPS
  <PORT[:PORT]>...  Port of this machine, then that of the VPS if it is
                    different

Options:
  -i, --key <FILE>        Private key for the login
  -u, --user <USER>       User name on the VPS [default: root]
      --wait [<SECONDS>]  Keep trying while the VPS is starting, for at most
                          SECONDS (300 if omitted)
  -h, --help              Print help

A port of localhost on this machine leads to a port of localhost on the VPS. If
the connection is lost, the command connects again, until Ctrl-C or until the
Host says that the VPS can't be reached. With --wait, it also waits while the
VPS is starting again.

Exit status:
  0      Ctrl-C ended it
  1      The VPS can't be reached, or a port of this machine can't be used
  2      Wrong usage, or unusable settings
  255    ssh failed before it forwarded anything

Examples:
  kohakuriver vps forward trainer 8888
  kohakuriver vps forward trainer 9000:6006 5432

$ kohakuriver vps sessions --help
List open SSH sessions, or end one

Usage: kohakuriver vps sessions [OPTIONS] [VPS]

Arguments:
  [VPS]  List only the sessions of this VPS

Options:
      --watch [<SECONDS>]
          Refresh every SECONDS (2 if omitted) until Ctrl-C
      --json
          Print JSON; with --watch, one line per refresh
      --all
          List everybody's sessions, as an admin of the Host
      --all-clusters
          List the sessions of all your clusters
      --end <SESSION>
          End this session: ID, or GATEWAY/ID
  -y, --yes
          With --end, don't ask for confirmation
      --admin-token-file <FILE>
          With --end, send the token in this file to the admin address
      --admin <ADDR>
          List all sessions at this admin address of the gateway
  -h, --help
          Print help

Without an admin address, the cluster's gateway lists your own sessions, and
ends one of them. It takes your token, as for a connection. An admin of the Host
sees those of everybody with --all.

With --admin, KOHAKURIVER_GATEWAY_ADMIN or `gateway_admin` in config.json, the
gateway's admin address lists all sessions: HOST[:PORT], where the port is 8003
unless you give another, or unix:/PATH for a UNIX socket. By default a gateway
answers there on its own machine only. Over HOST:PORT, ending a session needs
the token of the gateway's --admin-token-file. Give it with the option of the
same name here, or in KOHAKURIVER_GATEWAY_ADMIN_TOKEN. A UNIX socket needs none:
whoever can open it may end sessions. Without a terminal, --end asks no question
there.

Where a cluster has several gateways, the list has the sessions of all of them,
as GATEWAY/ID.

The JSON is an array of objects with the keys id, gateway, user, client,
transport (tcp or tls), protocol (connect or line), task_id (a string), name (of
the VPS, or null), node, opened (RFC 3339, UTC), seconds, bytes_up (from the
client to the VPS) and bytes_down. A resumable one has parked_seconds (how long
its client has been away, or null) and moves (how often the client has continued
it). With --all-clusters, each has its cluster. Without authentication and
without a client's certificate, user is null. With --watch, each line is one
such array.

Examples:
  kohakuriver vps sessions
  kohakuriver vps sessions trainer --watch
  kohakuriver vps sessions --end 7
  kohakuriver vps sessions --admin localhost:8003
  kohakuriver vps sessions --admin unix:/run/kohakuriver-gateway/admin.sock

$ kohakuriver ssh config --help
Print or write ssh_config entries for VPSes

Usage: kohakuriver ssh config [OPTIONS]

Options:
      --diff           Show what --write would change
      --write          Write ~/.ssh/kohakuriver.conf; include it at the top of
                       ~/.ssh/config, unless ssh reads it already
      --remove         Remove what --write added for this cluster
      --sync           Refresh ~/.ssh/kohakuriver.conf, without output, if it is
                       for this Host and the Host answers
  -o, --output <FILE>  Write the entries to this file and change nothing else
      --all-clusters   Write, refresh or remove the entries of all your clusters
      --resume         Make tunnels resumable, whatever the setting `resume`
                       says: ssh then never gets the socket itself
      --no-resume      Make no tunnel resumable
  -h, --help           Print help

There is one entry for each of your newest 500 VPSes with SSH, for the host
lists of IDEs, and one for `*.kohakuriver`, which matches any VPS by task id or
name. The entries contain the Host's address, but no token. After --write,
connect with `ssh trainer.kohakuriver`. Each cluster has a section of its own;
the host names of all but the default one have the cluster's name in them, as in
`ssh trainer.lab.kohakuriver`.

A resumable tunnel survives its connection. The setting `resume` is on, off or
auto, and auto makes tunnels resumable unless plain TCP leads to a gateway in a
private network: there ssh gets the socket itself, which is fastest. The entries
say which and why, and keep it until the next --write.

Put options of your own for VPSes into ~/.ssh/kohakuriver.local.conf: it comes
before the entries, and nothing changes it. --write asks ssh before and after:
if ssh refuses the result, or other hosts would mean something else, all files
are put back.

Examples:
  kohakuriver ssh config --diff
  kohakuriver ssh config --write
  kohakuriver ssh config --remove

$ kohakuriver ssh forget --help
Forget the stored host key of a VPS that was re-created

Usage: kohakuriver ssh forget [OPTIONS] <VPS>

Arguments:
  <VPS>  Task id or name of the VPS

Options:
  -h, --help  Print help

A VPS that was re-created has a new host key, which ssh refuses until the old
one is forgotten.

Examples:
  kohakuriver ssh forget trainer
"#;

#[cfg(feature = "gateway")]
const GATEWAY_HELP: &str = r#"
$ kohakuriver-gateway cert --help
Make a CA and a server certificate for a cluster without a public name

Usage: kohakuriver-gateway cert [OPTIONS]

Options:
      --name <NAME>      Name or address that users connect to; may be given
                         several times [default: this machine's host name, and
                         localhost]
      --dir <FOLDER>     Folder of the files; it is made if it is missing
                         [default: .]
      --days <N>         Make the certificate valid for this many days, at most
                         825 [default: 365]
      --client <CLIENT>  Make a certificate for this client instead, signed by
                         the CA in the folder
      --new-key          Make a new private key when a certificate is made anew;
                         users who pin the key need the new pin
  -h, --help             Print help

Files:
  ca.pem      The CA: the only file for users
  ca.key      Signs certificates: for nobody else, and not needed to serve
  server.pem  The server's certificate, for --tls-cert
  server.key  Its private key, for --tls-key

Exit status:
  0  Success
  1  A file could not be written
  2  Wrong usage, or a file in the folder can't be used

Examples:
  kohakuriver-gateway cert --name gpu-head --name 10.0.0.5
  kohakuriver-gateway cert --dir /etc/kohakuriver --client alice

$ kohakuriver-gateway audit --help
List or sum what audit logs tell: who used which VPS, from where, how long, how
many bytes

Usage: kohakuriver-gateway audit [OPTIONS] [FILE]...

Arguments:
  [FILE]...  Audit logs, the oldest first; `-`, or no FILE, is stdin

Options:
      --user <USER>      Only of this user; `-` is none; may be given several
                         times
      --vps <VPS>        Only of this VPS, by its task id or name; may be given
                         several times
      --node <RUNNER>    Only of VPSes on this Runner; may be given several
                         times
      --client <CIDR>    Only of clients in this network, or with this address;
                         may be given several times
      --since <TIME>     Only what was open or refused then or later:
                         2026-11-23T12:00:00Z, 2026-11-23, or a duration before
                         now: 90min, 2h, 7days
      --until <TIME>     Only what was open or refused then or earlier
      --event <EVENT>    Only lines with this event, each as a row of its own;
                         may be given several times [possible values: opened,
                         closed, refused, parked, resumed, handed-over]
      --reason <REASON>  Only what ended or was refused for this reason; may be
                         given several times
      --by <WHAT>        Print sums for each of these instead [possible values:
                         user, vps, client, node, reason]
      --json             Print JSON: an array with an object for each row
      --csv              Print CSV (RFC 4180), with a line of headers
  -h, --help             Print help

Lines of anything else, as in a journal, are left out and counted. Refused
requests are in sums, and listed with `--event refused`.

Exit status:
  0  Success, also if the reader of the report has closed its pipe
  1  A file could not be read, or the report could not be written
  2  Wrong usage

Examples:
  kohakuriver-gateway audit --by user --since 24h audit.log
  zcat -f $(ls -tr audit.log*) | kohakuriver-gateway audit --by vps --csv
  journalctl -u kohakuriver-gateway -o cat >day; kohakuriver-gateway audit day
"#;

fn run(program: &str, words: &str) -> Output {
    let mut command = Command::new(program);
    command.args(words.split_whitespace()).env_clear().env("HOME", "/no/such/home").env("COLUMNS", "80");
    command.output().unwrap()
}

fn help(program: &str, words: &str) -> String {
    let output = run(program, &format!("{words} --help"));
    assert!(output.status.success() && output.stderr.is_empty(), "{words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn says(words: &str, expected: &str) {
    let help = help(KOHAKURIVER, words);
    let (before, after) = help.split_once(COMMON).unwrap_or_else(|| panic!("{words}: {help}"));
    assert_eq!(format!("{before}{after}").trim_end(), expected.trim_end(), "kohakuriver {words} --help:\n{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{words}: a line is too long\n{help}");
}

/// The words of each command of `texts` behind the program's name, and its help.
fn sections(texts: &str) -> impl Iterator<Item = (&str, &str)> {
    let sections = texts.split("\n$ ").skip(1).map(|section| section.split_once(" --help\n").unwrap());
    sections.map(|(command, help)| (command.split_once(' ').map_or("", |(_, words)| words), help))
}

#[test]
fn commands_have_this_help() {
    for (words, expected) in sections(HELP) {
        says(words, expected);
    }
}

#[test]
fn vps_pause_and_resume_help() {
    for (verb, about) in [("pause", "Pause all processes of VPSes"), ("resume", "Resume the processes of paused VPSes")]
    {
        says(
            &format!("vps {verb}"),
            &format!(
                "{about}\n\n\
                 Usage: kohakuriver vps {verb} [OPTIONS] <VPS>...\n\n\
                 Arguments:\n  <VPS>...  Task ids or names of the VPSes\n\n\
                 Options:\n  -h, --help  Print help\n\n\
                 Examples:\n  kohakuriver vps pause trainer\n  kohakuriver vps resume trainer\n"
            ),
        );
    }
}

/// As a mistake, it fails.
#[test]
fn a_group_without_a_verb_says_its_help() {
    for group in ["", "cluster", "auth"] {
        let output = run(KOHAKURIVER, group);
        assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{group}: {output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), help(KOHAKURIVER, group));
    }
}

#[cfg(feature = "gateway")]
#[test]
fn commands_of_the_gateway_have_this_help() {
    for (words, expected) in sections(GATEWAY_HELP) {
        let help = help(env!("CARGO_BIN_EXE_kohakuriver-gateway"), words);
        assert_eq!(help.trim_end(), expected.trim_end(), "kohakuriver-gateway {words} --help:\n{help}");
    }
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

/// The helper's and the gateway's `--help` have the same form: headings, one line per option, wrapped to the terminal.
#[cfg(feature = "gateway")]
#[test]
fn the_three_programs_have_one_form_of_help() {
    for (program, columns) in [
        (env!("CARGO_BIN_EXE_kohakuriver"), 80),
        (env!("CARGO_BIN_EXE_kohakuriver-proxy"), 80),
        (env!("CARGO_BIN_EXE_kohakuriver-gateway"), 80),
        (env!("CARGO_BIN_EXE_kohakuriver-gateway"), 120),
    ] {
        for flag in ["-h", "--help"] {
            let output = Command::new(program).arg(flag).env_clear().env("COLUMNS", columns.to_string()).output();
            let help = String::from_utf8(output.unwrap().stdout).unwrap();
            assert!(help.contains("\n\nUsage: ") && help.contains("\n\nOptions:\n"), "{program}: {help}");
            assert!(help.lines().all(|line| line.chars().count() <= columns), "{program}: a line is too long\n{help}");
            let (_, options) = help.split_once("\nOptions:\n").unwrap();
            let (options, _) = options.split_once("\n\n").unwrap();
            let listed = |name: &str| options.lines().any(|line| line.trim_start().contains(name));
            assert!(listed("--help") && listed("--version"), "{program}: an empty line between options\n{help}");
        }
    }
}
