//! Code that several verbs of `kohakuriver vps` use.

pub(crate) mod change;
pub(crate) mod choose;
pub(crate) mod login;
pub(crate) mod new_key;
pub(crate) mod order_flags;
pub(crate) mod passwordless;
pub(crate) mod recreated;
pub(crate) mod session_source;
pub(crate) mod session_table;
pub(crate) mod several;
pub(crate) mod ssh_words;
pub(crate) mod wait;
pub(crate) mod watch;
