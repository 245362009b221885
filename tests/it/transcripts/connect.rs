//! `vps connect`, the `ssh` commands and `doctor`, as far as they need no sshd.

use super::{host, shell};

#[test]
fn vps_connect() {
    shell(&host()).shows(
        r#"
$ kohakuriver vps connect trainer --dry-run
/usr/bin/ssh -o 'ProxyCommand=/usr/bin/kohakuriver-proxy --fdpass --proxy 127.0.0.1:18002 --host-api 127.0.0.1:18000 --cluster default %h %p' -o ProxyUseFdpass=yes -o UserKnownHostsFile=/home/me/.ssh/.kohakuriver_known_hosts -o CheckHostIP=no -o HashKnownHosts=no -o 'KnownHostsCommand=/usr/bin/kohakuriver --host 127.0.0.1 --port 18000 ssh host-key --file /home/me/.ssh/.kohakuriver_known_hosts %H %t %K %h' -o StrictHostKeyChecking=accept-new -o HostName=7323718749301768192.kohakuriver -o HostKeyAlias=kohakuriver-7323718749301768192 -o Port=22 -o CanonicalizeHostname=no -o HostKeyAlgorithms=+ssh-ed25519 -o PermitLocalCommand=no -o ServerAliveInterval=30 -o ServerAliveCountMax=3 -o SessionType=default -o ForkAfterAuthentication=no -o StdinNull=no -l root 7323718749301768192.kohakuriver
$ kohakuriver vps connect trainer --dry-run --user kohaku -- -L 8888:localhost:8888
/usr/bin/ssh -o 'ProxyCommand=/usr/bin/kohakuriver-proxy --fdpass --proxy 127.0.0.1:18002 --host-api 127.0.0.1:18000 --cluster default %h %p' -o ProxyUseFdpass=yes -o UserKnownHostsFile=/home/me/.ssh/.kohakuriver_known_hosts -o CheckHostIP=no -o HashKnownHosts=no -o 'KnownHostsCommand=/usr/bin/kohakuriver --host 127.0.0.1 --port 18000 ssh host-key --file /home/me/.ssh/.kohakuriver_known_hosts %H %t %K %h' -o StrictHostKeyChecking=accept-new -o HostName=7323718749301768192.kohakuriver -o HostKeyAlias=kohakuriver-7323718749301768192 -o Port=22 -o CanonicalizeHostname=no -o HostKeyAlgorithms=+ssh-ed25519 -o PermitLocalCommand=no -o ServerAliveInterval=30 -o ServerAliveCountMax=3 -o SessionType=default -o ForkAfterAuthentication=no -o StdinNull=no -l kohaku 7323718749301768192.kohakuriver -L 8888:localhost:8888
$ kohakuriver vps cp --dry-run -r results trainer:/data
/usr/bin/scp -S /usr/bin/ssh -o 'ProxyCommand=/usr/bin/kohakuriver-proxy --fdpass --proxy 127.0.0.1:18002 --host-api 127.0.0.1:18000 --cluster default %h %p' -o ProxyUseFdpass=yes -o UserKnownHostsFile=/home/me/.ssh/.kohakuriver_known_hosts -o CheckHostIP=no -o HashKnownHosts=no -o 'KnownHostsCommand=/usr/bin/kohakuriver --host 127.0.0.1 --port 18000 ssh host-key --file /home/me/.ssh/.kohakuriver_known_hosts %H %t %K %h' -o StrictHostKeyChecking=accept-new -o HostName=7323718749301768192.kohakuriver -o HostKeyAlias=kohakuriver-7323718749301768192 -o Port=22 -o CanonicalizeHostname=no -o HostKeyAlgorithms=+ssh-ed25519 -o PermitLocalCommand=no -o ServerAliveInterval=30 -o ServerAliveCountMax=3 -o ForkAfterAuthentication=no -o StdinNull=no -r -- results root@7323718749301768192.kohakuriver:/data
$ kohakuriver vps cp results notebook:
2> kohakuriver: VPS 7323718749301768193 is paused
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: resume it with `kohakuriver vps resume 7323718749301768193`
[exit status 255]
$ kohakuriver vps cp results /data
2> kohakuriver: no file of a VPS was named
2>   hint: write it as VPS:FILE
[exit status 255]
$ kohakuriver vps forward --help | head -n 1
Forward ports of this machine to a VPS
$ kohakuriver vps forward notebook 18888
2> kohakuriver: VPS 7323718749301768193 is paused
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: resume it with `kohakuriver vps resume 7323718749301768193`
[exit status 1]
$ kohakuriver vps connect notebook
2> kohakuriver: VPS 7323718749301768193 is paused
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: resume it with `kohakuriver vps resume 7323718749301768193`
[exit status 255]
$ kohakuriver vps connect newcomer
2> kohakuriver: VPS 7323718749301768195 is starting (status: assigning)
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: wait for it with `kohakuriver vps connect 7323718749301768195 --wait`
[exit status 255]
$ kohakuriver vps connect broken
2> kohakuriver: VPS 7323718749301768196 has failed
2>   caused by: the Host at http://127.0.0.1:18000 says: the image "ubuntu" is not there
2>   hint: restart it with `kohakuriver vps restart 7323718749301768196`
[exit status 255]
$ kohakuriver vps connect gone
2> kohakuriver: VPS 7323718749301768197 is stopped
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: a Host can't start it again; make a new one with `kohakuriver vps create --gen-ssh-key`
[exit status 255]
$ kohakuriver vps connect console
2> kohakuriver: VPS 7323718749301768198 has no SSH: it was created for terminals only
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: make a new one with a key: `kohakuriver vps create --gen-ssh-key`
[exit status 255]
$ kohakuriver vps connect
2> kohakuriver: no VPS was named, and there is no terminal to choose one on
2>   hint: name it: `kohakuriver vps connect VPS`; see which there are with `kohakuriver vps list`
[exit status 255]
$ kohakuriver vps connect trainer --colour
2> kohakuriver: unexpected argument '--colour' found
2>   hint: see `kohakuriver vps connect --help`
[exit status 255]
$ kohakuriver vps connect trainer --key no/such/key
2> kohakuriver: cannot use the key /home/me/no/such/key
2>   caused by: there is no such file
2>   hint: list your keys: `ls -l ~/.ssh`
[exit status 255]
$ touch key && chmod 644 key && kohakuriver vps connect trainer --key key
2> kohakuriver: cannot use the key /home/me/key
2>   caused by: its mode is 0644: ssh ignores a private key that others may read
2>   hint: make it private with `chmod 600 /home/me/key`
[exit status 255]
"#,
    );
}

