//! The names of this package's programs, as messages show them and PATH lists them.

/// The user's command, which is this program.
pub(crate) const PROGRAM: &str = "kohakuriver";

/// The programs that this one prints completions for.
pub(crate) const COMPLETED: &[&str] = &[
    PROGRAM,
    PROXY_PROGRAM,
    #[cfg(feature = "gateway")]
    "kohakuriver-gateway",
];

/// The ProxyCommand helper, which carries ssh's bytes to the gateway.
pub(crate) const PROXY_PROGRAM: &str = "kohakuriver-proxy";
