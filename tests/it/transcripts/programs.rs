//! `kohakuriver-proxy` and `kohakuriver-gateway`.

use super::{host, id, shell};
use crate::support::gateway::{Gateway, NODE_DOWN, inventory, running};
use crate::support::host_api::{STRANGER, VIEWER, host_api, host_of};
use crate::support::peers::{RefusingPort, echo_server};

#[test]
fn kohakuriver_proxy() {
    shell(&host()).shows(
        r#"
$ kohakuriver-proxy --version
kohakuriver-proxy 1.2.3
$ kohakuriver-proxy
2> kohakuriver-proxy: TARGET is missing
2>   hint: see `kohakuriver-proxy --help`
[exit status 2]
$ kohakuriver-proxy trainer 22 23
2> kohakuriver-proxy: unexpected word `23` after TARGET and PORT
2>   hint: see `kohakuriver-proxy --help`
[exit status 2]
$ kohakuriver-proxy --colour 42
2> kohakuriver-proxy: invalid option '--colour'
2>   hint: see `kohakuriver-proxy --help`
[exit status 2]
$ kohakuriver-proxy --connect-timeout soon 42
2> kohakuriver-proxy: --connect-timeout is `soon`
2>   caused by: give a number of seconds above 0 and up to 86400
2>   hint: see `kohakuriver-proxy --help`
[exit status 2]
$ kohakuriver-proxy --protocol socks 42
2> kohakuriver-proxy: --protocol is `socks`
2>   caused by: it must be auto, connect or request-tunnel
2>   hint: see `kohakuriver-proxy --help`
[exit status 2]
$ kohakuriver-proxy 42 80
2> kohakuriver-proxy: VPS 42 offers port 22 only, not port 80
2>   hint: leave the port out; to reach another port of the VPS, forward it with ssh -L
[exit status 2]
$ kohakuriver-proxy 'no name'
2> kohakuriver-proxy: `no name` is neither a task id, nor a VPS name, nor a host name
2>   hint: name a task id: `kohakuriver vps list` shows which there are
[exit status 2]
$ kohakuriver-proxy --proxy 127.0.0.1:1 42
2> kohakuriver-proxy: cannot reach the SSH proxy at 127.0.0.1:1
2>   caused by: 127.0.0.1:1: Connection refused (os error 111)
2>   hint: check that it runs there and that no firewall blocks its port; `kohakuriver config show` shows the address
[exit status 1]
$ kohakuriver-proxy --proxy 127.0.0.1:18000 42
2> kohakuriver-proxy: cannot open a tunnel to VPS 42
2>   caused by: the proxy at 127.0.0.1:18000 answered 404 X
2>   caused by: {"detail":"Not Found"}
2>   hint: check that it is the Host's SSH proxy: `kohakuriver config show` shows its address
[exit status 1]
$ kohakuriver-proxy nothing
2> kohakuriver-proxy: there is no VPS nothing
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: see which there are with `kohakuriver vps list --all`
[exit status 1]
$ KOHAKURIVER_PORT=1 kohakuriver-proxy trainer
2> kohakuriver-proxy: cannot look up VPS trainer
2>   caused by: the Host API at http://127.0.0.1:1 can't be reached
2>   caused by: 127.0.0.1:1: Connection refused (os error 111)
2>   hint: check that the Host runs; `kohakuriver config show` shows where its address is set
[exit status 1]
"#,
    );
}

