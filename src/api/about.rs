//! A Host's description of itself.

use crate::api::error::ApiError;
use crate::api::pooled::Client;
use crate::api::transport::Transport;
use crate::text::excerpt;

/// A Host's description of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// The Host is of the older generation, which serves its API at the root.
    pub at_root: bool,
    /// The title and version of its API description, if it has one.
    pub software: Option<String>,
    /// Its clock: the `Date` field of its answer (RFC 9110 §5.6.7).
    pub date: Option<String>,
}

impl Client {
    /// The Host's description of itself. This needs no token.
    ///
    /// # Errors
    /// Why the API gave no usable answer.
    pub async fn about(&self) -> Result<About, ApiError> {
        let found = self.get("/nodes").await?;
        // The usual place of an API's description. A Host without one is fine.
        let description = self.shared.transport.get("/openapi.json", None).await.ok();
        let info = description.and_then(|answer| answer.json).map(|json| json["info"].clone()).unwrap_or_default();
        let text = |name: &str| info[name].as_str().map(excerpt).filter(|text| !text.is_empty());
        let software = match (text("title"), text("version")) {
            (Some(title), Some(version)) => Some(format!("{title} {version}")),
            (title, version) => title.or(version),
        };
        Ok(About { at_root: found.at_root, software, date: found.date })
    }
}
