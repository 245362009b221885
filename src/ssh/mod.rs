//! Our side of the system's ssh: the words of its command line and of its configuration, quoted for each program that
//! reads them on the way, and the host keys that it checks.
//!
//! | module | what |
//! |---|---|
//! | [`quote`], [`options`], [`command`], [`resume`] | the words, pure |
//! | [`stanzas`], [`sections`], [`labels`], [`ends`], [`spellings`], [`own_files`], [`mod@include`] | our configuration files, and our one line in the user's file, pure |
//! | [`in_force`] | the lines of the user's configuration that apply to a host, pure |
//! | [`user_file`] | replaces a file that belongs to the user |
//! | [`known_hosts`] | the host keys of VPSes; runs `ssh-keygen` |
//! | [`keys`] | which private key a VPS gets |
//! | [`authorized_key`] | a public key that is sent to a Host |
//!
//! The callers run ssh.

pub mod authorized_key;
pub mod command;
pub mod ends;
pub mod in_force;
pub mod include;
pub mod keys;
pub mod known_hosts;
pub mod labels;
pub mod options;
pub mod own_files;
pub mod quote;
pub mod resume;
pub mod sections;
pub mod spellings;
pub mod stanzas;
pub mod user_file;
