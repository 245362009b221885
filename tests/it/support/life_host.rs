//! A Host API that makes, stops and restarts VPSes, in the shapes that real Hosts answer in. Its VPSes are whatever
//! listens on a port.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex, RwLock, RwLockWriteGuard};
use std::time::Instant;

use serde_json::{Value, json};

use super::gateway::{NODE, NODE_DOWN, inventory};
use super::home::Home;
use super::peers::Peer;
use super::run::{DEADLINE, Run};
use super::scene::ID;
use super::tools::CLI;

/// The token of an operator, who may do everything here.
pub(crate) const OPERATOR: &str = "0123456789abcdef-operator";
/// The token of `user1`, who has the role of users.
pub(crate) const USER: &str = "0123456789abcdef-user";
/// The token of a user to whom each VPS with `user2` among its assignees is assigned.
pub(crate) const ASSIGNED: &str = "0123456789abcdef-assigned";
/// The token of a viewer.
pub(crate) const VIEWER: &str = "0123456789abcdef-viewer";
/// The token that the Host makes for a password.
pub(crate) const MADE: &str = "0123456789abcdef-made";
/// The operator's password.
pub(crate) const PASSWORD: &str = "operator-password";

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
    /// The first line and the headers, as they came.
    pub(crate) head: String,
}

type OnKey = Box<dyn Fn(&str) + Send>;

/// The Host's data and behaviour. A test may change this state at any time.
pub(crate) struct State {
    pub(crate) vpses: Vec<Value>,
    /// Whether it has users.
    pub(crate) auth: bool,
    /// The state of a new VPS, once for each time that its status is asked for; the last one stays.
    pub(crate) course: VecDeque<&'static str>,
    /// The port of a new VPS's sshd.
    pub(crate) port: u16,
    /// The answer to a request instead of the usual one. For status 0 the connection is closed without an answer.
    pub(crate) instead: Option<(&'static str, u16, Value)>,
    /// Whether requests that change something get no answer as long as the client waits for one.
    pub(crate) hangs: bool,
    /// How the path of the requests starts that wait at the gate.
    held: &'static str,
    pub(crate) requests: Vec<Request>,
    pub(crate) revoked: Vec<String>,
    /// Called with the key of a new VPS.
    pub(crate) on_key: Option<OnKey>,
}

pub(crate) struct LifeHost {
    pub(crate) peer: Peer,
    pub(crate) state: Arc<Mutex<State>>,
    gate: Arc<RwLock<()>>,
}

impl LifeHost {
    /// A Host without users and VPSes, whose new VPSes run at once with their sshd on `port`.
    pub(crate) fn start(port: u16) -> Self {
        let state = Arc::new(Mutex::new(State {
            vpses: Vec::new(),
            auth: false,
            course: VecDeque::from(["running"]),
            port,
            instead: None,
            hangs: false,
            held: "",
            requests: Vec::new(),
            revoked: Vec::new(),
            on_key: None,
        }));
        let gate = Arc::new(RwLock::new(()));
        let (shared, passage) = (Arc::clone(&state), Arc::clone(&gate));
        let peer = Peer::serve(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            let (mut first, mut length, mut token, mut session) = (String::new(), 0, String::new(), String::new());
            reader.read_line(&mut first)?;
            let mut head = first.clone();
            // The older Hosts' line protocol has no headers.
            while !first.starts_with("REQUEST_TUNNEL") {
                let mut line = String::new();
                if reader.read_line(&mut line)? <= 2 {
                    break;
                }
                head += &line;
                let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse()?,
                    "authorization" => token = value.strip_prefix("Bearer ").unwrap_or_default().to_owned(),
                    "cookie" => session = value.to_owned(),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let mut words = first.split(' ');
            let request = Request {
                method: words.next().unwrap_or_default().to_owned(),
                path: words.next().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or(Value::Null),
                head,
            };
            let (hangs, held) = {
                let mut state = shared.lock().unwrap();
                state.requests.push(request.clone());
                (state.hangs && request.method == "POST", request.path.starts_with(state.held))
            };
            if held {
                drop(passage.read());
            }
            if hangs {
                // Until the client has gone.
                let _ = reader.read(&mut [0]);
                return Ok(());
            }
            let (status, body) = shared.lock().unwrap().answer(&request, &token, &session);
            if status == 0 {
                return Ok(());
            }
            let cookie = if request.path == "/api/auth/login" && status == 200 {
                "set-cookie: kohakuriver_session=abcdef0123; HttpOnly; Max-Age=2592000; Path=/; SameSite=lax\r\n"
            } else {
                ""
            };
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{cookie}content-length: {}\r\n\
                 connection: close\r\n\r\n",
                body.len()
            );
            // A client may have had enough.
            let _ = stream.write_all((head + &body).as_bytes());
            Ok(())
        });
        Self { peer, state, gate }
    }

