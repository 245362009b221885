//! UNIX sockets with a file: who may connect is a matter of the file's permissions.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix};

use super::sockets::stream_socket;

/// A connection over a UNIX socket.
pub type LocalStream = tokio::net::UnixStream;

/// Connects to the UNIX socket with the file `path`.
///
/// # Errors
/// The errors of `connect(2)`.
pub async fn connect_locally(path: &Path) -> io::Result<LocalStream> {
    LocalStream::connect(path).await
}

/// A UNIX socket that listens.
pub type LocalListener = tokio::net::UnixListener;

/// Permissions of a socket's file: its owner and its group may connect.
const SOCKET_FILE: u32 = 0o660;
/// Connections that may wait in the queue. The system may allow fewer.
const BACKLOG: i32 = 128;

/// Listens on a UNIX socket at `path`, for this user and the file's group. A file that a dead process left there is
/// replaced. Needs a runtime.
///
/// # Errors
/// The errors of `bind(2)`; `AddrInUse` when somebody listens there, and `AlreadyExists` when the file is no socket.
pub fn listen_locally(path: &Path) -> io::Result<LocalListener> {
    let address = SocketAddrUnix::new(path)?;
    let bind = || {
        let socket = stream_socket(AddressFamily::UNIX)?;
        rustix::net::bind(&socket, &address)?;
        io::Result::Ok(socket)
    };
    let socket = match bind() {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_abandoned(path, &address)?;
            bind()?
        }
        bound => bound?,
    };
    // The umask has a part in the mode so far. Nobody can connect before the socket listens.
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_FILE))?;
    rustix::net::listen(&socket, BACKLOG)?;
    local_listener(socket)
}

/// Removes the file of a socket on which nobody listens any more.
fn remove_abandoned(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    if !path.symlink_metadata()?.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket"));
    }
    match rustix::net::connect(stream_socket(AddressFamily::UNIX)?, address) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path),
        // A full queue is an answer, too.
        Ok(()) | Err(_) => Err(Errno::ADDRINUSE.into()),
    }
}

/// The listener of a UNIX socket that listens already. Needs a runtime.
///
/// # Errors
/// The errors of `ioctl(2)` and `epoll_ctl(2)`.
pub fn local_listener(socket: OwnedFd) -> io::Result<LocalListener> {
    let socket = std::os::unix::net::UnixListener::from(socket);
    socket.set_nonblocking(true)?;
    LocalListener::from_std(socket)
}

/// Whether this is a UNIX socket.
///
/// # Errors
/// The errors of `getsockname(2)`.
pub fn is_local(socket: impl AsFd) -> io::Result<bool> {
    Ok(rustix::net::getsockname(socket)?.address_family() == AddressFamily::UNIX)
}

/// The file of a UNIX socket; `None` for one without.
///
/// # Errors
/// The errors of `getsockname(2)`.
pub fn path_of(listener: &LocalListener) -> io::Result<Option<PathBuf>> {
    Ok(listener.local_addr()?.as_pathname().map(Path::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[tokio::test]
    async fn a_socket_is_for_its_owner_and_its_group_and_only_an_abandoned_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = listen_locally(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, SOCKET_FILE);
        assert!(is_local(&first).unwrap());
        assert_eq!(path_of(&first).unwrap().as_ref(), Some(&path));
        assert_eq!(listen_locally(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        drop(first);
        // A child that another test starts may hold a copy of the descriptor for a moment.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while UnixStream::connect(&path).is_ok() {
            assert!(std::time::Instant::now() < deadline, "it listens still");
            std::thread::yield_now();
        }
        let second = listen_locally(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(second);

        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "a user's file").unwrap();
        assert_eq!(listen_locally(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a user's file");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_local(&tcp).unwrap());
    }

    #[tokio::test]
    async fn a_socket_whose_queue_is_full_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("full.sock");
        let address = SocketAddrUnix::new(path.as_path()).unwrap();
        let full = stream_socket(AddressFamily::UNIX).unwrap();
        rustix::net::bind(&full, &address).unwrap();
        rustix::net::listen(&full, 0).unwrap();
        let connect = || {
            let socket = stream_socket(AddressFamily::UNIX).unwrap();
            rustix::net::connect(&socket, &address).map(|()| socket)
        };
        let mut queue = Vec::new();
        while let Ok(socket) = connect() {
            queue.push(socket);
        }
        assert_eq!(connect().unwrap_err(), Errno::AGAIN);
        assert_eq!(listen_locally(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }
}
