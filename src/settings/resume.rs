//! The setting `resume`: whether tunnels survive their connection.

use std::fmt;

/// The value of the setting.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum ResumeSetting {
    /// The programs decide, by the way to the gateway.
    #[default]
    Auto,
    /// Always, if the gateway can do it: ssh then never gets the socket itself.
    On,
    /// Never.
    Off,
}

impl ResumeSetting {
    /// The values, as they are written.
    pub(super) const EXPECTED: &'static str = "`auto`, `on` or `off`";

    pub(super) fn read(text: &str) -> Option<Self> {
        [Self::Auto, Self::On, Self::Off].into_iter().find(|value| value.to_string() == text)
    }

    /// The demand of the setting; `None` if the programs decide.
    pub fn demand(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::On => Some(true),
            Self::Off => Some(false),
        }
    }
}

impl From<bool> for ResumeSetting {
    fn from(demand: bool) -> Self {
        if demand { Self::On } else { Self::Off }
    }
}

impl fmt::Display for ResumeSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}
