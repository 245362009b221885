//! A file that flags make needless costs nothing: the helper does not even open it.

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::sync::mpsc;

use kohakuriver_proxy::secret::Token;
use kohakuriver_proxy::tokens::hash;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::json;

use crate::support::far_end::{BANNER, LINE, YES};
use crate::support::home::Home;
use crate::support::peers::{Peer, http_server, read_head};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned};

/// A home in which these files can't be read: they are FIFOs without a writer, and opening one blocks forever.
fn with_fifos(names: &[&str]) -> Home {
    let home = Home::new();
    for name in names {
        let path = home.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
    }
    home
}

const CONFIG: &str = ".config/kohakuriver/config.json";
const AUTH: &str = ".kohakuriver/auth.json";

#[track_caller]
fn opens(home: &Home, proxy: &Peer, args: &[&str]) {
    let mut spawned = Spawned::start(Ends::Pipes, home, proxy.address, args);
    let mut stdout = spawned.stdout.take().unwrap();
    // First, since this one gives up on a helper that is held up.
    spawned.ends_with(0, "");
    let mut bytes = Vec::new();
    stdout.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, BANNER);
}

/// A CONNECT proxy with an sshd behind it.
fn proxy() -> Peer {
    Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        stream.write_all(&[YES, BANNER].concat())?;
        Ok(())
    })
}

/// An entry of ssh_config names all that a login needs, and tokens.json tells whose the token is.
#[test]
fn an_entry_makes_the_configuration_file_needless() {
    let (proxy, home) = (proxy(), Home::new());
    let token = Token::new("0123456789abcdef").unwrap();
    home.write(CONFIG, "{}");
    home.secret(AUTH, &json!({ "token": token.expose() }).to_string());
    let bound = json!({ "auth_json": { "sha256": hash(&token), "host_api": "http://127.0.0.1:1" } });
    home.secret(".kohakuriver/tokens.json", &bound.to_string());
    let watch = inotify::init(CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, home.join(CONFIG), WatchFlags::OPEN).unwrap();
    let was_opened = || {
        let mut buffer = [MaybeUninit::uninit(); 512];
        inotify::Reader::new(&watch, &mut buffer).next().is_ok()
    };
    let entry = ["--host-api", "127.0.0.1:1", "--cluster", "default", ID];
    opens(&home, &proxy, &entry);
    assert!(!was_opened());
    // For a proxy alone, only the file tells the cluster.
    opens(&home, &proxy, &[ID]);
    assert!(was_opened());
}

#[test]
fn a_configuration_file_without_a_say_is_not_opened() {
    let proxy = proxy();
    let api = http_server(|_| {
        (200, "application/json", format!(r#"[{{"task_id":"{ID}","name":"trainer","status":"running"}}]"#))
    });
    let home = with_fifos(&[CONFIG]);
    opens(&home, &proxy, &["example.org"]);
    opens(&home, &proxy, &["--host-api", &api.address.to_string(), "trainer"]);
}

/// `resume` of the configuration file, unless a flag says otherwise. ssh that waits for a socket gets it by default.
#[test]
fn tunnels_are_resumable_as_flag_and_file_say() {
    let (asks, asked) = mpsc::channel();
    let proxy = Peer::serve(move |mut stream| {
        asks.send(read_head(&mut stream)?.contains("KohakuRiver-Resume")).unwrap();
        stream.write_all(&[YES, BANNER].concat())?;
        Ok(())
    });
    for (ends, file, flag, is_asked) in [
        (Ends::Pipes, "auto", None, true),
        (Ends::Pipes, "off", None, false),
        (Ends::Pipes, "off", Some("--resume"), true),
        (Ends::Pipes, "on", Some("--no-resume"), false),
        (Ends::Socketpair, "auto", None, false),
        (Ends::Socketpair, "on", None, true),
        (Ends::Socketpair, "on", Some("--no-resume"), false),
        (Ends::Socketpair, "auto", Some("--resume"), true),
    ] {
        let home = Home::new();
        home.write(CONFIG, json!({ "resume": file }).to_string());
        let args: Vec<&str> = flag.into_iter().chain(["--fdpass", ID]).collect();
        let spawned = Spawned::start(ends, &home, proxy.address, &args);
        assert_eq!(asked.recv_timeout(DEADLINE).unwrap(), is_asked, "{ends:?}, {file}, {flag:?}");
        drop(spawned);
    }
}

#[test]
fn a_token_is_not_read_for_a_protocol_that_has_no_place_for_it() {
    let host = Peer::serve(|mut stream| {
        let mut request = format!("REQUEST_TUNNEL {ID}\n").into_bytes();
        stream.read_exact(&mut request)?;
        stream.write_all(&[b"SUCCESS\n", BANNER].concat())?;
        Ok(())
    });
    opens(&with_fifos(&[CONFIG, AUTH]), &host, &[&LINE[..], &[ID]].concat());
}
