//! A real older Host, `hakuriver` 0.3.0 from PyPI, with its own API and its own SSH proxy.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::gateway::{NODE, NODE_DOWN};
use super::home::Home;
use super::peers::{Peer, read_head};
use super::run::{DEADLINE, Process, Run};
use super::tools::{older_host_python, tool};

/// How often a start is tried: between finding free ports and taking them, somebody else may take one.
const TRIES: usize = 5;

pub(crate) struct OlderHost {
    /// Its API, which has no `/api` in front of its paths.
    pub(crate) api: SocketAddr,
    /// Its SSH proxy.
    pub(crate) proxy: SocketAddr,
    pub(crate) process: Process,
    /// Its folder, with its database `host.db` in it.
    pub(crate) home: Home,
}

impl OlderHost {
    /// Starts it on a database that holds two Runners and these tasks.
    pub(crate) fn start(tasks: &[Value]) -> Self {
        let seed = json!({
            "nodes": [
                { "hostname": NODE, "url": "http://127.0.0.1:8001", "status": "online" },
                { "hostname": NODE_DOWN, "url": "http://127.0.0.1:8001", "status": "offline" },
            ],
            "tasks": tasks,
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/older_host.py");
        let mut log = String::new();
        for _ in 0..TRIES {
            let home = Home::new();
            let run = Run::new(older_host_python(), &home).arg(&script).arg(home.path()).arg(seed.to_string());
            // Its stdin stays open as long as this process lives, and it ends with it.
            let process = run.stdin_open().deadline(600).start();
            let ready = process.try_wait_for(DEADLINE, |seen| {
                let text = String::from_utf8_lossy(&seen.stdout).into_owned();
                let ports = text.lines().find_map(|line| line.strip_prefix("ready "))?.split_once(' ')?;
                Some((ports.0.parse::<u16>().ok()?, ports.1.parse::<u16>().ok()?))
            });
            match ready {
                Ok((api, proxy)) => {
                    let at = |port| (Ipv4Addr::LOCALHOST, port).into();
                    return Self { api: at(api), proxy: at(proxy), process, home };
                }
                Err(why) => log = format!("{why}: {}", process.finish()),
            }
        }
        panic!("the older Host does not start: {log}");
    }

    /// Its log up to now: all that it logs about earlier connections stands before the answer to one more.
    pub(crate) fn log(&self) -> String {
        let mut last = TcpStream::connect(self.proxy).unwrap();
        last.write_all(b"REQUEST_TUNNEL 1\n").unwrap();
        last.read_to_end(&mut Vec::new()).unwrap();
        self.process.wait_for("the last connection", DEADLINE, |seen| {
            let log = String::from_utf8_lossy(&seen.stdout).into_owned();
            log.contains("Task 1 not found.").then_some(log)
        })
    }

    /// Takes the place of one of its Runners, which accepts every request. Returns the Runner and its last request.
    pub(crate) fn runner(&self) -> (Peer, Arc<Mutex<Value>>) {
        let asked = Arc::new(Mutex::new(Value::Null));
        let seen = Arc::clone(&asked);
        let peer = Peer::serve(move |mut stream| {
            let head = read_head(&mut stream)?.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            let mut body = vec![0; length.parse()?];
            stream.read_exact(&mut body)?;
            *seen.lock().unwrap() = serde_json::from_slice(&body)?;
            let body = json!({ "message": "VPS created", "ssh_port": 22032 }).to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes())?;
            Ok(())
        });
        let info = json!({
            "hostname": NODE, "runner_url": format!("http://{}", peer.address), "total_cores": 8,
            "total_ram_bytes": 1_u64 << 36, "numa_topology": null, "gpu_info": [],
        });
        let register = Command::new(tool("curl"))
            .args(["-sSf", "-H", "content-type: application/json", "-d", &info.to_string()])
            .arg(format!("http://{}/register", self.api))
            .output()
            .unwrap();
        assert!(register.status.success(), "{register:?}");
        (peer, asked)
    }
}

/// A task of the older Host's database.
pub(crate) fn task(id: &str, status: &str, node: Option<&str>, port: Option<u16>) -> Value {
    json!({ "task_id": id, "task_type": "vps", "status": status, "assigned_node": node, "ssh_port": port })
}
