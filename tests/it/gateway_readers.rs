//! Readers of the Host API of an inventory that don't read: what they were answered stays with the gateway.

use std::fs;
use std::io::Read;
use std::net::TcpStream;

use serde_json::Value;

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::watched::send;

/// The Host API's lists of so many are longer than what the kernel keeps of a connection.
const VPSES: u64 = 12_000;
/// Readers that the gateway lets wait beside each other.
const READERS: usize = 60;
/// The most memory that a connection may take, in KiB.
const OF_A_READER: u64 = 64;

fn ask(gateway: &Gateway, path: &str) -> TcpStream {
    send(gateway.api(), format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// A connection that has read one byte of the answer: the gateway has begun to write it.
fn reader(gateway: &Gateway, path: &str) -> TcpStream {
    let mut stream = ask(gateway, path);
    rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 4096).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream
}

/// The memory of the gateway's process, in KiB.
fn memory(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn readers_that_do_not_read_share_one_answer() {
    let vps: Vec<Value> = (1..=VPSES).map(|id| running(&id.to_string(), 22)).collect();
    let gateway = Gateway::with_inventory(&inventory(&vps));
    for path in ["/api/vps", "/api/vps/status"] {
        let first = reader(&gateway, path);
        let with_one = memory(&gateway);
        let others: Vec<_> = (1..READERS).map(|_| reader(&gateway, path)).collect();
        let with_all = memory(&gateway);
        let more = with_all.saturating_sub(with_one);
        assert!(more < READERS as u64 * OF_A_READER, "{path}: {more} KiB more for {READERS} readers");
        // One that reads gets all of it, beside them.
        let mut bytes = Vec::new();
        ask(&gateway, path).read_to_end(&mut bytes).unwrap();
        assert!(bytes.ends_with(b"}]"), "{path}: {} bytes", bytes.len());
        drop((first, others));
    }
}
