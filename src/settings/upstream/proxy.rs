//! The URL of an upstream proxy, as curl reads it.

use std::fmt;
use std::str::FromStr;

use crate::secret::Password;
use crate::settings::address::{Origin, ProxyAddress, Scheme};
use crate::target::authority;

/// The port of a proxy whose URL has none, as for curl's `--proxy`. Only https:// has another one.
const DEFAULT_PORT: u16 = 1080;
const DEFAULT_HTTPS_PORT: u16 = 443;

/// Most bytes of a user name, and of a password, in SOCKS5 (RFC 1929 §2).
const MOST_IN_SOCKS: usize = 255;

/// The protocol of an upstream proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyScheme {
    /// HTTP CONNECT.
    Http,
    /// HTTP CONNECT inside TLS.
    Https,
    /// SOCKS5. This machine resolves names.
    Socks5,
    /// SOCKS5. The proxy resolves names.
    Socks5h,
}

impl ProxyScheme {
    /// Whether it is HTTP, with TLS or without.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    fn default_port(self) -> u16 {
        if self == Self::Https { DEFAULT_HTTPS_PORT } else { DEFAULT_PORT }
    }
}

impl fmt::Display for ProxyScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        })
    }
}

/// An upstream proxy. Neither [`Display`](fmt::Display) nor [`Debug`](fmt::Debug) shows its password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamProxy {
    /// The protocol that it speaks.
    pub scheme: ProxyScheme,
    /// A name or an address, without brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The user to log in as.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<Password>,
}

impl UpstreamProxy {
    /// `host:port`, IPv6 in brackets.
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// Whether it is the server at `origin`.
    pub fn is(&self, origin: &Origin) -> bool {
        let scheme = match origin.scheme {
            Scheme::Http => ProxyScheme::Http,
            Scheme::Https => ProxyScheme::Https,
        };
        (self.scheme, self.port) == (scheme, origin.port) && self.host.eq_ignore_ascii_case(&origin.host)
    }

    /// Whether its URL can't stand on a command line, where every user of the machine could read the password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// This proxy with the password that `other` has, if `other` is this proxy with the same user. So a command line
    /// can name the proxy and the user, and a file or a variable has the password.
    #[must_use]
    pub fn with_password_of(mut self, other: &Self) -> Self {
        if self.password.is_none() && self.to_string() == other.to_string() {
            self.password.clone_from(&other.password);
        }
        self
    }
}

impl fmt::Display for UpstreamProxy {
    /// The URL without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if let Some(user) = &self.user {
            for byte in user.bytes() {
                match byte {
                    b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => write!(f, "{}", char::from(b))?,
                    b => write!(f, "%{b:02X}")?,
                }
            }
            f.write_str("@")?;
        }
        f.write_str(&self.authority())
    }
}

/// Why a text is no URL of an upstream proxy. No message quotes a part of the text that may be a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamProxyError {
    /// A scheme that is not supported.
    #[error("{0}:// proxies are not supported: name an http://, https://, socks5:// or socks5h:// one")]
    Scheme(String),
    /// A blank or a control character.
    #[error("it holds a blank or a control character")]
    Blank,
    /// A login with a character that ends the login, or what is before it.
    #[error(
        "its user or password holds a character that must be written as %XX: `%40` for @, `%2F` for /, `%3F` for ?, \
         `%23` for #"
    )]
    Unescaped,
    /// A login that can't be sent.
    #[error("its user or password holds a control character, or is not UTF-8")]
    Login,
    /// HTTP's Basic ends the user at a colon (RFC 7617 §2).
    #[error("its user holds a colon, which an HTTP proxy can't take")]
    Colon,
    /// SOCKS5 has one byte for a length.
    #[error("its user or password is longer than {MOST_IN_SOCKS} bytes, which a SOCKS5 proxy can't take")]
    Long,
    /// The command line has a password.
    #[error("a password can't stand on a command line: every user of this machine could read it")]
    Password,
    /// Anything else.
    #[error("it does not have the form [http://][USER:PASSWORD@]HOST[:PORT]")]
    Form,
}

impl FromStr for ProxyScheme {
    type Err = UpstreamProxyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scheme = text.to_ascii_lowercase();
        match scheme.as_str() {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            "socks5" => Ok(Self::Socks5),
            "socks5h" => Ok(Self::Socks5h),
            // With another character, it may be a part of a password.
            _ if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) && (1..=10).contains(&scheme.len()) => {
                Err(UpstreamProxyError::Scheme(scheme))
            }
            _ => Err(UpstreamProxyError::Form),
        }
    }
}

impl FromStr for UpstreamProxy {
    type Err = UpstreamProxyError;

