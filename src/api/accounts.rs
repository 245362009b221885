//! The user of a token, and creating and revoking tokens.

use hyper::Method;
use serde_json::{Value, json};

use crate::api::caller::{AUTHENTICATION_OFF, Caller, STAND_ALONE, User};
use crate::api::error::ApiError;
use crate::api::pooled::{ApiRequest, Client};
use crate::api::transport::{Answer, unusable};
use crate::refusal::Refusal;
use crate::secret::Token;

/// A session that was opened with a password. It expires, so a token is created from it.
pub struct Session {
    cookie: Token,
    /// Its user.
    pub user: User,
}

/// A token that the Host has just created.
pub struct NewToken {
    /// The token.
    pub token: Token,
    /// The number to revoke it with.
    pub id: u64,
    /// Its name in the list of tokens.
    pub name: String,
}

impl NewToken {
    /// Reads the answer to the request for a token called `name`.
    pub fn from_json(json: &Value, name: &str) -> Option<Self> {
        let token = Token::new(json["token"].as_str()?).ok()?;
        Some(Self { token, id: json["id"].as_u64()?, name: name.to_owned() })
    }
}

impl Client {
    /// The user of this token; `None` on a Host without users.
    ///
    /// # Errors
    /// [`Refusal::TokenNeeded`] when the Host doesn't know the token, or why the API gave no usable answer.
    pub async fn user(&self) -> Result<Option<User>, ApiError> {
        match self.caller().await? {
            Caller::Everyone { .. } => Ok(None),
            Caller::Anonymous => Err(ApiError::Refusal(Refusal::TokenNeeded)),
            Caller::User(user) => Ok(Some(user)),
        }
    }

    /// The caller that the Host sees behind this token.
    ///
    /// # Errors
    /// Why the API gave no usable answer.
    pub async fn caller(&self) -> Result<Caller, ApiError> {
        match self.get("/auth/me").await {
            // The older generation has no users and no such path. A 404 alone doesn't show that generation: it may come
            // from a proxy in front of a Host that is being restarted.
            Err(unknown @ ApiError::NotAHost { .. }) => match self.get("/nodes").await?.at_root {
                true => Ok(Caller::Everyone { stand_alone: false }),
                false => Err(unknown),
            },
            // Not every 503: a proxy in front of the Host sends one while the Host is down.
            Err(ApiError::Status { status: 503, detail, .. }) if detail.starts_with(AUTHENTICATION_OFF) => {
                Ok(Caller::Everyone { stand_alone: detail == STAND_ALONE })
            }
            found => Caller::from_json(&found?.json).ok_or_else(|| unusable(self.base(), "it names no user")),
        }
    }

    /// Opens a session.
    ///
    /// # Errors
    /// [`Refusal::TokenNeeded`] when the name or the password is wrong; [`ApiError::Status`] with the Host's
    /// words when the account is disabled (403) or the Host has no users (503); or why the API gave no usable answer.
    pub async fn log_in(&self, name: &str, password: &str) -> Result<Session, ApiError> {
        let body = json!({ "username": name, "password": password });
        let request = ApiRequest::post("/api/auth/login", Some(&body), None);
        let answer = self.shared.transport.send(request).await?;
        let json = self.success(&answer, "/auth/login")?;
        let Some(Caller::User(user)) = Caller::from_json(&json["user"]) else {
            return Err(unusable(self.base(), "it names no user"));
        };
        let cookie = answer.session.ok_or_else(|| unusable(self.base(), "it opens no session"))?;
        Ok(Session { cookie, user })
    }

    /// A new token called `name` for the user of `session`.
    ///
    /// # Errors
    /// Why no token was created.
    pub async fn new_token(&self, session: &Session, name: &str) -> Result<NewToken, ApiError> {
        let body = json!({ "name": name });
        let request = ApiRequest::post("/api/auth/tokens/create", Some(&body), None);
        let request = ApiRequest { session: Some(&session.cookie), ..request };
        let json = self.success(&self.shared.transport.send(request).await?, "/auth/tokens/create")?;
        NewToken::from_json(&json, name).ok_or_else(|| unusable(self.base(), "it holds no token"))
    }

    /// Revokes one of the user's own tokens.
    ///
    /// # Errors
    /// Why the token may still be valid.
    pub async fn revoke(&self, token_id: u64) -> Result<(), ApiError> {
        let path = format!("/api/auth/tokens/{token_id}");
        let request = ApiRequest { method: Method::DELETE, ..ApiRequest::get(&path, self.token.as_ref()) };
        self.success(&self.shared.transport.send(request).await?, "/auth/tokens").map(drop)
    }

    fn success(&self, answer: &Answer, path: &str) -> Result<Value, ApiError> {
        match (answer.status, &answer.json) {
            (200, Some(json)) => Ok(json.clone()),
            (200, None) => Err(unusable(self.base(), "its body is not JSON")),
            (401, _) => Err(ApiError::Refusal(Refusal::TokenNeeded)),
            _ if answer.is_unknown_route() => {
                Err(ApiError::NotAHost { base: self.base().to_owned(), path: path.to_owned() })
            }
            _ => Err(answer.status_error(self.base())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake_host::FakeHost;

    #[tokio::test]
    async fn each_answer_to_a_revocation() {
        let host = FakeHost::start().await;
        let client = Client::new(&host.base, None).unwrap();
        assert!(matches!(client.revoke(7).await, Err(ApiError::NotAHost { path, .. }) if path == "/auth/tokens"));
        for (status, body, part) in [
            (200, "<html>", "its body is not JSON"),
            (401, "{}", "the Host wants a token"),
            (404, r#"{"detail":"no such token"}"#, "answered 404: no such token"),
            (500, "{}", "answered 500"),
        ] {
            host.on("/api/auth/tokens/7", status, body);
            let error = client.revoke(7).await.unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        host.on("/api/auth/tokens/7", 200, "{}");
        client.revoke(7).await.unwrap();
    }
}
