//! Our helper, as it is measured: the one that cargo has built, or one that the command line names.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

use super::tools::HELPER;

static NAMED: OnceLock<PathBuf> = OnceLock::new();

/// The program.
pub(crate) fn helper() -> &'static Path {
    NAMED.get().map_or(Path::new(HELPER), PathBuf::as_path)
}

/// Measures this one instead, as `contrib/build.sh` has made it.
#[allow(dead_code, reason = "the gateway's benchmark always takes cargo's")]
pub(crate) fn measure_instead(path: &str) -> Result<()> {
    let path = std::fs::canonicalize(path).with_context(|| format!("no helper at {path}"))?;
    let _ = NAMED.set(path);
    Ok(())
}
