//! Decides whether a client gets its tunnel, and to which address: lookup, rules, dial.

pub(super) mod attempt;
pub(super) mod dial;
pub(super) mod directory;
pub(super) mod inventory;
pub(super) mod networks;
pub(super) mod policy;
pub(super) mod resolve;
pub(super) mod rules;
