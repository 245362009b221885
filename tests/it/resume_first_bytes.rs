//! A program that waits for the VPS's first bytes gets them, also where they come with the gateway's answer.

use std::io::{Read, Write};

use crate::support::gateway::{inventory, running};
use crate::support::home::Home;
use crate::support::peers::Peer;
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::{ID, tls_gateway};
use crate::support::tools::HELPER;

const BANNER: &[u8] = b"SSH-2.0-Test\r\n";

#[test]
fn over_tls_too() {
    // It speaks first, and waits for the client's end.
    let vps = Peer::serve(|mut stream| {
        stream.write_all(BANNER)?;
        let _ = stream.read_to_end(&mut Vec::new());
        Ok(())
    });
    let (_gateway, place, _authority) = tls_gateway(&inventory(&[running(ID, vps.address.port())]));
    let home = Home::new();
    // Both bytes are together often, and not always.
    for _ in 0..12 {
        let helper = Run::new(HELPER, &home).args(place.words()).args(["--resume", ID]).stdin_open().start();
        helper.wait_for("the banner", DEADLINE, |seen| (seen.stdout == BANNER).then_some(()));
        helper.finish().succeeds();
    }
    vps.finish();
}