#[test]
fn vps_connect_without_a_valid_token() {
    let host = host();
    host.change(|state| state.auth = true);
    shell(&host).shows(
        r#"
$ kohakuriver vps connect trainer
2> kohakuriver: VPS trainer needs a login
2>   caused by: the Host wants a token, and got none or one it does not know
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: log in with `kohakuriver auth login`
[exit status 255]
$ KOHAKURIVER_TOKEN=expired kohakuriver vps connect trainer
2> kohakuriver: VPS trainer needs a login
2>   caused by: the Host wants a token, and got none or one it does not know
2>   caused by: the Host at http://127.0.0.1:18000 says so
2>   hint: correct KOHAKURIVER_TOKEN, or remove it with `unset KOHAKURIVER_TOKEN` and log in with `kohakuriver auth login`
[exit status 255]
"#,
    );
}

#[test]
fn ssh_config() {
    let host = host();
    let shell = shell(&host);
    shell.reads_home();
    shell.shows(
        r#"
$ kohakuriver ssh config
# Do not edit: written by `kohakuriver ssh config`, which will write it anew.
# Any VPS by its task id or name, and one entry for each of yours that had SSH when this was written.

# Cluster: default
# Made by: kohakuriver --host 127.0.0.1 --port 18000 --proxy 127.0.0.1:18002 ssh config --write
# Tunnels are not resumable: the gateway is in a private network, and ssh gets the socket itself, which is fastest.

Host trainer.kohakuriver
    HostName 7323718749301768192.kohakuriver
    HostKeyAlias kohakuriver-7323718749301768192
    User root

Host notebook.kohakuriver
    HostName 7323718749301768193.kohakuriver
    HostKeyAlias kohakuriver-7323718749301768193
    User root

Host machine.kohakuriver
    HostName 7323718749301768194.kohakuriver
    HostKeyAlias kohakuriver-7323718749301768194
    User root

Host newcomer.kohakuriver
    HostName 7323718749301768195.kohakuriver
    HostKeyAlias kohakuriver-7323718749301768195
    User root

Host *.kohakuriver
    User root
    ProxyCommand /usr/bin/kohakuriver-proxy --fdpass --proxy 127.0.0.1:18002 --host-api 127.0.0.1:18000 --cluster default %h %p
    ProxyUseFdpass yes
    UserKnownHostsFile /home/me/.ssh/.kohakuriver_known_hosts
    CheckHostIP no
    HashKnownHosts no
    Port 22
    CanonicalizeHostname no
    HostKeyAlgorithms +ssh-ed25519
    PermitLocalCommand no
    ServerAliveInterval 30
    ServerAliveCountMax 3
    KnownHostsCommand /usr/bin/kohakuriver --host 127.0.0.1 --port 18000 ssh host-key --file /home/me/.ssh/.kohakuriver_known_hosts %H %t %K %h
    StrictHostKeyChecking accept-new
    SessionType default
    ForkAfterAuthentication no
    StdinNull no

Match originalhost *.kohakuriver
    HostName %h
    User root
    ProxyCommand /usr/bin/kohakuriver-proxy --fdpass --proxy 127.0.0.1:18002 --host-api 127.0.0.1:18000 --cluster default %h %p
    ProxyUseFdpass yes
    UserKnownHostsFile /home/me/.ssh/.kohakuriver_known_hosts
    CheckHostIP no
    HashKnownHosts no
    Port 22
    CanonicalizeHostname no
    HostKeyAlgorithms +ssh-ed25519
    PermitLocalCommand no
    ServerAliveInterval 30
    ServerAliveCountMax 3
    KnownHostsCommand /usr/bin/kohakuriver --host 127.0.0.1 --port 18000 ssh host-key --file /home/me/.ssh/.kohakuriver_known_hosts %H %t %K %h
    StrictHostKeyChecking accept-new
    SessionType default
    ForkAfterAuthentication no
    StdinNull no
$ kohakuriver ssh config --remove
2> nothing to change
$ kohakuriver ssh config --write
2> wrote /home/me/.ssh/.kohakuriver-openssh-8.7.conf
2> wrote /home/me/.ssh/kohakuriver.conf
2> wrote /home/me/.ssh/config
2> tunnels are not resumable: the gateway is in a private network, and ssh gets the socket itself, which is fastest
$ kohakuriver ssh config --write
2> nothing to change
$ kohakuriver ssh config --diff
2> nothing would change
$ cat .ssh/config
# Added by `kohakuriver ssh config --write`; `kohakuriver ssh config --remove` takes it out.
Include /home/me/.ssh/kohakuriver.conf
"#,
    );
    host.change(|state| state.vpses[0]["name"] = "teacher".into());
    shell.shows(
        r#"
$ kohakuriver ssh config --diff
--- /home/me/.ssh/kohakuriver.conf
+++ /home/me/.ssh/kohakuriver.conf
@@ -11,7 +11,7 @@
 # Made by: kohakuriver --host 127.0.0.1 --port 18000 --proxy 127.0.0.1:18002 ssh config --write
 # Tunnels are not resumable: the gateway is in a private network, and ssh gets the socket itself, which is fastest.

-Host trainer.kohakuriver
+Host teacher.kohakuriver
     HostName 7323718749301768192.kohakuriver
     HostKeyAlias kohakuriver-7323718749301768192
     User root
$ kohakuriver ssh config --remove
2> removed /home/me/.ssh/config
2> removed /home/me/.ssh/kohakuriver.conf
2> removed /home/me/.ssh/.kohakuriver-openssh-8.7.conf
$ kohakuriver ssh config --write --remove
2> kohakuriver: the argument '--write' cannot be used with '--remove'
2>   hint: see `kohakuriver ssh config --help`
[exit status 2]
$ kohakuriver ssh config --write --output no/such/folder/config
2> kohakuriver: cannot write no/such/folder/config
2>   caused by: the new content can't be stored; the file is unchanged
2>   caused by: No such file or directory (os error 2)
2>   hint: see what is wrong with `ls -ld no/such/folder/config`, and run this command again
[exit status 1]
"#,
    );
}

/// Its findings are in `doctor/`.
#[test]
fn doctor() {
    shell(&host()).shows(
        r#"
$ kohakuriver doctor --everything
2> kohakuriver: unexpected argument '--everything' found
2>   hint: see `kohakuriver doctor --help`
[exit status 2]
$ kohakuriver doctor 99999999999999999999
2> kohakuriver: `99999999999999999999` is not a task id: an id has at most 19 digits and is at most 9223372036854775807
2>   hint: list the VPSes with `kohakuriver vps list`
[exit status 2]
"#,
    );
}

#[test]
fn ssh_forget() {
    shell(&host()).shows(
        r#"
$ kohakuriver ssh forget trainer
2> there is no stored host key of VPS 7323718749301768192
$ mkdir -p .ssh && echo '7323718749301768192.kohakuriver ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKw=' >.ssh/.kohakuriver_known_hosts
$ kohakuriver ssh forget trainer
2> removed the host key of VPS 7323718749301768192; the next connection stores the new one
$ kohakuriver ssh forget
2> kohakuriver: the following required arguments were not provided: <VPS>
2>   hint: see `kohakuriver ssh forget --help`
[exit status 2]
"#,
    );
}