    /// Reads `[SCHEME://][USER[:PASSWORD]@]HOST[:PORT]` as curl does: HTTP without a scheme, port 1080 without a port (443
    /// for https://), user and password percent-decoded, a path ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use UpstreamProxyError as E;
        let text = text.trim();
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(E::Blank);
        }
        let (scheme, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) => (Some(scheme.parse::<ProxyScheme>()?), rest),
        };
        let (before_path, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if path.contains('@') {
            return Err(E::Unescaped);
        }
        let (login, address) = match before_path.rsplit_once('@') {
            None => ("", before_path),
            Some((login, _)) if login.contains('@') => return Err(E::Unescaped),
            Some((login, address)) => (login, address),
        };
        // An empty port is none. Without a scheme, it may be a scheme with too few slashes.
        let address = match address.strip_suffix(':') {
            Some(host) if scheme.is_some() && !host.ends_with(':') => host,
            _ => address,
        };
        let ProxyAddress { host, port, .. } = address.parse().map_err(|_| E::Form)?;
        if !host.chars().all(|c| c.is_alphanumeric() || ".-_:%".contains(c)) {
            return Err(E::Form);
        }
        let scheme = scheme.unwrap_or(ProxyScheme::Http);
        let (user, password) = read_login(login, scheme)?;
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.default_port()), user, password })
    }
}

/// The user and the password in `USER[:PASSWORD]`.
fn read_login(login: &str, scheme: ProxyScheme) -> Result<(Option<String>, Option<Password>), UpstreamProxyError> {
    use UpstreamProxyError as E;
    if login.is_empty() || login == ":" {
        return Ok((None, None));
    }
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    let (user, password) = (decoded(user)?, password.map(decoded).transpose()?);
    if scheme.is_http() && user.contains(':') {
        return Err(E::Colon);
    }
    let longest = user.len().max(password.as_ref().map_or(0, String::len));
    if !scheme.is_http() && longest > MOST_IN_SOCKS {
        return Err(E::Long);
    }
    Ok((Some(user), password.map(Password::new)))
}

/// `text` with each `%XX` replaced by its byte. Another `%` stays, as in curl.
fn decoded(text: &str) -> Result<String, UpstreamProxyError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = if *first == b'%' { tail.first_chunk::<2>() } else { None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match digits.and_then(|&[high, low]| Some(digit(high)? * 16 + digit(low)?)) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| UpstreamProxyError::Login)?;
    if text.chars().any(char::is_control) { Err(UpstreamProxyError::Login) } else { Ok(text) }
}

/// The value of the setting `upstream_proxy`, which wins over the environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpstreamSetting {
    /// `none`: connect directly, whatever the environment says.
    None,
    /// This proxy.
    Proxy(UpstreamProxy),
}

impl UpstreamSetting {
    /// Reads the value of a flag, which can't hold a password.
    ///
    /// # Errors
    /// As for its `FromStr`, and when it holds a password.
    pub fn from_flag(text: &str) -> Result<Self, UpstreamProxyError> {
        match text.parse()? {
            Self::Proxy(proxy) if proxy.has_password() => Err(UpstreamProxyError::Password),
            setting => Ok(setting),
        }
    }

    /// The option that says the same, but for the password.
    pub fn words(&self) -> [String; 2] {
        ["--upstream-proxy".to_owned(), self.to_string()]
    }
}

impl FromStr for UpstreamSetting {
    type Err = UpstreamProxyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().eq_ignore_ascii_case("none") { Ok(Self::None) } else { text.parse().map(Self::Proxy) }
    }
}

impl fmt::Display for UpstreamSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Proxy(proxy) => proxy.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxy(text: &str) -> UpstreamProxy {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn urls_as_curl_reads_them() {
        for (text, shown, password) in [
            ("proxy", "http://proxy:1080", None),
            ("proxy:3128", "http://proxy:3128", None),
            (" proxy:3128\n", "http://proxy:3128", None),
            ("HTTP://proxy:3128/", "http://proxy:3128", None),
            ("http://proxy:/", "http://proxy:1080", None),
            ("http://proxy:3128/a/path?query#fragment", "http://proxy:3128", None),
            ("https://proxy", "https://proxy:443", None),
            ("https://proxy:8443", "https://proxy:8443", None),
            ("socks5://[::1]", "socks5://[::1]:1080", None),
            ("SOCKS5H://10.0.0.1:9050", "socks5h://10.0.0.1:9050", None),
            ("http://[fe80::1%eth0]:3128", "http://[fe80::1%eth0]:3128", None),
            ("alice@proxy", "http://alice@proxy:1080", None),
            ("alice:sekrit@proxy:3128", "http://alice@proxy:3128", Some("sekrit")),
            ("http://alice:@proxy:3128", "http://alice@proxy:3128", Some("")),
            ("http://@proxy", "http://proxy:1080", None),
            ("http://:@proxy", "http://proxy:1080", None),
            ("http://:sekrit@proxy", "http://@proxy:1080", Some("sekrit")),
            ("http://DOM%5calice:a%40b%3Ac:d%2F@proxy", "http://DOM%5Calice@proxy:1080", Some("a@b:c:d/")),
            ("http://j%C3%BCrgen:100%@proxy", "http://j%C3%BCrgen@proxy:1080", Some("100%")),
            ("socks5://a%3Ab:%zz%4@proxy", "socks5://a%3Ab@proxy:1080", Some("%zz%4")),
        ] {
            let proxy = proxy(text);
            assert_eq!(proxy.to_string(), shown, "{text}");
            assert_eq!(proxy.password.as_ref().map(Password::expose), password, "{text}");
            assert_eq!(proxy.has_password(), password.is_some());
        }
    }

