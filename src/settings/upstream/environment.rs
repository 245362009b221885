//! The upstream proxy that the environment names, as curl reads it.

use std::net::IpAddr;

use super::no_proxy;
use super::proxy::{UpstreamProxy, UpstreamSetting};
use crate::failure::Failure;
use crate::settings::address::Origin;
use crate::settings::env_vars::{
    ALL_PROXY, HTTP_PROXY, HTTPS_PROXY, LOWER_ALL_PROXY, LOWER_HTTP_PROXY, LOWER_HTTPS_PROXY, LOWER_NO_PROXY, NO_PROXY,
    REQUEST_METHOD,
};
use crate::settings::sources::{Environment, env_text, set_or_unset};

/// The proxy on the way to `origin`, and the variable that names it.
///
/// - https: `https_proxy`, else `HTTPS_PROXY`; http: `http_proxy`, else `HTTP_PROXY`; for both, else `all_proxy`, else
///   `ALL_PROXY`. An empty variable counts as not set.
/// - In a CGI program (`REQUEST_METHOD` is set), `HTTP_PROXY` is a header field of the client, and is ignored.
/// - `no_proxy`, else `NO_PROXY`, lists servers without a proxy.
/// - This machine has no proxy on the way: `localhost` and loopback addresses.
///
/// # Errors
/// When the variable for `origin` can't be used. The message doesn't quote it: it may hold a password.
fn from_environment(origin: &Origin, env: Environment<'_>) -> Result<Option<(UpstreamProxy, &'static str)>, Failure> {
    if is_this_machine(&origin.host) {
        return Ok(None);
    }
    let of_scheme =
        if origin.scheme.has_tls() { [LOWER_HTTPS_PROXY, HTTPS_PROXY] } else { [LOWER_HTTP_PROXY, HTTP_PROXY] };
    let is_cgi = env(REQUEST_METHOD).is_some();
    let of_scheme = of_scheme.into_iter().filter(|&name| !(is_cgi && name == HTTP_PROXY));
    let Some((url, name)) = first_set(of_scheme.chain([LOWER_ALL_PROXY, ALL_PROXY]), env)? else { return Ok(None) };
    let list = first_set([LOWER_NO_PROXY, NO_PROXY], env)?;
    if list.is_some_and(|(list, _)| no_proxy::names(&list, &origin.host, origin.port)) {
        return Ok(None);
    }
    let proxy = url.parse().map_err(|error| {
        Failure::usage(format!("cannot use {name}")).because(&error).hint(set_or_unset(name, "http://PROXY:3128"))
    })?;
    Ok(Some((proxy, name)))
}

/// All proxies that the environment names, whatever they are for, each with its variable.
pub fn proxies_of(env: Environment<'_>) -> Vec<(UpstreamProxy, &'static str)> {
    let names = [LOWER_HTTPS_PROXY, HTTPS_PROXY, LOWER_HTTP_PROXY, HTTP_PROXY, LOWER_ALL_PROXY, ALL_PROXY];
    names.into_iter().filter_map(|name| Some((env(name)?.to_str()?.parse().ok()?, name))).collect()
}

/// The proxy on the way to `origin`: that of `setting` (the flag's or config.json's `upstream_proxy`), else that of the
/// environment. The variable is `None` where the proxy is the setting's.
///
/// # Errors
/// When the environment's variable for `origin` can't be used.
pub fn upstream_for(
    origin: &Origin,
    setting: Option<&UpstreamSetting>,
    env: Environment<'_>,
) -> Result<Option<(UpstreamProxy, Option<&'static str>)>, Failure> {
    match setting {
        Some(UpstreamSetting::None) => Ok(None),
        Some(UpstreamSetting::Proxy(proxy)) => Ok(Some((proxy.clone(), None))),
        None => Ok(from_environment(origin, env)?.map(|(proxy, name)| (proxy, Some(name)))),
    }
}

/// The first of the variables that holds something.
fn first_set(
    names: impl IntoIterator<Item = &'static str>,
    env: Environment<'_>,
) -> Result<Option<(String, &'static str)>, Failure> {
    for name in names {
        match env_text(env, name)? {
            Some((text, name)) if !text.trim().is_empty() => return Ok(Some((text, name))),
            _ => {}
        }
    }
    Ok(None)
}

