//! Clusters, and the login that adds one.

use super::{host, shell};

#[test]
fn clusters() {
    let host = host();
    let shell = shell(&host);
    shell.reads_home();
    shell.shows(
        r#"
$ kohakuriver login nowhere.invalid
2> kohakuriver: cannot log in
2>   caused by: the Host API at http://nowhere.invalid:18000 can't be reached
2>   caused by: the name can't be resolved: Name or service not known
2>   hint: correct the Host's name: `kohakuriver config show` shows where it is set
[exit status 1]
$ kohakuriver login --cluster lab
2> kohakuriver: no Host was named
2>   hint: name it: `kohakuriver login HOST`
[exit status 2]
$ kohakuriver login 127.0.0.1 --host 127.0.0.1
2> kohakuriver: two Hosts were named
2>   hint: leave `--host` out
[exit status 2]
$ kohakuriver login
2> the Host at http://127.0.0.1:18000 has no users, so no login is needed
2> the cluster default at 127.0.0.1 is stored in /home/me/.config/kohakuriver/config.json
2> wrote /home/me/.ssh/.kohakuriver-openssh-8.7.conf
2> wrote /home/me/.ssh/kohakuriver.conf
2> wrote /home/me/.ssh/config
2> tunnels are not resumable: the gateway is in a private network, and ssh gets the socket itself, which is fastest
2> connect with `ssh NAME.kohakuriver`; `kohakuriver vps list` shows the names
$ kohakuriver login gpu-head
2> kohakuriver: the Host gpu-head is none of your clusters
2>   caused by: the default cluster, default, is at 127.0.0.1
2>   hint: `kohakuriver login gpu-head --cluster NAME` adds it; if default has moved there, `kohakuriver login gpu-head --cluster default`
[exit status 2]
$ kohakuriver login 127.0.0.1 -P 18000 --ssh-proxy-port 18002 --cluster lab
2> the Host at http://127.0.0.1:18000 has no users, so no login is needed
2> the cluster lab at 127.0.0.1 is stored in /home/me/.config/kohakuriver/config.json
2> cluster lab: changed /home/me/.ssh/.kohakuriver-openssh-8.7.conf
2> cluster lab: changed /home/me/.ssh/kohakuriver.conf
2> cluster lab: tunnels are not resumable: the gateway is in a private network, and ssh gets the socket itself, which is fastest
2> cluster lab: connect with `ssh NAME.lab.kohakuriver`; `kohakuriver --cluster lab vps list` shows the names
$ kohakuriver login localhost -P 18000 --cluster lab
2> kohakuriver: cluster lab: confirmation is required, but there is no terminal to ask on
2>   caused by: the Host of cluster lab is 127.0.0.1:18000
2>   hint: add another cluster with `--cluster NAME`, or confirm with `--yes` that it has moved to localhost:18000
[exit status 2]
$ kohakuriver cluster list
NAME     DEFAULT  HOST API                SSH PROXY        USER
default  yes      http://127.0.0.1:18000  127.0.0.1:18002  -
lab      -        http://127.0.0.1:18000  127.0.0.1:18002  -
$ kohakuriver cluster list --json
[
  {
    "default": true,
    "host_api": "http://127.0.0.1:18000",
    "logged_in": false,
    "name": "default",
    "ssh_proxy": "127.0.0.1:18002",
    "username": null
  },
  {
    "default": false,
    "host_api": "http://127.0.0.1:18000",
    "logged_in": false,
    "name": "lab",
    "ssh_proxy": "127.0.0.1:18002",
    "username": null
  }
]
$ kohakuriver cluster list --cluster lab
2> kohakuriver: this is about all clusters, and one was named
2>   hint: leave `--cluster` and `--host` out
[exit status 2]
$ kohakuriver --cluster lab vps pause 7323718749301768193
2> kohakuriver: cluster lab: cannot pause VPS 7323718749301768193
2>   caused by: the Host at http://127.0.0.1:18000 says: Invalid command or task state: pause for paused
2>   hint: it is paused already
[exit status 1]
$ kohakuriver --cluster lab vps status notebook
Cluster    lab
Task ID    7323718749301768193
Name       notebook
Status     paused
Node       node-up
SSH Port   22022
Backend    docker
Owner      operator1
Submitted  3 minutes ago (2026-11-23 12:05:53)
Started    2 minutes ago (2026-11-23 12:06:53)
Connect    not possible: VPS 7323718749301768193 is paused
Hint       resume it with `kohakuriver --cluster lab vps resume 7323718749301768193`
$ kohakuriver --cluster nowhere vps list
2> kohakuriver: there is no cluster `nowhere`
2>   caused by: config.json has: default, lab
2>   hint: `kohakuriver login HOST --cluster nowhere` adds it
[exit status 2]
$ kohakuriver --cluster a.b vps list
2> kohakuriver: invalid value 'a.b' for '--cluster <NAME>'
2>   caused by: a cluster's name has lower-case letters, digits and `-` only, at most 63, and begins and ends with a letter or a digit
2>   hint: see `kohakuriver vps list --help`
[exit status 2]
$ kohakuriver vps list --all-clusters
CLUSTER  TASK ID              NAME      STATUS     NODE     SSH PORT  SUBMITTED      BACKEND  OWNER
default  7323718749301768192  trainer   running    node-up  22022     3 minutes ago  docker   operator1
default  7323718749301768193  notebook  paused     node-up  22022     3 minutes ago  docker   operator1
default  7323718749301768194  machine   running    node-up  22022     3 minutes ago  qemu     operator1
default  7323718749301768195  newcomer  assigning  node-up  -         3 minutes ago  docker   operator1
default  7323718749301768196  broken    failed     node-up  -         3 minutes ago  docker   operator1
default  7323718749301768198  console   running    node-up  -         3 minutes ago  docker   operator1
lab      7323718749301768192  trainer   running    node-up  22022     3 minutes ago  docker   operator1
lab      7323718749301768193  notebook  paused     node-up  22022     3 minutes ago  docker   operator1
lab      7323718749301768194  machine   running    node-up  22022     3 minutes ago  qemu     operator1
lab      7323718749301768195  newcomer  assigning  node-up  -         3 minutes ago  docker   operator1
lab      7323718749301768196  broken    failed     node-up  -         3 minutes ago  docker   operator1
lab      7323718749301768198  console   running    node-up  -         3 minutes ago  docker   operator1
$ kohakuriver cluster use lab
2> lab is the default cluster now
2> changed /home/me/.ssh/.kohakuriver-openssh-8.7.conf
2> changed /home/me/.ssh/kohakuriver.conf
$ kohakuriver cluster use lab
2> lab is the default cluster already
$ kohakuriver cluster use nowhere
2> kohakuriver: there is no cluster `nowhere`
2>   caused by: config.json has: default, lab
2>   hint: `kohakuriver login HOST --cluster nowhere` adds it
[exit status 2]
$ kohakuriver cluster rename default work
2> the cluster default is called work now
2> changed /home/me/.ssh/.kohakuriver-openssh-8.7.conf
2> changed /home/me/.ssh/kohakuriver.conf
$ kohakuriver cluster rename work lab
2> kohakuriver: there is a cluster `lab` already
2>   hint: see your clusters with `kohakuriver cluster list`
[exit status 2]
$ kohakuriver cluster remove lab
2> kohakuriver: lab is the default cluster
2>   caused by: `ssh NAME.kohakuriver` and each command without --cluster go there
2>   hint: make another one the default first: `kohakuriver cluster use NAME`
[exit status 2]
$ kohakuriver cluster remove work
2> removed the cluster work
2> changed /home/me/.ssh/.kohakuriver-openssh-8.7.conf
2> changed /home/me/.ssh/kohakuriver.conf
$ kohakuriver config show | head -n 3
SETTING             VALUE       SOURCE
cluster             lab         KOHAKURIVER_HOST
host                127.0.0.1   KOHAKURIVER_HOST
"#,
    );
}
