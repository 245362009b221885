//! Debian's Chromium, without a window, driven through its ChromeDriver (WebDriver, W3C).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::home::Home;
use super::run::{DEADLINE, Process, Run};
use super::tools::{clients, tool};

/// The name of an element in WebDriver's answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The time between two looks at a page: it tells nobody that it has changed.
const LOOK: Duration = Duration::from_millis(30);

pub(crate) const TAB: char = '\u{e004}';
pub(crate) const ENTER: char = '\u{e007}';
pub(crate) const ESCAPE: char = '\u{e00c}';

/// The pages that others may not have: those of a browser are one test's at a time.
pub(crate) struct Shared(Arc<Mutex<Browser>>);

/// A browser with one window. It ends with this.
pub(crate) struct Browser {
    port: u16,
    session: String,
    _driver: Process,
    _home: Home,
}

impl Shared {
    /// The browser that all tests share while they run. The last one ends it.
    pub(crate) fn browser() -> Self {
        static SHARED: Mutex<Weak<Mutex<Browser>>> = Mutex::new(Weak::new());
        let mut slot = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(browser) = slot.upgrade() {
            return Self(browser);
        }
        let browser = Arc::new(Mutex::new(Browser::start()));
        *slot = Arc::downgrade(&browser);
        Self(browser)
    }

    /// Waits until no other test has it, and empties its window.
    pub(crate) fn take(&self) -> MutexGuard<'_, Browser> {
        let browser = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A test that has failed leaves windows behind.
        let windows = browser.ask("GET", "/window/handles", &Value::Null);
        let (first, others) = windows.as_array().unwrap().split_first().unwrap();
        browser.ask("POST", "/window", &json!({ "handle": first }));
        others.iter().for_each(|window| browser.closes(window.as_str().unwrap()));
        browser.open("about:blank");
        browser.tell("Emulation.setScriptExecutionDisabled", json!({ "value": false }));
        browser.tell("Emulation.clearDeviceMetricsOverride", json!({}));
        browser.tell("Emulation.setEmulatedMedia", json!({}));
        browser.log("browser");
        browser.log("performance");
        browser
    }
}

impl Browser {
    fn start() -> Self {
        let home = Home::new();
        let driver = Run::new(tool("chromedriver"), &home).arg("--port=0").deadline(600).start();
        let port = driver.wait_for("the port of ChromeDriver", DEADLINE, |seen| {
            let text = String::from_utf8_lossy(&seen.stdout).into_owned();
            let (_, rest) = text.split_once("started successfully on port ")?;
            rest.split_once('.')?.0.parse().ok()
        });
        let folder = format!("--user-data-dir={}", home.join("browser").display());
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
            &folder,
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": flags, "binary": tool("chromium") },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let mut browser = Self { port, session: String::new(), _driver: driver, _home: home };
        let started = browser.ask("POST", "/session", &wanted);
        browser.session = format!("/session/{}", started["sessionId"].as_str().unwrap());
        browser
    }

