//! `vps create`, `vps stop`, `vps restart`, `vps pause` and `vps resume`.

use super::{host, shell};

#[test]
fn vps_create() {
    shell(&host()).shows(
        r#"
$ kohakuriver vps create --no-ssh-key
Task ID  7323718749301768192
Name     -
Status   assigning
Node     node-up
SSH      everybody, as root, without a key
Message  VPS created successfully.
Connect  kohakuriver vps connect 7323718749301768192 --wait
2> warning: everybody who can reach the Host's SSH proxy or the Runner can log in as root, without a key or a password
$ kohakuriver vps create --public-key-string 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKw= me'
Task ID  7323718749301768192
Name     -
Status   assigning
Node     node-up
SSH      with the given key
Message  VPS created successfully.
Connect  kohakuriver vps connect 7323718749301768192 --wait
$ kohakuriver vps create --public-key-string 'no key'
2> kohakuriver: cannot use the key in --public-key-string
2>   caused by: it does not begin with a key type and a key, such as `ssh-ed25519 AAAA…`
2>   hint: `cat ~/.ssh/*.pub` shows your public keys; --gen-ssh-key makes a new one
[exit status 2]
$ kohakuriver vps create --public-key-file nothing.pub
2> kohakuriver: cannot use the public key nothing.pub
2>   caused by: No such file or directory (os error 2)
[exit status 1]
$ kohakuriver vps create --target node-down
2> kohakuriver: cannot create the VPS
2>   caused by: the Host at http://127.0.0.1:18000 says: No suitable node available for this VPS.
2>   hint: see which Runners are online with `kohakuriver node list`
[exit status 1]
$ kohakuriver vps create --mount /data:/data
2> kohakuriver: cannot create the VPS
2>   caused by: the Host at http://127.0.0.1:18000 has no field in its API for --mount
2>   hint: leave it out; the administrator of the Host can set it for all VPSes
[exit status 1]
$ kohakuriver vps create --cores many
2> kohakuriver: invalid value 'many' for '--cores <NUMBER>'
2>   caused by: it is not a whole number, or it is too large
2>   hint: see `kohakuriver vps create --help`
[exit status 2]
$ kohakuriver vps create --memory much
2> kohakuriver: invalid value 'much' for '--memory <SIZE>'
2>   caused by: give a size above 0, for example 512M or 16G
2>   hint: see `kohakuriver vps create --help`
[exit status 2]
$ kohakuriver vps create --backend xen
2> kohakuriver: invalid value 'xen' for '--backend <docker|qemu>'
2>   caused by: possible values: docker, qemu
2>   hint: see `kohakuriver vps create --help`
[exit status 2]
$ kohakuriver vps create --gen-ssh-key --no-ssh-key
2> kohakuriver: the argument '--gen-ssh-key' cannot be used with '--no-ssh-key'
2>   hint: see `kohakuriver vps create --help`
[exit status 2]
"#,
    );
}

#[test]
fn vps_create_generates_a_key() {
    let host = host();
    host.change(|state| state.vpses.clear());
    shell(&host).shows(
        r#"
$ kohakuriver vps create --gen-ssh-key --name trainer
Task ID  7323718749301768192
Name     trainer
Status   assigning
Node     node-up
SSH      with the key /home/me/.ssh/id-kohakuriver-7323718749301768192
Message  VPS created successfully.
Connect  kohakuriver vps connect 7323718749301768192 --wait
$ ls .ssh
id-kohakuriver-7323718749301768192
id-kohakuriver-7323718749301768192.pub
"#,
    );
}

#[test]
fn vps_stop() {
    shell(&host()).shows(
        r#"
$ kohakuriver vps stop trainer
2> kohakuriver: confirmation is required, but there is no terminal to ask on
2>   hint: confirm with `--yes`
[exit status 2]
$ kohakuriver vps stop trainer --yes
2> VPS 7323718749301768192 stop requested. VPS marked as stopped.
$ kohakuriver vps stop trainer --yes
2> kohakuriver: cannot stop VPS 7323718749301768192
2>   caused by: the Host at http://127.0.0.1:18000 says: VPS cannot be stopped (state: stopped)
2>   hint: the VPS has already ended
[exit status 1]
$ kohakuriver vps stop
2> kohakuriver: the following required arguments were not provided: <VPS>...
2>   hint: see `kohakuriver vps stop --help`
[exit status 2]
"#,
    );
}

#[test]
fn vps_restart() {
    shell(&host()).shows(
        r#"
$ kohakuriver vps restart machine --yes
2> VPS 7323718749301768194 restart successful.
$ kohakuriver vps restart trainer
2> kohakuriver: confirmation is required, but there is no terminal to ask on
2>   hint: confirm with `--yes`
[exit status 2]
$ kohakuriver vps restart gone --yes
2> kohakuriver: cannot restart VPS 7323718749301768197
2>   caused by: the Host at http://127.0.0.1:18000 says: VPS cannot be restarted (state: stopped). Must be running, paused, or failed.
2>   hint: a Host can't start it again; make a new one with `kohakuriver vps create --gen-ssh-key`
[exit status 1]
"#,
    );
}

