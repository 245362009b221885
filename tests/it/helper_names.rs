//! Names that no DNS server knows: a module of the system's Name Service Switch answers for them, as mDNS does for
//! `.local`. A static helper can't load such a module.

use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::peers::{GREETING, greeter};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::HELPER;

/// A module that answers from a file. A helper that is not static loads it by itself; `contrib/test.sh TARGET` runs a
/// static one.
const MODULE: &str = "libnss_wrapper.so";

#[test]
fn a_name_that_only_a_module_of_the_system_knows() {
    let vps = greeter();
    let gateway = Gateway::before(vps.address.port());
    let home = Home::new();
    let hosts = home.write("hosts", "127.0.0.1 gpu-head.kohakuriver-test.local\n");
    let run = |name: &str| {
        let proxy = format!("{name}:{}", gateway.address.port());
        let run = Run::new(HELPER, &home).args(["--connect-timeout", "30", "--proxy", &proxy, ID]);
        run.env("LD_PRELOAD", MODULE).env("NSS_WRAPPER_HOSTS", &hosts).output()
    };
    run("gpu-head.kohakuriver-test.local").succeeds().prints(GREETING).says_nothing();
    run("gpu-tail.kohakuriver-test.local").check_fails().says(&["gpu-tail.kohakuriver-test.local"]);
}
