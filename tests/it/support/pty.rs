//! Pseudo-terminals.

use std::fs::File;
use std::process::Command;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The changes that a terminal makes to the bytes that go through it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Line {
    /// None.
    Raw,
    /// The changes for a shell: among other things, a line feed is written as CR and LF.
    Cooked,
}

/// A new terminal: the side of the program that shows it, and the side of the programs that run on it.
pub(crate) fn terminal(line: Line) -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    // Without NOCTTY it could become the controlling terminal of this process, whose end would then be a SIGHUP for it.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = File::from(open(&name, flags, Mode::empty()).unwrap());
    if line == Line::Raw {
        // The emulator of another processor lacks the call for that, and runs the system's own program.
        let stty = Command::new("stty").args(["raw", "-echo"]).stdin(theirs.try_clone().unwrap()).status();
        assert!(stty.unwrap().success());
    }
    (ours.into(), theirs)
}
