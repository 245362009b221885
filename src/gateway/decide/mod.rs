//! Whether a client gets its tunnel, and to which address: the Host's answers, the rules, the dial.

pub(super) mod attempt;
pub(super) mod dial;
pub(super) mod directory;
pub(super) mod inventory;
pub(super) mod networks;
pub(super) mod policy;
pub(super) mod resolve;
pub(super) mod rules;
