//! A VPS in a state without logins, and what can be done about it by whom.

use crate::status::VpsStatus;

/// The rights over a VPS that a Host gives the reader of a hint. Each includes the rights of those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rights {
    /// Nothing: the reader is not logged in to the Host.
    Nothing,
    /// Look at it: a viewer.
    Look,
    /// Log in to it: a user, to whom it is assigned.
    LogIn,
    /// Log in to it, and nobody may do more: a stand-alone gateway's API changes nothing.
    StandAlone,
    /// Pause and resume it: its owner.
    Own,
    /// Everything: an operator, an admin, or everybody on a Host without users.
    All,
}

/// The means to bring back a VPS that has failed or is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rescue {
    /// Unknown: there may be means or none.
    Unknown,
    /// Its Runner, which is online.
    Runner,
    /// Its Runner, once that is online again.
    AbsentRunner,
    /// Nothing: it has no Runner, the Host knows no Runner of this name, or the Host can't restart anything.
    Nothing,
}

/// The state of a VPS that nobody can log in to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// The Host's word for it.
    pub status: VpsStatus,
    /// The Host's own reason, or how far the start is. Printable and short.
    pub message: Option<String>,
    /// The reader's rights, if known.
    pub rights: Option<Rights>,
    /// The means to bring the VPS back.
    pub rescue: Rescue,
}

/// A state of which nothing else is known.
impl From<VpsStatus> for State {
    fn from(status: VpsStatus) -> Self {
        Self { status, message: None, rights: None, rescue: Rescue::Unknown }
    }
}