    #[test]
    fn a_wrong_url_has_a_reason_that_quotes_no_password() {
        use UpstreamProxyError as E;
        for (text, error) in [
            ("", E::Form),
            ("http://", E::Form),
            ("http:/sekrit", E::Form),
            ("http:sekrit", E::Form),
            ("http://alice:sekrit", E::Form),
            ("http://alice:sekrit@", E::Form),
            ("http://alice:sekrit@a b", E::Blank),
            ("http://alice:sek\x1brit@proxy", E::Blank),
            ("http://alice:sek/rit@proxy", E::Unescaped),
            ("http://alice:1234/sekrit@proxy", E::Unescaped),
            ("http://alice:sek#rit@proxy", E::Unescaped),
            ("http://alice:sek@rit@proxy", E::Unescaped),
            ("alice:sekrit://x@proxy", E::Form),
            ("sek-rit://x@proxy", E::Form),
            ("sekritsekrit://x@proxy", E::Form),
            ("http://alice:sekrit%0d%0a@proxy", E::Login),
            ("http://alice:sekrit%ff@proxy", E::Login),
            ("http://a%3Ab:sekrit@proxy", E::Colon),
            (&format!("socks5://alice:{}@proxy", "sekrit".repeat(50)), E::Long),
            ("http://alice:sekrit@proxy:0", E::Form),
            ("http://alice:sekrit@proxy:70000", E::Form),
            ("http://alice:sekrit@proxy:1:2", E::Form),
            ("http://alice:sekrit@$(id)", E::Form),
            ("http://alice:sekrit@pro;xy", E::Form),
            ("http://alice:sekrit@[x]", E::Form),
            ("http://alice:sekrit@-oProxyCommand=id", E::Form),
            ("socks4://alice:sekrit@proxy", E::Scheme("socks4".into())),
            ("SOCKS4a://proxy", E::Scheme("socks4a".into())),
            ("ftp://proxy", E::Scheme("ftp".into())),
        ] {
            let failed = text.parse::<UpstreamProxy>().unwrap_err();
            assert!(!failed.to_string().contains("sek"), "{failed}");
            assert_eq!(failed, error, "{text}");
        }
    }

    #[test]
    fn a_user_of_socks_has_as_many_bytes_as_one_byte_can_count() {
        let user = "a".repeat(255);
        assert_eq!(proxy(&format!("socks5://{user}@proxy")).user, Some(user));
    }

    #[test]
    fn a_proxy_is_the_server_at_its_own_address_only() {
        let origin = |scheme, host: &str, port| Origin { scheme, host: host.to_owned(), port };
        let gpu = origin(Scheme::Http, "gpu", 8002);
        assert!(proxy("http://GPU:8002").is(&gpu) && proxy("https://gpu").is(&origin(Scheme::Https, "gpu", 443)));
        for other in ["https://gpu:8002", "socks5://gpu:8002", "http://gpu:8003", "http://other:8002"] {
            assert!(!proxy(other).is(&gpu), "{other}");
        }
    }

    #[test]
    fn no_form_shows_the_password() {
        let proxy = proxy("http://alice:sekrit@proxy:3128");
        for text in [format!("{proxy}"), format!("{proxy:?}"), format!("{:?}", UpstreamSetting::Proxy(proxy.clone()))] {
            assert!(!text.contains("sekrit"), "{text}");
        }
    }

    #[test]
    fn a_flag_has_no_password_and_gets_it_from_elsewhere() {
        assert_eq!(UpstreamSetting::from_flag("NONE"), Ok(UpstreamSetting::None));
        assert_eq!(UpstreamSetting::from_flag("http://a:b@proxy"), Err(UpstreamProxyError::Password));
        let flag = UpstreamSetting::from_flag("http://alice@proxy:3128").unwrap();
        assert_eq!(flag.to_string(), "http://alice@proxy:3128");
        let UpstreamSetting::Proxy(flag) = flag else { panic!("none") };
        for (other, has_password) in [
            ("alice:sekrit@proxy:3128", true),
            ("http://bob:sekrit@proxy:3128", false),
            ("http://alice:sekrit@proxy:3129", false),
            ("https://alice:sekrit@proxy:3128", false),
            ("http://alice:sekrit@other:3128", false),
        ] {
            assert_eq!(flag.clone().with_password_of(&proxy(other)).has_password(), has_password, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_means_the_same_proxy(
            scheme in prop::sample::select(vec!["http", "https", "socks5", "socks5h"]),
            user in prop::option::of("[^\\p{C}:]{1,20}"),
            port in 1u16..,
        ) {
            let proxy = UpstreamProxy {
                scheme: scheme.parse().unwrap(), host: "proxy.example".into(), port, user, password: None,
            };
            prop_assert!(proxy.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(proxy.to_string().parse::<UpstreamProxy>(), Ok(proxy));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(http://|socks5h://)?[a-z:@/%0-9\\[\\]\\PC]{0,30}") {
            let _ = text.parse::<UpstreamSetting>();
        }
    }
}
