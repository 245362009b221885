//! This process.

/// The name of this machine.
pub fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// Whether [`parent_id`] can tell.
pub const SEES_PARENT: bool = false;

/// The id of the process that started this one; `0`, since it can't be seen.
pub fn parent_id() -> u32 {
    0
}
