//! Messages to a service manager, as in sd_notify(3): one datagram each to the socket that `NOTIFY_SOCKET` names.
//!
//! No crate is used: those for sd_notify can't reach a socket with an abstract name, and this is short.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use crate::settings::env_vars::NOTIFY_SOCKET;
use crate::sys;

/// How long a stop may take beyond the time that tunnels have to finish.
const MARGIN: Duration = Duration::from_secs(10);

/// The service manager, if there is one that listens.
#[derive(Clone, Default)]
pub(crate) struct ServiceManager {
    socket: Option<OsString>,
}

impl ServiceManager {
    /// The service manager that the environment names.
    pub(crate) fn from_env() -> Self {
        Self { socket: std::env::var_os(NOTIFY_SOCKET).filter(|name| !name.is_empty()) }
    }

    /// The gateway serves.
    ///
    /// # Errors
    /// The errors of the socket. The service manager waits for this message, so it would time out.
    pub(crate) fn ready(&self) -> io::Result<()> {
        self.send("READY=1\nSTATUS=Serving")
    }

    /// The gateway reads its files again, until [`ServiceManager::ready`]. The time tells this reload from the last one.
    pub(crate) fn reloading(&self) {
        let microseconds = sys::monotonic_time().as_micros();
        self.send_unchecked(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=Reloading"));
    }

    /// The gateway stops, and `tunnels` have `limit` to finish. It asks for more time, since the service manager would
    /// kill it at its own limit otherwise.
    pub(crate) fn stopping(&self, tunnels: usize, limit: Duration) {
        let longest = (limit + MARGIN).as_micros();
        let status = format!("Waiting for tunnels to finish, {tunnels} when it began");
        self.send_unchecked(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={longest}\nSTATUS={status}"));
    }

    /// From now on the process `successor` is the service. Messages of this process are ignored afterwards.
    pub(crate) fn handed_over(&self, successor: u32) {
        self.send_unchecked(&format!("MAINPID={successor}\nSTATUS=Serving, handed over by an older process"));
    }

    /// Sends a message that may get lost.
    fn send_unchecked(&self, state: &str) {
        let _ = self.send(state);
    }

    fn send(&self, state: &str) -> io::Result<()> {
        // A service manager that doesn't read must not block the gateway.
        self.socket.as_ref().map_or(Ok(()), |name| sys::send_datagram(name, state.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_reach_a_path_and_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let mut listening = vec![(UnixDatagram::bind(&path).unwrap(), path.into_os_string())];
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt;
            let name = format!("kohakuriver-notify-{}", std::process::id());
            let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
            listening.push((UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into()));
        }
        for (socket, name) in listening {
            let manager = ServiceManager { socket: Some(name) };
            manager.ready().unwrap();
            assert_eq!(heard(&socket), "READY=1\nSTATUS=Serving");
            manager.reloading();
            let reloading = heard(&socket);
            let time = reloading.lines().nth(1).and_then(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
            assert!(reloading.starts_with("RELOADING=1\n") && time.parse::<u64>().unwrap() > 0, "{reloading}");
            manager.stopping(3, Duration::from_secs(5));
            let stopping = heard(&socket);
            assert!(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000\nSTATUS="), "{stopping}");
            manager.handed_over(42);
            assert!(heard(&socket).starts_with("MAINPID=42\n"));
        }
        assert!(ServiceManager { socket: Some("/nonexistent/notify".into()) }.ready().is_err());
        ServiceManager::default().ready().unwrap();
    }
}
