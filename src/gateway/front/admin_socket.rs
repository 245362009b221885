//! The listening socket for the admin: TCP, or a UNIX socket with a file.

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::sys::{self, AsFd, BorrowedFd, LocalListener};

/// The listening socket for the admin.
pub enum AdminSocket {
    /// TCP.
    Tcp(TcpListener),
    /// A UNIX socket, and its file if this gateway or one before it has made it.
    Local(LocalListener, Option<SocketFile>),
}

/// The file of a UNIX socket that the gateway removes at its end.
pub struct SocketFile {
    path: PathBuf,
    identity: String,
}

impl AdminSocket {
    /// Listens on a UNIX socket at `path`.
    pub(crate) fn listen_locally(path: &Path) -> Result<Self, Failure> {
        let bound =
            sys::listen_locally(path).and_then(|listener| Ok(Self::Local(listener, Some(SocketFile::of(path)?))));
        bound.map_err(|error| {
            let failure = Failure::new(format!("cannot listen on unix:{}", path.display())).because(&error);
            let (shown, folder) = (path.display(), path.parent().unwrap_or(path).display());
            failure.hint(match error.kind() {
                io::ErrorKind::AddrInUse => format!("see which program has it with `ss -lxp src {shown}`"),
                io::ErrorKind::NotFound => format!("make its folder first: `mkdir {folder}`"),
                io::ErrorKind::PermissionDenied => {
                    format!("use a folder in which this user may write; see `ls -ld {folder}`")
                }
                _ => "take another path with --admin, or none with `--admin off`".to_owned(),
            })
        })
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

    /// Takes that file. Whoever has it removes it when the gateway stops.
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
