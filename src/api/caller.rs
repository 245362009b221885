//! The caller, as the Host sees it.

use std::fmt;

use serde_json::Value;

use crate::api::model::Vps;
use crate::refusal::Rights;
use crate::text::{escaped, excerpt};

/// Start of the answer to `/auth/me` when authentication is off.
#[cfg(any(feature = "cli", feature = "gateway"))]
pub(super) const AUTHENTICATION_OFF: &str = "Authentication is not enabled";

/// The answer of a stand-alone gateway to the same. By it, a client knows that this API changes nothing.
#[cfg(any(feature = "cli", feature = "gateway"))]
pub const STAND_ALONE: &str = "Authentication is not enabled on this server, which is a stand-alone gateway";

/// The caller, as the Host sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Authentication is off: everybody may do everything that the API offers.
    Everyone {
        /// A stand-alone gateway answers, whose API changes nothing.
        stand_alone: bool,
    },
    /// No user: the token is missing or unknown to the Host. A Host gives the same answer to both.
    Anonymous,
    /// A user.
    User(User),
}

/// A user of the Host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The login name, with escapes. It identifies the user, so nothing is missing in it.
    pub name: String,
    /// The rights of the user.
    pub role: Role,
}

/// The rights of a user. Each role includes the rights of those before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// See everything, log in to nothing.
    Viewer,
    /// Log in to the VPSes that the user owns or is assigned to.
    User,
    /// Log in to every VPS.
    Operator,
    /// All that an operator may do, and manage the Host.
    Admin,
    /// A role that this version doesn't know, printable.
    Other(String),
}

impl Role {
    /// The name that Hosts use.
    pub fn name(&self) -> &str {
        match self {
            Self::Viewer => "viewer",
            Self::User => "user",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Caller {
    /// Reads the answer to `/auth/me`. To a Host, the bearer of an unknown token is anonymous; that is not an error.
    pub fn from_json(json: &Value) -> Option<Self> {
        let role = match json["role"].as_str()? {
            "anony" => return Some(Self::Anonymous),
            "viewer" => Role::Viewer,
            "user" => Role::User,
            "operator" => Role::Operator,
            "admin" => Role::Admin,
            other => Role::Other(excerpt(other)),
        };
        let name = escaped(json["username"].as_str()?);
        if name.is_empty() { None } else { Some(Self::User(User { name, role })) }
    }

    /// The rights that the Host gives the caller over `vps`, which it has shown to the caller.
    pub fn rights(&self, vps: &Vps) -> Rights {
        match self {
            Self::Everyone { stand_alone: true } => Rights::StandAlone,
            Self::Everyone { stand_alone: false } => Rights::All,
            Self::Anonymous => Rights::Nothing,
            Self::User(User { role: Role::Operator | Role::Admin, .. }) => Rights::All,
            Self::User(User { role: Role::User, name }) if vps.owner.as_ref() == Some(name) => Rights::Own,
            Self::User(User { role: Role::User, .. }) => Rights::LogIn,
            Self::User(User { role: Role::Viewer | Role::Other(_), .. }) => Rights::Look,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_role() {
        let user = |name: &str, role| Some(Caller::User(User { name: name.into(), role }));
        for (json, caller) in [
            (json!({ "id": -1, "username": "_anonymous", "role": "anony" }), Some(Caller::Anonymous)),
            (json!({ "id": 4, "username": "viewer1", "role": "viewer" }), user("viewer1", Role::Viewer)),
            (json!({ "id": 3, "username": "user1", "role": "user" }), user("user1", Role::User)),
            (json!({ "id": 2, "username": "op\u{1b}[0m", "role": "operator" }), user(r"op\u{1b}[0m", Role::Operator)),
            (json!({ "id": 1, "username": "admin1", "role": "admin" }), user("admin1", Role::Admin)),
            (json!({ "id": 1, "username": "x", "role": "ro\not" }), user("x", Role::Other("ro ot".into()))),
            (json!({ "username": "x" }), None),
            (json!({ "username": "", "role": "user" }), None),
            (json!({ "username": 7, "role": "user" }), None),
            (json!([]), None),
        ] {
            assert_eq!(Caller::from_json(&json), caller, "{json}");
            if let Some(Caller::User(user)) = caller
                && !matches!(user.role, Role::Other(_))
            {
                assert_eq!(user.role.to_string(), json["role"]);
            }
        }
    }
}
