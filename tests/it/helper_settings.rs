//! What flags make needless costs nothing: it is not even opened.

use std::io::{Read, Write};

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::support::far_end::{BANNER, LINE, YES};
use crate::support::home::Home;
use crate::support::peers::{Peer, http_server, read_head};
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned};

/// A home in which these files can't be read: they are FIFOs without a writer, and opening one blocks for ever.
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

#[test]
fn a_configuration_file_without_a_say_is_not_opened() {
    let proxy = Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        stream.write_all(&[YES, BANNER].concat())?;
        Ok(())
    });
    let api = http_server(|_| {
        (200, "application/json", format!(r#"[{{"task_id":"{ID}","name":"trainer","status":"running"}}]"#))
    });
    let home = with_fifos(&[CONFIG]);
    opens(&home, &proxy, &[ID]);
    opens(&home, &proxy, &["example.org"]);
    opens(&home, &proxy, &["--host-api", &api.address.to_string(), "trainer"]);
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