#[test]
fn vps_pause_and_resume() {
    let host = host();
    let shell = shell(&host);
    shell.shows(
        r#"
$ kohakuriver vps pause trainer
2> Pause for task 7323718749301768192: Pause command sent successfully.
$ kohakuriver vps pause trainer
2> kohakuriver: cannot pause VPS 7323718749301768192
2>   caused by: the Host at http://127.0.0.1:18000 says: Invalid command or task state: pause for paused
2>   hint: it is paused already
[exit status 1]
$ kohakuriver vps pause gone
2> kohakuriver: cannot pause VPS 7323718749301768197
2>   caused by: the Host at http://127.0.0.1:18000 says: Invalid command or task state: pause for stopped
2>   hint: it has ended, and a Host can't start it again
[exit status 1]
$ kohakuriver vps pause
2> kohakuriver: the following required arguments were not provided: <VPS>...
2>   hint: see `kohakuriver vps pause --help`
[exit status 2]
$ kohakuriver vps resume trainer
2> Resume for task 7323718749301768192: Resume command sent successfully.
$ kohakuriver vps resume trainer
2> kohakuriver: cannot resume VPS 7323718749301768192
2>   caused by: the Host at http://127.0.0.1:18000 says: Invalid command or task state: resume for running
2>   hint: it runs already; if it takes no login, an operator can restart it
[exit status 1]
$ kohakuriver vps resume newcomer
2> kohakuriver: cannot resume VPS 7323718749301768195
2>   caused by: the Host at http://127.0.0.1:18000 says: Invalid command or task state: resume for assigning
2>   hint: wait for it with `kohakuriver vps connect 7323718749301768195 --wait`
[exit status 1]
$ kohakuriver vps resume trainer notebook
2> kohakuriver: cannot resume VPS 7323718749301768192
2>   caused by: the Host at http://127.0.0.1:18000 says: Invalid command or task state: resume for running
2>   hint: it runs already; if it takes no login, an operator can restart it
2> Resume for task 7323718749301768193: Resume command sent successfully.
2> kohakuriver: 1 of 2 VPSes failed
[exit status 1]
"#,
    );
    host.change(|state| state.vpses[0]["assigned_node"] = "node-down".into());
    shell.shows(
        r#"
$ kohakuriver vps pause trainer
2> kohakuriver: cannot pause VPS 7323718749301768192
2>   caused by: the Host at http://127.0.0.1:18000 says: Pause for task 7323718749301768192: Failed to send pause command.
2>   hint: see whether its Runner is online with `kohakuriver node list`
[exit status 1]
"#,
    );
}

#[test]
fn a_role_without_permission() {
    let host = host();
    host.change(|state| {
        state.auth = true;
        state.vpses.iter_mut().for_each(|vps| vps["owner_username"] = "user1".into());
    });
    shell(&host).shows(
        r#"
$ KOHAKURIVER_TOKEN=$USER_TOKEN kohakuriver vps create --no-ssh-key
2> warning: everybody who can reach the Host's SSH proxy or the Runner can log in as root, without a key or a password
2> kohakuriver: cannot create the VPS
2>   caused by: the Host at http://127.0.0.1:18000 says: Insufficient permissions. Required role: operator
2>   hint: ask an operator to create the VPS; `kohakuriver auth status` shows who you are
[exit status 1]
$ KOHAKURIVER_TOKEN=$USER_TOKEN kohakuriver vps stop trainer --yes
2> kohakuriver: cannot stop VPS 7323718749301768192
2>   caused by: the Host at http://127.0.0.1:18000 says: Insufficient permissions. Required role: operator
2>   hint: ask an operator to stop VPS 7323718749301768192; `kohakuriver auth status` shows who you are
[exit status 1]
$ KOHAKURIVER_TOKEN=$USER_TOKEN kohakuriver vps restart machine --yes
2> kohakuriver: cannot restart VPS 7323718749301768194
2>   caused by: the Host at http://127.0.0.1:18000 says: Insufficient permissions. Required role: operator
2>   hint: ask an operator to restart VPS 7323718749301768194; `kohakuriver auth status` shows who you are
[exit status 1]
$ kohakuriver vps create
2> kohakuriver: cannot create the VPS
2>   caused by: the Host wants a token, and got none or one it does not know
2>   hint: log in with `kohakuriver auth login`
[exit status 1]
$ KOHAKURIVER_TOKEN=expired kohakuriver vps create
2> kohakuriver: cannot create the VPS
2>   caused by: the Host wants a token, and got none or one it does not know
2>   hint: correct KOHAKURIVER_TOKEN, or remove it with `unset KOHAKURIVER_TOKEN` and log in with `kohakuriver auth login`
[exit status 1]
$ kohakuriver vps stop trainer --yes
2> kohakuriver: VPS trainer needs a login
2>   caused by: the Host wants a token, and got none or one it does not know
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: log in with `kohakuriver auth login`
[exit status 1]
$ kohakuriver vps pause trainer
2> kohakuriver: VPS trainer needs a login
2>   caused by: the Host wants a token, and got none or one it does not know
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: log in with `kohakuriver auth login`
[exit status 1]
"#,
    );
}
