//! `kohakuriver config show`: every setting with its value and source. The token itself is never shown.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::terminal::table::{Column, table};
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::route::Route;
use crate::settings::{self, Setting, Settings, Source, env_vars};
use crate::tokens::{self, Found};

/// The columns. None is ever dropped, since no other command shows these values.
const COLUMNS: [Column; 3] = [Column::whole("SETTING", 0), Column::whole("VALUE", 0), Column::whole("SOURCE", 0)];

#[derive(clap::Args, Debug)]
#[command(after_help = "\
A flag overrides the environment variable, which overrides config.json. The token itself is not shown.

The JSON is an object with a key for each setting and one for the token. Each holds an object with the keys value and \
source. A missing value is null.

Examples:
  kohakuriver config show
  kohakuriver --host gpu-head config show --json | jq -r .host.source")]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let token = token_row(&tokens::of(settings));
    if arguments.json {
        return ui::print(&ui::json(&as_json(settings, token)));
    }
    let shown =
        |(name, value, source): (&str, Value, Source)| [name.to_owned(), text(name, &value), source.to_string()];
    let table =
        table(COLUMNS, &rows(settings).into_iter().map(shown).chain([token]).collect::<Vec<_>>(), ui::Look::PLAIN);
    ui::print(&format!(
        "{table}\n{}",
        ui::fields(&files(settings::config_path(), settings::auth_path(), tokens::path()))
    ))
}

/// Every setting with its value and its source.
pub(super) fn rows(settings: &Settings) -> Vec<(&'static str, Value, Source)> {
    let port = |name, port: &Setting<u16>| (name, port.value.into(), port.source.clone());
    let path = |name, file: &Option<Setting<PathBuf>>| row(name, file.as_ref(), |file| file.display().to_string());
    // Without its password. If no setting names one, the environment may.
    let of_env = || Route::of(settings, &settings.ssh_proxy()).ok()?.upstream;
    let upstream = match (&settings.upstream_proxy, of_env()) {
        (None, Some(upstream)) => ("upstream_proxy", upstream.proxy.to_string().into(), upstream.source),
        (setting, _) => row("upstream_proxy", setting.as_ref(), ToString::to_string),
    };
    let command = settings.proxy_auth_command.clone();
    let command = command.map(|value| Setting { value, source: Source::File });
    let admin_url = |_: &_| settings.gateway_admin_url();
    vec![
        ("cluster", settings.cluster.name().into(), settings.cluster_source.clone()),
        row("host", Some(&settings.host), |_| settings.host_as_typed()),
        port("port", &settings.port),
        port("ssh_proxy_port", &settings.ssh_proxy_port),
        row("proxy", settings.proxy.as_ref(), ToString::to_string),
        row("gateway_admin", settings.gateway_admin.as_ref(), admin_url),
        path("ca_file", &settings.tls.ca_file),
        row("pinned_key", settings.tls.pinned_key.as_ref(), ToString::to_string),
        path("client_cert", &settings.tls.client_cert),
        path("client_key", &settings.tls.client_key),
        upstream,
        row("proxy_auth_command", command.as_ref(), String::clone),
        row("resume", Some(&settings.resume), ToString::to_string),
        path("log_file", &settings.log_file),
        path("known_hosts", &settings.known_hosts),
    ]
}

/// A setting as `shown`, if it is set.
fn row<T, S: Into<Value>>(
    name: &'static str,
    setting: Option<&Setting<T>>,
    shown: impl FnOnce(&T) -> S,
) -> (&'static str, Value, Source) {
    let Some(Setting { value, source }) = setting else { return (name, Value::Null, Source::Default) };
    (name, shown(value).into(), source.clone())
}

fn text(name: &str, value: &Value) -> String {
    match value {
        Value::Null if name == "proxy" => "the Host's".to_owned(),
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn as_json(settings: &Settings, [token, value, source]: [String; 3]) -> Value {
    let entry = |value: Value, source: String| json!({ "value": value, "source": Some(source).filter(|source| !source.is_empty()) });
    let rows =
        rows(settings).into_iter().map(|(name, value, source)| (name.to_owned(), entry(value, source.to_string())));
    rows.chain([(token, entry(value.into(), source))]).collect()
}

fn token_row(token: &Result<Option<Found>, Failure>) -> [String; 3] {
    let (value, source) = match token {
        Ok(Some(Found { source, .. })) => (
            "set".to_owned(),
            match source {
                tokens::Source::Env => env_vars::KOHAKURIVER_TOKEN,
                tokens::Source::AuthFile { .. } => "auth.json",
                tokens::Source::Ours(_) => "tokens.json",
            },
        ),
        Ok(None) => ("none".to_owned(), ""),
        Err(failure) => (format!("unusable: {}", failure.what()), ""),
    };
    ["token".to_owned(), value, source.to_owned()]
}

fn files(config: Option<PathBuf>, auth: Option<PathBuf>, tokens: Option<PathBuf>) -> Vec<(&'static str, String)> {
    let shown = |path: Option<PathBuf>| match path {
        Some(path) if path.exists() => path.display().to_string(),
        Some(path) => format!("{} (does not exist)", path.display()),
        None => String::new(),
    };
    vec![("config.json", shown(config)), ("auth.json", shown(auth)), ("tokens.json", shown(tokens))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Token;
    use crate::settings::{ConfigFile, Flags};

    fn settings(flags: Flags) -> Settings {
        Settings::resolve(flags, &|_| None, ConfigFile::default()).unwrap()
    }

    #[test]
    fn every_setting_has_a_row() {
        let flags = Flags { proxy: Some("door:9".parse().unwrap()), ..Flags::default() };
        let rows = rows(&settings(flags));
        let names: Vec<&str> = rows.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, ["cluster"].into_iter().chain(settings::keys()).collect::<Vec<_>>());
        assert!(rows.contains(&("host", "localhost".into(), Source::Default)), "{rows:?}");
        assert!(rows.contains(&("proxy", "door:9".into(), Source::Flag)), "{rows:?}");
    }

    #[test]
    fn the_token_is_never_shown() {
        let found = |source| Ok(Some(Found { token: Token::new("sekrit").unwrap(), source }));
        let auth_file = tokens::Source::AuthFile { path: "/a".into(), is_bound: true };
        for (token, shown) in [
            (found(tokens::Source::Env), ["token", "set", "KOHAKURIVER_TOKEN"]),
            (found(auth_file), ["token", "set", "auth.json"]),
            (found(tokens::Source::Ours("/t".into())), ["token", "set", "tokens.json"]),
            (Ok(None), ["token", "none", ""]),
            (Err(Failure::new("broken")), ["token", "unusable: broken", ""]),
        ] {
            let row = token_row(&token);
            assert_eq!(row, shown.map(str::to_owned));
            // A missing value is null.
            let source = Some(shown[2]).filter(|source| !source.is_empty());
            assert_eq!(
                as_json(&settings(Flags::default()), row)["token"],
                json!({ "value": shown[1], "source": source })
            );
        }
    }

    #[test]
    fn a_missing_file_is_marked() {
        let shown = files(Some("/no/such/config.json".into()), None, None);
        assert_eq!(shown[0].1, "/no/such/config.json (does not exist)");
        assert_eq!(shown[1].1, "");
    }
}
