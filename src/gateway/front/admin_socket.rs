//! The listening socket for the admin: TCP, or a UNIX socket with a file.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::sys::{self, AsFd, BorrowedFd, LocalListener};

/// The listening socket for the admin.
pub(crate) enum AdminSocket {
    /// TCP.
    Tcp(TcpListener),
    /// A UNIX socket, and its file if this gateway or one before it has made it.
    Local(LocalListener, Option<SocketFile>),
}

/// The file of a UNIX socket that the gateway removes at its end.
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: String,
}

impl AdminSocket {
    /// Listens on a UNIX socket at `path`.
    pub(crate) fn listen_locally(path: &Path) -> Result<Self, Failure> {
        let bound =
            sys::listen_locally(path).and_then(|listener| Ok(Self::Local(listener, Some(SocketFile::of(path)?))));
        bound.map_err(|error| not_bound(path, &error))
    }

    /// A UNIX socket that was passed to this process. The gateway removes its file if it `is_own`.
    pub(crate) fn passed_locally(listener: LocalListener, is_own: bool) -> io::Result<Self> {
        let path = sys::path_of(&listener)?.filter(|_| is_own);
        Ok(Self::Local(listener, path.and_then(|path| SocketFile::of(&path).ok())))
    }

    /// The socket, if it is a TCP one.
    pub(crate) fn tcp(&self) -> Option<&TcpListener> {
        match self {
            Self::Tcp(listener) => Some(listener),
            Self::Local(..) => None,
        }
    }

    /// Whether the gateway removes the socket's file at its end.
    pub(crate) fn has_own_file(&self) -> bool {
        matches!(self, Self::Local(_, Some(_)))
    }

    /// Takes that file. Its holder removes it when the gateway stops.
    pub(crate) fn take_file(&mut self) -> Option<SocketFile> {
        match self {
            Self::Tcp(_) => None,
            Self::Local(_, file) => file.take(),
        }
    }

    /// The address, as `--admin` takes it.
    pub(crate) fn address(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(listener) => listener.local_addr()?.to_string(),
            Self::Local(listener, _) => format!("unix:{}", sys::path_of(listener)?.unwrap_or_default().display()),
        })
    }
}

fn not_bound(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot listen on unix:{}", path.display())).because(error);
    let (shown, folder) = (path.display(), path.parent().unwrap_or(path).display());
    failure.hint(match error.kind() {
        io::ErrorKind::AddrInUse => format!("see which program has it with `ss -lxp src {shown}`"),
        io::ErrorKind::NotFound => format!("make its folder first: `mkdir {folder}`"),
        io::ErrorKind::PermissionDenied => format!("use a folder in which this user may write; see `ls -ld {folder}`"),
        _ => "take another path with --admin, or none with `--admin off`".to_owned(),
    })
}

impl AsFd for AdminSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Local(listener, _) => listener.as_fd(),
        }
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: sys::file_identity(path)? })
    }

    /// Removes the file, unless somebody has put another one there since.
    pub(crate) fn remove(self) {
        if sys::file_identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // A file that stays is replaced at the next start.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[tokio::test]
    async fn a_gateway_removes_its_own_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (mut first, aside) = (AdminSocket::listen_locally(&path).unwrap(), folder.path().join("aside"));
        assert_eq!(first.address().unwrap(), format!("unix:{}", path.display()));
        assert!(first.tcp().is_none() && first.has_own_file());
        let file = first.take_file().unwrap();
        assert!(!first.has_own_file() && first.take_file().is_none());
        file.remove();
        assert!(!path.exists());

        // Its successor has put another one there.
        let mut second = AdminSocket::listen_locally(&path).unwrap();
        std::fs::rename(&path, aside).unwrap();
        std::fs::write(&path, "another file").unwrap();
        second.take_file().unwrap().remove();
        assert!(path.exists());
    }

    #[tokio::test]
    async fn the_file_of_a_passed_socket_is_its_makers() {
        let folder = tempfile::tempdir().unwrap();
        for (name, is_own) in [("mine", true), ("of systemd", false)] {
            let path = folder.path().join(name);
            let passed = AdminSocket::passed_locally(sys::listen_locally(&path).unwrap(), is_own).unwrap();
            assert_eq!(passed.has_own_file(), is_own, "{name}");
            assert_eq!(passed.address().unwrap(), format!("unix:{}", path.display()));
        }
    }

    #[tokio::test]
    async fn a_tcp_socket_has_an_address_and_no_file() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut socket = AdminSocket::Tcp(listener);
        assert_eq!(socket.address().unwrap(), address.to_string());
        assert_eq!(socket.tcp().unwrap().local_addr().unwrap(), address);
        assert!(!socket.has_own_file() && socket.take_file().is_none());
    }

    #[test]
    fn each_reason_has_its_remedy() {
        let path = Path::new("/run/gateway/admin.sock");
        for (errno, remedy) in [
            (Errno::ADDRINUSE, "`ss -lxp src /run/gateway/admin.sock`"),
            (Errno::NOENT, "`mkdir /run/gateway`"),
            (Errno::ACCESS, "`ls -ld /run/gateway`"),
            (Errno::NAMETOOLONG, "`--admin off`"),
        ] {
            let text = not_bound(path, &errno.into()).render("p");
            assert!(text.starts_with("p: cannot listen on unix:/run/gateway/admin.sock\n  caused by: "), "{text}");
            assert!(text.contains(remedy), "{text}");
        }
    }
}
