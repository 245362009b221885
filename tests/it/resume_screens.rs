//! A full-screen program over a connection that breaks at every key, beside the same program without a network.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::chaos::Cut;
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::rough::{By, Rough};
use crate::support::run::{DEADLINE, Run};
use crate::support::scene::destination;
use crate::support::tools::{sh_quote, tool};

const CUTS: usize = 100;
/// Both windows have this many columns and rows.
const SIZE: [&str; 4] = ["-x", "100", "-y", "30"];
/// Forward, half a page down, a line, the end, a line up, the start, a search, its next place.
const KEYS: [&str; 8] = ["f", "d", "j", "G", "k", "g", "/7 of\n", "n"];

/// A server of tmux(1) with windows of its own.
struct Screens<'h> {
    home: &'h Home,
}

impl Screens<'_> {
    fn tmux(&self, arguments: &[&str]) -> Run {
        let run = Run::new(tool("tmux"), self.home).env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
        run.args(["-f", "/dev/null", "-S"]).arg(self.home.join("screens")).args(arguments)
    }

    fn open(&self, name: &str, command: &str) {
        self.tmux(&[&["new-session", "-d", "-s", name], &SIZE[..], &[command]].concat()).output().succeeds();
    }

    fn types(&self, name: &str, keys: &str) {
        self.tmux(&["send-keys", "-l", "-t", name, keys]).output().succeeds();
    }

    fn screen(&self, name: &str) -> String {
        self.tmux(&["capture-pane", "-e", "-p", "-t", name]).output().succeeds().text()
    }

    /// Waits until both windows show the same, which is not `before`.
    #[track_caller]
    fn agree(&self, names: [&str; 2], before: &str) -> String {
        let since = Instant::now();
        loop {
            let [one, other] = names.map(|name| self.screen(name));
            if one == other && one != before {
                return one;
            }
            assert!(since.elapsed() < DEADLINE, "{}:\n{one}\n{}:\n{other}", names[0], names[1]);
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Screens<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).output();
    }
}

#[test]
fn a_hundred_cuts_leave_the_screen_as_it_is_without_them() {
    let _heavy = heavy();
    let way = Rough::new(By::Helper);
    let mut text = String::new();
    (1..=5_000).for_each(|n| writeln!(text, "{n} of 5000, {}", n * 7919 % 10_007).unwrap());
    let file = way.home.write("text", text);
    let less = format!("env LESS= LESSHISTFILE=- less {}", sh_quote(&file.display().to_string()));
    let remote = format!("{} -t {} {}", way.remote_shell(), destination(), sh_quote(&less));
    let screens = Screens { home: &way.home };
    screens.open("here", &less);
    screens.open("there", &remote);
    // Before the program has started, its window is empty.
    let mut screen = "\n".repeat(30);
    for number in 0..=CUTS {
        screen = screens.agree(["here", "there"], &screen);
        let keys = KEYS[number % KEYS.len()];
        screens.types("here", keys);
        screens.types("there", keys);
        way.chaos.cut(if number % 2 == 0 { Cut::Reset } else { Cut::End });
    }
    way.was_cut(2 * CUTS);
}