    /// Asks the driver, and fails the test if it can't do that.
    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let path = if path.starts_with("/session") { path.to_owned() } else { format!("{}{path}", self.session) };
        let answer = self.try_ask(method, &path, body).unwrap();
        let value = answer["value"].clone();
        assert!(value["error"].is_null(), "{method} {path}: {}: {}", value["error"], value["message"]);
        value
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let head = "Host: localhost\r\nContent-Type: application/json\r\nConnection: close";
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = Vec::new();
        // It may leave the connection open behind an answer of this length.
        let mut piece = [0; 64 * 1024];
        loop {
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length = head
                    .to_lowercase()
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
                if rest.len() >= length.unwrap_or(usize::MAX) {
                    return Ok(serde_json::from_str(rest)?);
                }
            }
            match stream.read(&mut piece) {
                Ok(0) => return Err(std::io::Error::other(text.into_owned())),
                Ok(read) => answer.extend_from_slice(&piece[..read]),
                // Another test of this process has sent it a signal.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    /// The value of this expression in the page.
    #[track_caller]
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({ "script": format!("return {expression}"), "args": [] }))
    }

    /// The text of the first element that `selector` finds; empty without one.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({})?.textContent ?? ''", json!(selector)));
        text.as_str().unwrap().to_owned()
    }

    /// Waits until this expression is true in the page.
    #[track_caller]
    pub(crate) fn awaits(&self, expression: &str) {
        let end = Instant::now() + DEADLINE;
        while self.value(expression) != json!(true) {
            let page = || self.value("document.body.innerText");
            assert!(
                Instant::now() < end,
                "`{expression}` is not true in time, but {}:\n{}",
                self.value(expression),
                page().as_str().unwrap()
            );
            thread::sleep(LOOK);
        }
    }

    /// Types these keys.
    #[track_caller]
    pub(crate) fn types(&self, keys: impl IntoIterator<Item = char>) {
        let keys = keys
            .into_iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() })));
        let keys: Vec<Value> = keys.collect();
        self.ask("POST", "/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] }));
    }

    /// Clicks the first element that `selector` finds, as a person does.
    #[track_caller]
    pub(crate) fn clicks(&self, selector: &str) {
        let found = self.ask("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        self.ask("POST", &format!("/element/{}/click", found[ELEMENT].as_str().unwrap()), &json!({}));
    }

    /// Gives Chromium an order of the DevTools protocol.
    #[track_caller]
    pub(crate) fn tell(&self, order: &str, params: Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", &json!({ "cmd": order, "params": params }))
    }

    /// A window of this width, in light or dark.
    #[track_caller]
    pub(crate) fn looks(&self, width: u32, scheme: &str) {
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.tell("Emulation.setDeviceMetricsOverride", size);
        self.tell(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
    }

    /// Opens another window, with this address. The first window stays the one that is driven.
    #[track_caller]
    pub(crate) fn opens_beside(&self, url: &str) -> String {
        let first = self.ask("GET", "/window", &Value::Null);
        let new = self.ask("POST", "/window/new", &json!({ "type": "window" }))["handle"].as_str().unwrap().to_owned();
        self.ask("POST", "/window", &json!({ "handle": new }));
        self.open(url);
        self.ask("POST", "/window", &json!({ "handle": first }));
        new
    }

    /// The result of `look` in another window.
    #[track_caller]
    pub(crate) fn in_window<T>(&self, window: &str, look: impl FnOnce(&Self) -> T) -> T {
        let first = self.ask("GET", "/window", &Value::Null);
        self.ask("POST", "/window", &json!({ "handle": window }));
        let seen = look(self);
        self.ask("POST", "/window", &json!({ "handle": first }));
        seen
    }

    #[track_caller]
    pub(crate) fn closes(&self, window: &str) {
        let first = self.ask("GET", "/window", &Value::Null);
        self.ask("POST", "/window", &json!({ "handle": window }));
        self.ask("DELETE", "/window", &Value::Null);
        self.ask("POST", "/window", &json!({ "handle": first }));
    }

    /// The entries of this log since the last look at it.
    #[track_caller]
    fn log(&self, kind: &str) -> Vec<Value> {
        self.ask("POST", "/se/log", &json!({ "type": kind })).as_array().unwrap().clone()
    }

    /// Fails the test if the page had an error, broke its Content-Security-Policy, or asked another server.
    #[track_caller]
    pub(crate) fn had_no_fault_and_asked_only(&self, base: &str) {
        let said = self.log("browser");
        assert!(said.is_empty(), "{said:#?}");
        let mut asked = 0;
        for entry in self.log("performance") {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let url = message["message"]["params"]["request"]["url"].as_str().unwrap_or(base);
            assert!(
                url.starts_with(base) || url.starts_with("data:") || url.starts_with("about:"),
                "it asked for {url}"
            );
            asked += usize::from(message["message"]["method"] == "Network.requestWillBeSent");
        }
        assert!(asked > 0, "no request was seen");
    }

    /// Fails the test if axe-core finds something that keeps somebody from using the page (WCAG, and best practices).
    #[track_caller]
    pub(crate) fn is_accessible(&self) {
        let axe = std::fs::read_to_string(clients("node/node_modules/axe-core/axe.min.js")).unwrap();
        let script =
            format!("{axe}; axe.run().then((found) => arguments[0](found), (error) => arguments[0](String(error)))");
        let found = self.ask("POST", "/execute/async", &json!({ "script": script, "args": [] }));
        let passed = found["passes"].as_array().unwrap_or_else(|| panic!("{found}")).len();
        assert!(passed > 15, "axe-core has looked at {passed} things only");
        let what = |one: &Value| format!("{}: {}\n{:#}", one["id"], one["help"], one["nodes"]);
        let wrong: Vec<_> = found["violations"].as_array().unwrap().iter().map(what).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It runs in a group of its own, so the driver has to end it.
        let _ = self.try_ask("DELETE", &self.session, &Value::Null);
    }
}
