//! How long anything may take. A benchmark that hangs is of no use to anybody, and one that is interrupted must not
//! leave its children behind.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Longest time for one connection, whatever is done with it.
pub(crate) const ONE_CONNECTION: Duration = Duration::from_secs(30);
/// How often what is overdue is looked for.
const TICK: Duration = Duration::from_millis(200);

static OVER: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Starts the clock: from now on SIGINT, SIGTERM, SIGHUP and the end of `whole_run` make [`check`] fail. `tick`, which
/// is told whether the run is over, ends what somebody waits for.
pub(crate) fn start(whole_run: Duration, tick: impl Fn(bool) + Send + 'static) -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&OVER))?;
    }
    let end = Instant::now() + whole_run;
    thread::spawn(move || {
        loop {
            thread::sleep(TICK);
            if Instant::now() >= end {
                OVER.store(true, Ordering::SeqCst);
            }
            tick(OVER.load(Ordering::SeqCst));
        }
    });
    Ok(())
}

/// Fails once the run is over before its time.
pub(crate) fn check() -> Result<()> {
    ensure!(!OVER.load(Ordering::SeqCst), "interrupted, or not done in time");
    Ok(())
}

/// A connection to `address` that sends at once, and on which every wait has an end.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    bound(&stream)?;
    Ok(stream)
}

/// Gives every wait for `stream` an end.
pub(crate) fn bound(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(ONE_CONNECTION))?;
    Ok(stream.set_write_timeout(Some(ONE_CONNECTION))?)
}