#[test]
fn kohakuriver_proxy_reports_the_answers_of_a_gateway() {
    let (vps, refusing) = (echo_server(), RefusingPort::new());
    let mut vpses: Vec<_> = (0..8).map(|digit| running(&id(digit), vps.address.port())).collect();
    vpses[1]["status"] = "paused".into();
    vpses[2]["status"] = "assigning".into();
    vpses[3]["status"] = "stopped".into();
    vpses[4]["assigned_node"] = NODE_DOWN.into();
    vpses[5]["ssh_port"] = 0.into();
    vpses[6]["ssh_port"] = refusing.port.into();
    vpses[7]["task_type"] = "command".into();
    let api = host_of(inventory(&vpses));
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    let mut shell = shell(&host());
    shell.port(gateway.address.port(), "18002");
    shell.shows(
        r#"
$ echo hello | kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768190
hello
$ kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768191
2> kohakuriver-proxy: VPS 7323718749301768191 is paused
2>   caused by: the gateway at 127.0.0.1:18002 answered 409 Conflict
2>   hint: resume it with `kohakuriver vps resume 7323718749301768191`
[exit status 1]
$ kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768192
2> kohakuriver-proxy: VPS 7323718749301768192 is starting (status: assigning)
2>   caused by: the gateway at 127.0.0.1:18002 answered 503 Service Unavailable
2>   hint: wait for it with `kohakuriver vps connect 7323718749301768192 --wait`
[exit status 1]
$ kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768193
2> kohakuriver-proxy: VPS 7323718749301768193 is stopped
2>   caused by: the gateway at 127.0.0.1:18002 answered 409 Conflict
2>   hint: a Host can't start it again; make a new one with `kohakuriver vps create --gen-ssh-key`
[exit status 1]
$ kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768194
2> kohakuriver-proxy: the Runner of VPS 7323718749301768194 is offline
2>   caused by: the gateway at 127.0.0.1:18002 answered 503 Service Unavailable
2>   caused by: the Host has not heard from Runner node-down lately
2>   hint: see which Runners are online with `kohakuriver node list`
[exit status 1]
$ kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768195
2> kohakuriver-proxy: VPS 7323718749301768195 has no SSH: it was created for terminals only
2>   caused by: the gateway at 127.0.0.1:18002 answered 409 Conflict
2>   hint: make a new one with a key: `kohakuriver vps create --gen-ssh-key`
[exit status 1]
$ kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768196
2> kohakuriver-proxy: VPS 7323718749301768196 refuses SSH connections
2>   caused by: the gateway at 127.0.0.1:18002 answered 502 Bad Gateway
2>   caused by: nothing listens on its SSH port on Runner node-up
2>   hint: if it has just started, wait for it with `kohakuriver vps connect 7323718749301768196 --wait`; if not, its sshd may have ended
[exit status 1]
$ kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768197
2> kohakuriver-proxy: task 7323718749301768197 is a command task, not a VPS
2>   caused by: the gateway at 127.0.0.1:18002 answered 404 Not Found
2>   hint: only a VPS takes SSH; see which there are with `kohakuriver vps list`
[exit status 1]
$ kohakuriver-proxy --proxy 127.0.0.1:18002 42
2> kohakuriver-proxy: there is no VPS 42
2>   caused by: the gateway at 127.0.0.1:18002 answered 404 Not Found
2>   hint: see which there are with `kohakuriver vps list --all`
[exit status 1]
"#,
    );
}

