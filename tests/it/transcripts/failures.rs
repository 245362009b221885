//! Failures that many commands have in common.

use super::{host, shell};

#[test]
fn a_host_that_can_not_be_reached() {
    let host = host();
    let shell = shell(&host);
    for (command, what, status) in [
        ("echo $OPERATOR | kohakuriver auth login --token-stdin", "cannot log in", 1),
        ("kohakuriver auth status", "cannot ask the Host for your user name", 1),
        ("kohakuriver vps connect trainer", "cannot look up VPS trainer", 255),
        ("kohakuriver ssh config", "cannot list your VPSes", 1),
        ("kohakuriver ssh forget trainer", "cannot look up VPS trainer", 1),
        ("kohakuriver vps list", "cannot list the VPSes", 1),
        ("kohakuriver vps status trainer", "cannot look up VPS trainer", 1),
        ("kohakuriver node list", "cannot list the Runners", 1),
        ("kohakuriver vps create", "cannot create the VPS", 1),
        ("kohakuriver vps stop trainer --yes", "cannot look up VPS trainer", 1),
        ("kohakuriver vps restart machine --yes", "cannot look up VPS machine", 1),
        ("kohakuriver vps pause trainer", "cannot look up VPS trainer", 1),
        ("kohakuriver vps resume trainer", "cannot look up VPS trainer", 1),
    ] {
        shell.shows(&format!(
            "$ {command} -P 1\n\
             2> kohakuriver: {what}\n\
             2>   caused by: the Host API at http://127.0.0.1:1 can't be reached\n\
             2>   caused by: Connection refused (os error 111)\n\
             2>   hint: check that the Host runs; `kohakuriver config show` shows where its address is set\n\
             [exit status {status}]\n"
        ));
    }
}

#[test]
fn a_vps_that_there_is_not() {
    let host = host();
    let shell = shell(&host);
    for (command, vps, status) in [
        ("kohakuriver vps connect nothing", "nothing", 255),
        ("kohakuriver vps connect 42", "42", 255),
        ("kohakuriver ssh forget nothing", "nothing", 1),
        ("kohakuriver vps status nothing", "nothing", 1),
        ("kohakuriver vps status 42", "42", 1),
        ("kohakuriver vps status 'no name'", "no name", 1),
        ("kohakuriver vps stop nothing --yes", "nothing", 1),
        ("kohakuriver vps restart nothing --yes", "nothing", 1),
        ("kohakuriver vps restart machine --wait never", "never", 1),
        ("kohakuriver vps pause nothing", "nothing", 1),
        ("kohakuriver vps resume nothing", "nothing", 1),
    ] {
        shell.shows(&format!(
            "$ {command}\n\
             2> kohakuriver: there is no VPS {vps}\n\
             2>   caused by: the Host at http://127.0.0.1:18000 says so\n\
             2>   hint: see which there are with `kohakuriver vps list --all`\n\
             [exit status {status}]\n"
        ));
    }
}
