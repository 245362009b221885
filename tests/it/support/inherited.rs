//! The properties that the programs under test would inherit from the shell that runs the tests.

use std::sync::{Arc, Once};

use rustix::fs::Mode;
use rustix::process::umask;
use signal_hook::consts::{FORBIDDEN, SIGPIPE};

/// For bash, before it limits the open files of a program: closes what the shell that runs the tests left open.
pub(crate) const CLOSE_FILES: &str = "for fd in /proc/$$/fd/*; do fd=${fd##*/}; ((fd < 3)) || exec {fd}>&-; done";

/// Gives this process, and each program that it starts from now on, the usual umask and no ignored signals. A shell
/// ignores SIGINT for a job behind `&`, and nohup(1) ignores SIGHUP.
pub(crate) fn reset() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        umask(Mode::from_raw_mode(0o022));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        // The standard library gives programs the usual SIGPIPE itself.
        let numbers = (1..32).filter(|number| *number != SIGPIPE && !FORBIDDEN.contains(number));
        for number in numbers.filter(|number| ignored >> (number - 1) & 1 == 1) {
            // exec(2) passes on that a signal is ignored, but not a handler. This one keeps the tests running, too.
            signal_hook::flag::register(number, Arc::default()).unwrap();
        }
    });
}