#[test]
fn kohakuriver_proxy_reports_missing_permissions() {
    let api = host_api(vec![running(&id(2), 1)]);
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    let mut shell = shell(&host());
    shell.port(gateway.address.port(), "18002");
    shell.port(api.address.port(), "18001");
    shell.variable("STRANGER", STRANGER);
    shell.variable("VIEWER", VIEWER);
    shell.shows(
        r#"
$ kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768192
2> kohakuriver-proxy: VPS 7323718749301768192 needs a login
2>   caused by: the gateway at 127.0.0.1:18002 answered 407 Proxy Authentication Required
2>   caused by: the Host wants a token, and got none or one it does not know
2>   hint: log in with `kohakuriver auth login`
[exit status 1]
$ KOHAKURIVER_TOKEN=expired kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768192
2> kohakuriver-proxy: VPS 7323718749301768192 needs a login
2>   caused by: the gateway at 127.0.0.1:18002 answered 407 Proxy Authentication Required
2>   caused by: the Host wants a token, and got none or one it does not know
2>   hint: correct KOHAKURIVER_TOKEN, or remove it with `unset KOHAKURIVER_TOKEN` and log in with `kohakuriver auth login`
[exit status 1]
$ KOHAKURIVER_TOKEN=$STRANGER kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768192
2> kohakuriver-proxy: VPS 7323718749301768192 is not yours to reach
2>   caused by: the gateway at 127.0.0.1:18002 answered 403 Forbidden
2>   caused by: the Host shows a VPS to its owner, its assignees and operators only
2>   hint: ask an operator to assign it to you; `kohakuriver auth status` shows who you are
[exit status 1]
$ KOHAKURIVER_TOKEN=$VIEWER kohakuriver-proxy --proxy 127.0.0.1:18002 7323718749301768192
2> kohakuriver-proxy: VPS 7323718749301768192 is not yours to reach
2>   caused by: the gateway at 127.0.0.1:18002 answered 403 Forbidden
2>   caused by: the role `viewer` may look at VPSes, but log in to none
2>   hint: ask an admin to make you a user; `kohakuriver auth status` shows who you are
[exit status 1]
$ KOHAKURIVER_PORT=18001 KOHAKURIVER_TOKEN=$STRANGER kohakuriver vps status 7323718749301768192
2> kohakuriver: VPS 7323718749301768192 is not yours to reach
2>   caused by: the Host shows a VPS to its owner, its assignees and operators only
2>   caused by: the Host at http://127.0.0.1:18001 says so
2>   hint: ask an operator to assign it to you; `kohakuriver auth status` shows who you are
[exit status 1]
$ KOHAKURIVER_PORT=18001 KOHAKURIVER_TOKEN=$STRANGER kohakuriver vps list
TASK ID              NAME      STATUS   NODE     SSH PORT  SUBMITTED  BACKEND  OWNER
7323718749301768192  vps-8192  running  node-up  1         -          -        -
$ KOHAKURIVER_PORT=18001 KOHAKURIVER_TOKEN=$STRANGER kohakuriver vps connect 7323718749301768192
2> kohakuriver: VPS 7323718749301768192 is not yours to reach
2>   caused by: the Host shows a VPS to its owner, its assignees and operators only
2>   caused by: the Host at http://127.0.0.1:18001 says so
2>   hint: ask an operator to assign it to you; `kohakuriver auth status` shows who you are
[exit status 255]
"#,
    );
}

#[test]
fn kohakuriver_gateway() {
    shell(&host()).shows(
        r#"
$ kohakuriver-gateway --version
kohakuriver-gateway 1.2.3
$ kohakuriver-gateway --colour
2> kohakuriver-gateway: unexpected argument '--colour' found
2>   hint: see `kohakuriver-gateway --help`
[exit status 2]
$ kohakuriver-gateway --listen here
2> kohakuriver-gateway: invalid value 'here' for '--listen <ADDR>'
2>   caused by: it is not an IP address with a port, such as 127.0.0.1:8002 or [::]:8002
2>   hint: see `kohakuriver-gateway --help`
[exit status 2]
$ kohakuriver-gateway --listen 127.0.0.1:18000 --admin off
2> TIME ERROR cannot listen on 127.0.0.1:18000 cause="Address already in use (os error 98)" hint="see which program has it with `ss -ltnp sport = :18000`"
[exit status 1]
$ kohakuriver-gateway --inventory nothing.json
2> TIME ERROR cannot use the inventory nothing.json cause="it can't be read: No such file or directory (os error 2)" hint="`kohakuriver-gateway --help` shows what an inventory looks like"
[exit status 2]
$ echo '{ "vps": [ { "name": "trainer" } ] }' >inventory.json; kohakuriver-gateway --inventory inventory.json
2> TIME ERROR cannot use the inventory inventory.json cause="it must hold one JSON object with the lists `nodes` and `vps`" hint="`kohakuriver-gateway --help` shows what an inventory looks like"
[exit status 2]
$ echo '{ "vps": ' >inventory.json; kohakuriver-gateway --inventory inventory.json
2> TIME ERROR cannot use the inventory inventory.json cause="it is not valid JSON: EOF while parsing a value at line 2 column 0" hint="`kohakuriver-gateway --help` shows what an inventory looks like"
[exit status 2]
$ kohakuriver-gateway --host-api gpu-head
2> TIME ERROR cannot use `gpu-head` as --host-api cause="`gpu-head` is not the address of a Host API: it begins with neither http:// nor https://" hint="write it as http://HOST:PORT or https://HOST[:PORT]"
[exit status 2]
"#,
    );
}