fn is_this_machine(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Scheme;
    use std::ffi::OsString;

    fn found(origin: &str, env: &[(&str, &str)]) -> Result<Option<String>, Failure> {
        let (scheme, rest) = origin.split_once("://").unwrap();
        let (host, port) = rest.rsplit_once(':').unwrap();
        let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
        let origin = Origin { scheme, host: host.to_owned(), port: port.parse().unwrap() };
        let look_up = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Ok(from_environment(&origin, &look_up)?.map(|(proxy, name)| format!("{name} {}", proxy.host)))
    }

    #[test]
    fn all_that_the_environment_names() {
        let env =
            |name: &str| (name != HTTP_PROXY).then(|| OsString::from(format!("http://{}", name.replace('_', "-"))));
        let found = proxies_of(&env).into_iter().map(|(proxy, name)| (proxy.host, name)).collect::<Vec<_>>();
        let expected = [LOWER_HTTPS_PROXY, HTTPS_PROXY, LOWER_HTTP_PROXY, LOWER_ALL_PROXY, ALL_PROXY];
        assert_eq!(found, expected.map(|name| (name.replace('_', "-"), name)));
    }

    #[test]
    fn the_variable_that_applies() {
        let all = [
            ("https_proxy", "a"),
            ("HTTPS_PROXY", "b"),
            ("http_proxy", "c"),
            ("HTTP_PROXY", "d"),
            ("all_proxy", "e"),
            ("ALL_PROXY", "f"),
        ];
        let (https, http) = ("https://gpu.example:443", "http://gpu.example:8002");
        let without = |names: &[&str]| -> Vec<_> {
            all.into_iter().map(|(name, value)| (name, if names.contains(&name) { "" } else { value })).collect()
        };
        for (origin, empty, expected) in [
            (https, &[][..], Some("https_proxy a")),
            (https, &["https_proxy"], Some("HTTPS_PROXY b")),
            (https, &["https_proxy", "HTTPS_PROXY"], Some("all_proxy e")),
            (https, &["https_proxy", "HTTPS_PROXY", "all_proxy"], Some("ALL_PROXY f")),
            (https, &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"], None),
            (http, &[], Some("http_proxy c")),
            (http, &["http_proxy"], Some("HTTP_PROXY d")),
            (http, &["http_proxy", "HTTP_PROXY"], Some("all_proxy e")),
        ] {
            assert_eq!(found(origin, &without(empty)).unwrap().as_deref(), expected, "{origin} {empty:?}");
        }
        let in_cgi = [&without(&["http_proxy"])[..], &[("REQUEST_METHOD", "GET")]].concat();
        assert_eq!(found(http, &in_cgi).unwrap().unwrap(), "all_proxy e");
        assert_eq!(found(https, &in_cgi).unwrap().unwrap(), "https_proxy a");
        assert_eq!(found(http, &[("http_proxy", "c"), ("REQUEST_METHOD", "GET")]).unwrap().unwrap(), "http_proxy c");
    }

    #[test]
    fn servers_without_a_proxy() {
        let with = |host: &str, more: &[(&str, &str)]| {
            let env = [&[("HTTPS_PROXY", "p")][..], more].concat();
            found(&format!("https://{host}:443"), &env).unwrap().is_some()
        };
        for host in ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(!with(host, &[]), "{host}");
        }
        for host in ["localhost.example", "mylocalhost", "10.0.0.1", "fe80::1"] {
            assert!(with(host, &[]), "{host}");
        }
        assert!(!with("gpu.example", &[("NO_PROXY", "example")]));
        assert!(!with("gpu.example", &[("no_proxy", "example"), ("NO_PROXY", "other")]));
        assert!(with("gpu.example", &[("no_proxy", "other"), ("NO_PROXY", "example")]));
        assert!(!with("gpu.example", &[("no_proxy", ""), ("NO_PROXY", "example")]));
    }

    #[test]
    fn a_wrong_variable_is_named_and_not_quoted() {
        let env = [("HTTPS_PROXY", "http://alice:sek/rit@proxy")];
        let text = found("https://gpu.example:443", &env).unwrap_err().render("p");
        assert!(text.contains("cannot use HTTPS_PROXY") && text.contains("%2F") && !text.contains("sek"), "{text}");
        assert!(text.contains("hint: `export HTTPS_PROXY=http://PROXY:3128`, or `unset HTTPS_PROXY`"), "{text}");
        // An unusable variable is no error for an origin that doesn't use it.
        assert_eq!(found("http://gpu.example:80", &env).unwrap(), None);
        assert_eq!(found("https://gpu.example:443", &[env[0], ("NO_PROXY", "*")]).unwrap(), None);
    }

    #[test]
    fn the_setting_is_above_the_environment() {
        let origin = Origin { scheme: Scheme::Https, host: "gpu.example".into(), port: 443 };
        let env = |name: &str| (name == "HTTPS_PROXY").then(|| OsString::from("env"));
        let host = |setting: Option<&str>| {
            let setting = setting.map(|text| text.parse().unwrap());
            upstream_for(&origin, setting.as_ref(), &env).unwrap().map(|(proxy, name)| (proxy.host, name))
        };
        assert_eq!(host(None), Some(("env".into(), Some("HTTPS_PROXY"))));
        assert_eq!(host(Some("none")), None);
        assert_eq!(host(Some("file")), Some(("file".into(), None)));
    }
}
