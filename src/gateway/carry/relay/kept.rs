//! How a side keeps its carrier. Most carriers are bare sockets, and an idle tunnel takes less memory without a box for
//! each of its two.

use std::any::Any;
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};

use crate::carrier::Carrier;

/// A carrier as a side keeps it.
pub(super) enum Kept {
    Bare(TcpStream),
    Other(Box<dyn Carrier>),
}

impl Kept {
    pub(super) fn new(carrier: Box<dyn Carrier>) -> Self {
        if !(&*carrier as &dyn Any).is::<TcpStream>() {
            return Self::Other(carrier);
        }
        let Ok(socket) = (carrier as Box<dyn Any>).downcast() else { unreachable!("its type has been looked at") };
        Self::Bare(*socket)
    }

    pub(super) fn into_box(self) -> Box<dyn Carrier> {
        match self {
            Self::Bare(socket) => Box::new(socket),
            Self::Other(carrier) => carrier,
        }
    }
}

impl Deref for Kept {
    type Target = dyn Carrier;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Bare(socket) => socket,
            Self::Other(carrier) => &**carrier,
        }
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Bare(socket) => socket,
            Self::Other(carrier) => &mut **carrier,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::tests::{ReadAhead, connection};

    #[test]
    fn a_bare_socket_is_kept_without_a_box_and_given_back_as_it_was() {
        let ((bare, _), (below, _)) = (connection(), connection());
        let address = bare.local_addr().unwrap();
        let kept = Kept::new(Box::new(bare));
        assert!(matches!(&kept, Kept::Bare(socket) if socket.local_addr().unwrap() == address));
        assert!(kept.bare_socket().is_some() && kept.into_box().bare_socket().is_some());
        let kept = Kept::new(Box::new(ReadAhead::new(below)));
        assert!(matches!(kept, Kept::Other(_)) && kept.into_box().bare_socket().is_none());
        assert_eq!(size_of::<Kept>(), size_of::<Box<dyn Carrier>>());
    }
}
