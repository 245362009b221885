//! `kohakuriver config show`: every setting with its value and source. The token itself is never shown.

use std::path::PathBuf;

use crate::cli::terminal::table::{Column, table};
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::{self, Settings, Source, env_vars};

/// The columns. None is ever dropped, since no other command shows these values.
const COLUMNS: [Column; 3] = [Column::whole("SETTING", 0), Column::whole("VALUE", 0), Column::whole("SOURCE", 0)];

#[derive(clap::Args, Debug)]
#[command(after_help = "\
A flag overrides the environment variable, which overrides config.json. The token itself is not shown.

Examples:
  kohakuriver config show
  kohakuriver --host gpu-head config show")]
pub(crate) struct Arguments {}

pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let token = (settings::load_token(), settings::process_environment(env_vars::KOHAKURIVER_TOKEN).is_some());
    let table = table(COLUMNS, &rows(settings, &token.0, token.1), ui::Look::PLAIN);
    ui::print(&format!("{table}\n{}", ui::fields(&files(settings::config_path(), settings::auth_path()))))
}

fn rows(settings: &Settings, token: &Result<Option<Token>, Failure>, token_from_env: bool) -> Vec<[String; 3]> {
    let row = |name: &str, value: String, source: &Source| [name.to_owned(), value, source.to_string()];
    let proxy = match &settings.proxy {
        Some(proxy) => row("proxy", proxy.value.to_string(), &proxy.source),
        None => row("proxy", "the Host's".to_owned(), &Source::Default),
    };
    let gateway_admin = settings.gateway_admin.as_ref().map_or(&Source::Default, |admin| &admin.source);
    let log_file = match &settings.log_file {
        Some(file) => row("log_file", file.value.display().to_string(), &file.source),
        None => row("log_file", String::new(), &Source::Default),
    };
    vec![
        row("host", settings.host.value.clone(), &settings.host.source),
        row("port", settings.port.value.to_string(), &settings.port.source),
        row("ssh_proxy_port", settings.ssh_proxy_port.value.to_string(), &settings.ssh_proxy_port.source),
        proxy,
        row("gateway_admin", settings.gateway_admin_url(), gateway_admin),
        log_file,
        token_row(token, token_from_env),
    ]
}

fn token_row(token: &Result<Option<Token>, Failure>, from_env: bool) -> [String; 3] {
    let value = match token {
        Ok(Some(_)) => "set".to_owned(),
        Ok(None) => "none".to_owned(),
        Err(failure) => format!("unusable: {}", failure.what()),
    };
    let source = match token {
        _ if from_env => env_vars::KOHAKURIVER_TOKEN,
        Ok(None) => "",
        _ => "auth.json",
    };
    ["token".to_owned(), value, source.to_owned()]
}

fn files(config: Option<PathBuf>, auth: Option<PathBuf>) -> Vec<(&'static str, String)> {
    let shown = |path: Option<PathBuf>| match path {
        Some(path) if path.exists() => path.display().to_string(),
        Some(path) => format!("{} (does not exist)", path.display()),
        None => String::new(),
    };
    vec![("config.json", shown(config)), ("auth.json", shown(auth))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{ConfigFile, Flags, KEYS};

    fn settings(flags: Flags) -> Settings {
        Settings::resolve(flags, &|_| None, ConfigFile::default()).unwrap()
    }

    #[test]
    fn every_setting_has_a_row() {
        let flags = Flags { proxy: Some("door:9".parse().unwrap()), ..Flags::default() };
        let rows = rows(&settings(flags), &Ok(None), false);
        let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert!(KEYS.iter().all(|key| names.contains(key)), "{names:?}");
        assert!(rows.contains(&["host", "localhost", "default"].map(str::to_owned)), "{rows:?}");
        assert!(rows.contains(&["proxy", "door:9", "flag"].map(str::to_owned)), "{rows:?}");
    }

    #[test]
    fn the_token_is_never_shown() {
        for (token, from_env, shown) in [
            (Ok(Some(Token::new("sekrit").unwrap())), true, ["token", "set", "KOHAKURIVER_TOKEN"]),
            (Ok(Some(Token::new("sekrit").unwrap())), false, ["token", "set", "auth.json"]),
            (Ok(None), false, ["token", "none", ""]),
            (Err(Failure::new("broken")), false, ["token", "unusable: broken", "auth.json"]),
        ] {
            assert_eq!(token_row(&token, from_env), shown.map(str::to_owned));
        }
    }

    #[test]
    fn a_missing_file_is_marked() {
        let shown = files(Some("/no/such/config.json".into()), None);
        assert_eq!(shown[0].1, "/no/such/config.json (does not exist)");
        assert_eq!(shown[1].1, "");
    }
}