    /// A Host with this VPS.
    pub(crate) fn with(vps: Value) -> Self {
        let port = vps["ssh_port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
        let host = Self::start(port);
        host.change(|state| state.vpses.push(vps));
        host
    }

    /// The same with users.
    pub(crate) fn with_users(vps: Value) -> Self {
        let host = Self::with(vps);
        host.change(|state| state.auth = true);
        host
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// From now on requests for paths that start so get no answer, until what this gives back is dropped.
    pub(crate) fn hold(&self, path: &'static str) -> RwLockWriteGuard<'_, ()> {
        self.change(|state| state.held = path);
        self.gate.write().unwrap()
    }

    /// Waits for a request whose path starts like this.
    pub(crate) fn was_asked_for(&self, path: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.change(|state| state.requests.iter().any(|request| request.path.starts_with(path))) {
            assert!(Instant::now() < end, "nobody asks for {path}");
            std::thread::yield_now();
        }
    }

    /// The requests that change something, in order.
    pub(crate) fn changes(&self) -> Vec<Request> {
        self.change(|state| state.requests.iter().filter(|request| request.method != "GET").cloned().collect())
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.peer.address)
    }

    /// `kohakuriver`, on this Host.
    pub(crate) fn run(&self, home: &Home, args: &[&str]) -> Run {
        Run::new(CLI, home).on_host(self.peer.address.port()).args(args)
    }
}

/// A VPS as `/api/status` has it.
pub(crate) fn vps(status: &str, backend: &str, port: u16) -> Value {
    json!({
        "task_id": ID, "task_type": "vps", "name": "trainer", "status": status, "assigned_node": NODE,
        "ssh_port": port, "vps_backend": backend, "owner_username": "operator1", "error_message": null,
        "submitted_at": "2026-11-23T12:05:53.532229", "started_at": "2026-11-23T12:06:53.532229",
    })
}

fn detail(status: u16, text: &str) -> (u16, Value) {
    (status, json!({ "detail": text }))
}

/// Whether `vps` is in one of these states.
fn is(vps: &Value, states: &[&str]) -> bool {
    states.iter().any(|state| vps["status"] == *state)
}

fn stop(vps: &mut Value, id: &str) -> (u16, Value) {
    if !is(vps, &["pending", "assigning", "running", "paused"]) {
        return detail(409, &format!("VPS cannot be stopped (state: {})", vps["status"].as_str().unwrap()));
    }
    vps["status"] = "stopped".into();
    (202, json!({ "message": format!("VPS {id} stop requested. VPS marked as stopped.") }))
}

fn restart(vps: &mut Value, id: &str) -> (u16, Value) {
    if !is(vps, &["running", "paused", "failed"]) {
        let state = vps["status"].as_str().unwrap();
        let text = format!("VPS cannot be restarted (state: {state}). Must be running, paused, or failed.");
        return detail(409, &text);
    }
    match vps["assigned_node"].as_str() {
        None => detail(400, "VPS has no assigned node."),
        Some(NODE) => {
            (202, json!({ "message": format!("VPS {id} restart successful."), "task_id": id, "runner_response": {} }))
        }
        Some(node) => detail(503, &format!("Assigned node '{node}' is not online.")),
    }
}

fn command(vps: &mut Value, id: &str, verb: &str) -> (u16, Value) {
    let (from, to) = if verb == "pause" { ("running", "paused") } else { ("paused", "running") };
    if vps["status"] != from {
        let state = vps["status"].as_str().unwrap();
        return detail(400, &format!("Invalid command or task state: {verb} for {state}"));
    }
    let title = verb[..1].to_uppercase() + &verb[1..];
    match vps["assigned_node"].as_str() {
        None => detail(400, "Task has no assigned node."),
        Some(NODE) => {
            vps["status"] = to.into();
            (200, json!({ "message": format!("{title} for task {id}: {title} command sent successfully.") }))
        }
        // A success for the Host.
        Some(NODE_DOWN) => {
            (200, json!({ "message": format!("{title} for task {id}: Failed to send {verb} command.") }))
        }
        Some(_) => detail(400, "Assigned node not found."),
    }
}

impl State {
    fn answer(&mut self, request: &Request, token: &str, session: &str) -> (u16, Value) {
        if let Some((path, status, body)) = &self.instead
            && *path == request.path
        {
            return (*status, body.clone());
        }
        let (name, role) = match token {
            _ if !self.auth => ("_system", "admin"),
            token if self.revoked.iter().any(|revoked| revoked == token) => ("_anonymous", "anony"),
            OPERATOR | MADE => ("operator1", "operator"),
            USER => ("user1", "user"),
            ASSIGNED => ("user2", "user"),
            VIEWER => ("viewer1", "viewer"),
            _ if session == "kohakuriver_session=abcdef0123" => ("operator1", "operator"),
            _ => ("_anonymous", "anony"),
        };
        let Some(path) = request.path.strip_prefix("/api") else { return detail(404, "Not Found") };
        let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), words.as_slice()) {
            ("GET", ["nodes"]) => {
                let mut nodes = inventory(&[])["nodes"].clone();
                nodes[0]["last_heartbeat"] = "2026-11-23T12:08:53.532229".into();
                (200, nodes)
            }
            (method, ["auth", rest @ ..]) => self.accounts(method, rest, &request.body, (name, role), token),
            ("GET", ["status", id]) => match self.vpses.iter_mut().find(|vps| vps["task_id"] == *id) {
                None => detail(404, "Task not found."),
                Some(_) if role == "anony" => detail(403, "Anonymous users cannot view task details"),
                Some(vps) if role == "user" && vps["owner_username"] != name => {
                    detail(403, "Access denied to this task")
                }
                Some(vps) => {
                    if vps["status"] == "assigning" {
                        if self.course.len() > 1 {
                            self.course.pop_front();
                        }
                        vps["status"] = self.course[0].into();
                    }
                    (200, vps.clone())
                }
            },
            _ if role == "anony" => detail(401, "Not authenticated"),
            ("GET", ["vps"]) => (200, self.vpses.clone().into()),
            ("GET", ["vps", "status"]) => {
                let up = |vps: &&Value| vps["status"] != "stopped";
                (200, self.vpses.iter().filter(up).cloned().collect())
            }
            ("GET", ["vps", "my"]) if role == "viewer" => detail(403, "Insufficient permissions. Required role: user"),
            ("GET", ["vps", "my"]) => {
                let mine = |vps: &&Value| vps["assignees"][0]["username"] == name;
                (200, self.vpses.iter().filter(mine).cloned().collect())
            }
            ("POST", ["vps", ..]) if role != "operator" && role != "admin" => {
                detail(403, "Insufficient permissions. Required role: operator")
            }
            ("POST", ["vps", "create"]) => self.create(&request.body),
            ("POST", ["vps", "stop", id]) => self.act(id, "VPS not found.", stop),
            ("POST", ["vps", "restart", id]) => self.act(id, "VPS not found.", restart),
            ("POST", ["command", ..]) if role == "viewer" => {
                detail(403, "Insufficient permissions. Required role: user")
            }
            ("POST", ["command", id, verb]) => self.act(id, "Task not found.", |vps, id| {
                if role == "user" && vps["owner_username"] != name {
                    return detail(403, "Access denied to this task");
                }
                command(vps, id, verb)
            }),
            _ => detail(404, "Not Found"),
        }
    }

