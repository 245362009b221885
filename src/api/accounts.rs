//! Who the user is to the Host, and tokens for them.

use serde_json::{Value, json};

use hyper::Method;

use crate::api::pooled::Question;
use crate::api::transport::{Answer, nonsense};
use crate::api::{ApiError, Client};
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::text::excerpt;

/// A user, as the Host knows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The name that they log in with.
    pub name: String,
    /// `viewer`, `user`, `operator` or `admin`.
    pub role: String,
}

/// A session that a password opened. It ends by itself, so a token is made from it.
pub struct Session {
    cookie: Token,
    /// Whose it is.
    pub user: User,
}

/// A token that the Host just made.
pub struct NewToken {
    /// The token.
    pub token: Token,
    /// The number that it is revoked by.
    pub id: u64,
    /// The name that it is listed under.
    pub name: String,
}

impl Client {
    /// The user whose token this is; `None` on a Host that has no users.
    ///
    /// # Errors
    /// [`Refusal::TokenNeeded`] when the Host doesn't know the token, or why the API gave no usable answer.
    pub async fn user(&self) -> Result<Option<User>, ApiError> {
        let found = match self.get("/auth/me").await {
            // Authentication is off, or the Host is of a generation or a kind that has none.
            Err(ApiError::Status { status: 503, .. } | ApiError::NotAHost { .. }) => return Ok(None),
            found => found?,
        };
        self.read_user(&found.json).map(Some)
    }

    /// Opens a session.
    ///
    /// # Errors
    /// [`Refusal::TokenNeeded`] when name and password are not those of a user; [`ApiError::Status`] with the Host's
    /// words when the account is disabled (403) or the Host has no users (503); or why the API gave no usable answer.
    pub async fn log_in(&self, name: &str, password: &str) -> Result<Session, ApiError> {
        let body = json!({ "username": name, "password": password });
        let question = Question::post("/api/auth/login", Some(&body), None);
        let answer = self.shared.transport.ask(question).await?;
        let json = self.done(&answer, "/auth/login")?;
        let user = self.read_user(&json["user"])?;
        let cookie = answer.session.ok_or_else(|| nonsense(self.base(), "it opens no session"))?;
        Ok(Session { cookie, user })
    }

    /// A new token called `name` for the user of `session`.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn new_token(&self, session: &Session, name: &str) -> Result<NewToken, ApiError> {
        let body = json!({ "name": name });
        let question = Question::post("/api/auth/tokens/create", Some(&body), None);
        let question = Question { session: Some(&session.cookie), ..question };
        let json = self.done(&self.shared.transport.ask(question).await?, "/auth/tokens/create")?;
        let token = json["token"].as_str().and_then(|text| Token::new(text).ok());
        match (token, json["id"].as_u64()) {
            (Some(token), Some(id)) => Ok(NewToken { token, id, name: name.to_owned() }),
            _ => Err(nonsense(self.base(), "it holds no token")),
        }
    }

    /// Revokes one of the user's own tokens.
    ///
    /// # Errors
    /// Why it may still be valid.
    pub async fn revoke(&self, token_id: u64) -> Result<(), ApiError> {
        let path = format!("/api/auth/tokens/{token_id}");
        let question = Question { method: Method::DELETE, ..Question::get(&path, self.token.as_ref()) };
        self.done(&self.shared.transport.ask(question).await?, "/auth/tokens").map(drop)
    }

    fn done(&self, answer: &Answer, path: &str) -> Result<Value, ApiError> {
        let base = || self.base().to_owned();
        match (answer.status, &answer.json) {
            (200, Some(json)) => Ok(json.clone()),
            (200, None) => Err(nonsense(self.base(), "its body is not JSON")),
            (401, _) => Err(ApiError::Refusal(Refusal::TokenNeeded)),
            _ if answer.is_unknown_route() => Err(ApiError::NotAHost { base: base(), path: path.to_owned() }),
            (status, _) => Err(ApiError::Status { base: base(), status, detail: answer.detail() }),
        }
    }

    fn read_user(&self, json: &Value) -> Result<User, ApiError> {
        // A token that the Host doesn't know makes its bearer anonymous.
        match (json["role"].as_str(), json["username"].as_str()) {
            (Some("anony"), _) => Err(ApiError::Refusal(Refusal::TokenNeeded)),
            (Some(role), Some(name)) => Ok(User { name: excerpt(name), role: excerpt(role) }),
            _ => Err(nonsense(self.base(), "it names no user")),
        }
    }
}
