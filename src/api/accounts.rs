//! Who the user is to the Host, and tokens for them.

use serde_json::{Value, json};

use hyper::Method;

use crate::api::caller::{AUTHENTICATION_OFF, Caller, User};
use crate::api::pooled::Question;
use crate::api::transport::{Answer, nonsense};
use crate::api::{ApiError, Client};
use crate::refusal::Refusal;
use crate::secret::Token;

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

impl NewToken {
    /// Reads what a Host answers to the wish for a token called `name`.
    pub fn from_json(json: &Value, name: &str) -> Option<Self> {
        let token = Token::new(json["token"].as_str()?).ok()?;
        Some(Self { token, id: json["id"].as_u64()?, name: name.to_owned() })
    }
}

impl Client {
    /// The user whose token this is; `None` on a Host that has no users.
    ///
    /// # Errors
    /// [`Refusal::TokenNeeded`] when the Host doesn't know the token, or why the API gave no usable answer.
    pub async fn user(&self) -> Result<Option<User>, ApiError> {
        match self.caller().await? {
            Caller::Everyone => Ok(None),
            Caller::Anonymous => Err(ApiError::Refusal(Refusal::TokenNeeded)),
            Caller::User(user) => Ok(Some(user)),
        }
    }

    /// Whom the Host takes the bearer of this token for.
    ///
    /// # Errors
    /// Why the API gave no usable answer.
    pub async fn caller(&self) -> Result<Caller, ApiError> {
        match self.get("/auth/me").await {
            // The Host is of a generation or a kind that has no users.
            Err(ApiError::NotAHost { .. }) => Ok(Caller::Everyone),
            // Not just any 503: what stands in front of a Host says that too while the Host is away.
            Err(ApiError::Status { status: 503, detail, .. }) if detail.starts_with(AUTHENTICATION_OFF) => {
                Ok(Caller::Everyone)
            }
            found => Caller::from_json(&found?.json).ok_or_else(|| nonsense(self.base(), "it names no user")),
        }
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
        let Some(Caller::User(user)) = Caller::from_json(&json["user"]) else {
            return Err(nonsense(self.base(), "it names no user"));
        };
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
        NewToken::from_json(&json, name).ok_or_else(|| nonsense(self.base(), "it holds no token"))
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
}
