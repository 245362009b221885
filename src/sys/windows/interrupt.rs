//! Ctrl-C.

use std::io;

/// The exit status of a program that Ctrl-C ended (STATUS_CONTROL_C_EXIT).
const ENDED_BY_CTRL_C: i32 = 0xC000_013A_u32 as i32;

/// Waits for a Ctrl-C. One that can't be caught ends the process.
pub async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// From now on, a Ctrl-C runs `clean_up` before it ends this process.
///
/// # Errors
/// The errors of a runtime and of starting a thread.
pub fn before_an_end_signal(clean_up: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wait = move || {
        runtime.block_on(interrupted());
        clean_up();
        std::process::exit(ENDED_BY_CTRL_C);
    };
    std::thread::Builder::new().name("signal".to_owned()).spawn(wait).map(drop)
}
