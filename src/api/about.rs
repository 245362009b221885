//! What a Host says of itself.

use crate::api::transport::Transport;
use crate::api::{ApiError, Client};
use crate::text::excerpt;

/// What a Host says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// It is of the older generation, which serves its API at the root.
    pub at_root: bool,
    /// Its title and version in its own API description, where it has one.
    pub software: Option<String>,
    /// Its clock, as the `Date` field of its answer has it (RFC 9110 §5.6.7).
    pub date: Option<String>,
}

impl Client {
    /// What the Host says of itself, to anyone.
    ///
    /// # Errors
    /// Why the API gave no usable answer.
    pub async fn about(&self) -> Result<About, ApiError> {
        let found = self.get("/nodes").await?;
        // Where every Host of the kind describes its API; one that doesn't is no worse for it.
        let description = self.shared.transport.get("/openapi.json", None).await.ok();
        let info = description.and_then(|answer| answer.json).map(|json| json["info"].clone()).unwrap_or_default();
        let word = |name: &str| info[name].as_str().map(excerpt).filter(|text| !text.is_empty());
        let software = match (word("title"), word("version")) {
            (Some(title), Some(version)) => Some(format!("{title} {version}")),
            (title, version) => title.or(version),
        };
        Ok(About { at_root: found.at_root, software, date: found.date })
    }
}
