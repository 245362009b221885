//! Links the unwinder into the programs, where the compiler's own copy can be had.
//!
//! The helper starts anew for every connection. A shared library less to find, map and relocate is a tenth of the time
//! it takes to start. Where there is no such copy, the programs need the system's `libgcc_s`, as Rust's usually do.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=contrib/link.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    if let Some(folder) = folder() {
        println!("cargo::rustc-link-search=native={}", folder.display());
        // In front of the standard library's, so that nothing is left to be taken from the shared one.
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}

/// Where the linker's compiler keeps it.
fn folder() -> Option<PathBuf> {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return None;
    }
    let compiler = match env::var_os("RUSTC_LINKER") {
        Some(linker) => linker,
        None if is("HOST", &env::var("TARGET").ok()?) => "cc".into(),
        None => return None,
    };
    let output = Command::new(compiler).arg("-print-file-name=libgcc_eh.a").output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    // One that it doesn't know it gives back as a bare name.
    if path.is_absolute() && path.is_file() { path.parent().map(Into::into) } else { None }
}
