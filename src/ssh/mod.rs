//! What we say to the system's ssh: the words of its command line, quoted for everyone who reads them on the way.
//!
//! [`quote`] and [`command`] are pure, text to text. [`keys`] looks at files and starts nothing; running ssh is left
//! to whoever asks.

pub mod command;
pub mod keys;
pub mod quote;
