//! The order of the sources: a flag counts before the environment, and that before `config.json`.

use std::path::PathBuf;
use std::str::FromStr;

use super::sources::set_or_unset;
use super::{Environment, ProxyAddressError, Setting, Source, UpstreamSetting, proxies_of, without_credentials};
use crate::failure::Failure;
use crate::secret::Password;

pub(super) fn pick<T>(flag: Option<T>, env: Option<(T, &'static str)>, file: Option<T>, default: T) -> Setting<T> {
    pick_optional(flag, env, file).unwrap_or(Setting { value: default, source: Source::Default })
}

pub(super) fn pick_optional<T>(flag: Option<T>, env: Option<(T, &'static str)>, file: Option<T>) -> Option<Setting<T>> {
    let flag = flag.map(|value| Setting { value, source: Source::Flag });
    flag.or_else(|| env.map(|(value, name)| Setting { value, source: Source::Env(name) }))
        .or_else(|| file.map(|value| Setting { value, source: Source::File }))
}

/// The address of a server, from the first of the three sources that names one.
pub(super) fn pick_address<A: FromStr<Err = ProxyAddressError>>(
    key: &str,
    flag: Option<A>,
    env: Option<(String, &'static str)>,
    file: Option<String>,
    why: impl FnOnce(ProxyAddressError) -> String,
) -> Result<Option<Setting<A>>, Failure> {
    if let Some(value) = flag {
        return Ok(Some(Setting { value, source: Source::Flag }));
    }
    let Some(typed) = pick_optional(None, env, file) else { return Ok(None) };
    let value = typed.value.parse().map_err(|error| {
        let (named, hint) = match &typed.source {
            Source::Env(name) => ((*name).to_owned(), set_or_unset(name, "HOST[:PORT]")),
            source => (format!("`{key}` in {source}"), "`kohakuriver config path` shows where that file is".to_owned()),
        };
        Failure::usage(format!("{named} is `{}`", without_credentials(&typed.value))).cause(why(error)).hint(hint)
    })?;
    Ok(Some(Setting { value, source: typed.source }))
}

/// The proxy on the way. A flag has no password: it counts with that of the file or the environment, for the same proxy.
pub(super) fn pick_upstream(
    flag: Option<UpstreamSetting>,
    file: Option<Password>,
    env: Environment<'_>,
) -> Result<Option<Setting<UpstreamSetting>>, Failure> {
    let parsed = |text: Password| {
        text.expose().parse::<UpstreamSetting>().map_err(|error| {
            Failure::usage("cannot use `upstream_proxy` in config.json")
                .because(&error)
                .hint("write it as http://PROXY:3128, https://, socks5h:// or `none`")
        })
    };
    let file = file.map(parsed);
    Ok(match (flag, file) {
        (Some(UpstreamSetting::Proxy(proxy)), file) => {
            let stored = if let Some(Ok(UpstreamSetting::Proxy(stored))) = file { Some(stored) } else { None };
            let others = stored.into_iter().chain(proxies_of(env).into_iter().map(|(proxy, _)| proxy));
            let value = others.fold(proxy, |proxy, other| proxy.with_password_of(&other));
            Some(Setting { value: UpstreamSetting::Proxy(value), source: Source::Flag })
        }
        (Some(UpstreamSetting::None), _) => Some(Setting { value: UpstreamSetting::None, source: Source::Flag }),
        (None, Some(file)) => Some(Setting { value: file?, source: Source::File }),
        (None, None) => None,
    })
}

/// ssh and the programs that it starts run in any folder.
pub(super) fn check_path(what: &str, file: Setting<PathBuf>) -> Result<Setting<PathBuf>, Failure> {
    if file.value.is_absolute() || file.value.starts_with("~") {
        return Ok(file);
    }
    let failure = Failure::usage(format!("{what} is `{}`, which is a relative path", file.value.display()));
    let failure = failure.cause(format!("set by: {}", file.source));
    Err(failure.hint("give an absolute path, or one that begins with `~/`"))
}