    fn act(&mut self, id: &str, missing: &str, act: impl FnOnce(&mut Value, &str) -> (u16, Value)) -> (u16, Value) {
        match self.vpses.iter_mut().find(|vps| vps["task_id"] == *id) {
            Some(vps) => act(vps, id),
            None => detail(404, missing),
        }
    }

    fn create(&mut self, body: &Value) -> (u16, Value) {
        let node = body["target_hostname"].as_str().unwrap_or(NODE);
        if node != NODE {
            return detail(503, "No suitable node available for this VPS.");
        }
        if let (Some(key), Some(on_key)) = (body["ssh_public_key"].as_str(), &self.on_key) {
            on_key(key);
        }
        let backend = body["vps_backend"].as_str().unwrap();
        let mut made = vps("assigning", backend, self.port);
        made["name"] = body["name"].clone();
        if body["ssh_key_mode"] == "disabled" {
            made["ssh_port"] = 0.into();
        }
        let answer = json!({
            "message": "VPS created successfully.", "task_id": ID, "vps_backend": backend,
            "ssh_key_mode": body["ssh_key_mode"], "ssh_port": 2224,
            "assigned_node": { "hostname": NODE, "url": "http://127.0.0.1:8001" },
            "runner_response": {
                "success": true, "ssh_port": made["ssh_port"], "container_name": format!("kohakuriver-vps-{ID}"),
            },
        });
        // All new VPSes have one id.
        self.vpses.retain(|vps| vps["task_id"] != ID);
        self.vpses.push(made);
        (200, answer)
    }

    fn accounts(
        &mut self,
        method: &str,
        words: &[&str],
        body: &Value,
        (name, role): (&str, &str),
        token: &str,
    ) -> (u16, Value) {
        let user = |name: &str, role: &str| {
            json!({ "id": 2, "username": name, "display_name": null, "role": role, "is_active": true,
                    "created_at": "2026-11-23T12:10:56.066649" })
        };
        match (method, words) {
            _ if !self.auth => detail(503, "Authentication is not enabled on this server"),
            ("GET", ["me"]) => (200, user(name, role)),
            ("POST", ["login"]) if body["username"] == "disabled1" => detail(403, "Account is disabled"),
            ("POST", ["login"]) if body["username"] == "operator1" && body["password"] == PASSWORD => {
                (200, json!({ "message": "Login successful", "user": user("operator1", "operator") }))
            }
            ("POST", ["login"]) => detail(401, "Invalid username or password"),
            ("POST", ["tokens", "create"]) => {
                let token = if role == "operator" { MADE } else { "useless" };
                (200, json!({ "id": 7, "name": body["name"], "token": token, "created_at": "2026-11-23T12:12:45" }))
            }
            ("DELETE", ["tokens", "7"]) => {
                self.revoked.push(token.to_owned());
                (200, json!({ "message": "Token 'cli' revoked" }))
            }
            ("DELETE", ["tokens", _]) => detail(404, "Token not found"),
            _ => detail(404, "Not Found"),
        }
    }
}
