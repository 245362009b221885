//! The output of commands to a terminal or a pipe, and their input from a person.

pub(crate) mod ask;
pub(crate) mod diff;
pub(crate) mod interrupt;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod ui;
