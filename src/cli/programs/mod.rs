//! Other programs that this one runs or names: ssh, the helper, and the next `kohakuriver` on PATH.

pub(crate) mod host_keys;
pub(crate) mod meant;
pub(crate) mod names;
pub(crate) mod next;
pub(crate) mod other;
pub(crate) mod program;
pub(crate) mod route;
pub(crate) mod search_path;
pub(crate) mod shell;
