//! `kohakuriver config set` and `unset`: change one setting in the configuration file, and keep all others.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value};

use crate::cli::programs::host_keys;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::{self, ConfigFile, Flags, KEYS, Settings, Source};
use crate::ssh::keys::expand_home;
use crate::ssh::user_file::UserFile;
use crate::sys;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
The settings are host, port, ssh_proxy_port, proxy, gateway_admin, log_file and known_hosts. A token is not a setting: \
`kohakuriver auth login` stores one.

Examples:
  kohakuriver config set host gpu-head
  kohakuriver config set ssh_proxy_port 9002")]
pub(crate) struct Arguments {
    /// Setting to change
    #[arg(value_name = "SETTING", value_parser = PossibleValuesParser::new(KEYS), hide_possible_values = true)]
    key: String,
    /// Its new value
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  kohakuriver config unset proxy")]
pub(crate) struct UnsetArguments {
    /// Setting to remove; one that this version doesn't know can be removed as well
    #[arg(value_name = "SETTING")]
    key: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { key, value } = arguments;
    let file = File::of_user()?;
    let mut object = file.object()?;
    object.insert(key.clone(), stored(key, value));
    file.write(key, &object)?;
    ui::remark(&format!("set `{key}` in {}", file.path.display()));
    warn_if_overridden(key);
    Ok(())
}

pub(super) fn unset(arguments: &UnsetArguments) -> Result<(), Failure> {
    let key = &arguments.key;
    let file = File::of_user()?;
    let mut object = file.object()?;
    if object.remove(key).is_none() {
        ui::remark(&format!("`{key}` is not set in {}", file.path.display()));
        return Ok(());
    }
    file.write(key, &object)?;
    ui::remark(&format!("removed `{key}` from {}", file.path.display()));
    Ok(())
}

/// The value as the file holds it. Programs that an IDE starts have another working directory, and no shell.
fn stored(key: &str, value: &str) -> Value {
    match (key, value.parse::<u16>(), settings::home_dir()) {
        ("port" | "ssh_proxy_port", Ok(port), _) => port.into(),
        ("log_file", _, Some(home)) if !value.is_empty() => {
            let path = Path::new(value).strip_prefix("~").map_or_else(|_| value.into(), |rest| home.join(rest));
            std::path::absolute(&path).unwrap_or(path).display().to_string().into()
        }
        _ => value.into(),
    }
}

/// The user's configuration file.
struct File {
    path: PathBuf,
    stored: UserFile,
}

impl File {
    fn of_user() -> Result<Self, Failure> {
        let path = super::path::of_user()?;
        let stored = UserFile::read(&path).map_err(|error| cannot_change(&path).because(&error))?;
        Ok(Self { path, stored })
    }

    /// The content of the file. It may hold unusable values: this is how a user corrects them.
    fn object(&self) -> Result<Map<String, Value>, Failure> {
        let content = self.stored.content().unwrap_or(b"{}");
        serde_json::from_slice(content).map_err(|error| {
            let failure = cannot_change(&self.path).cause(format!("it is not one JSON object: {error}"));
            failure.hint("correct it in an editor, or move it away")
        })
    }

    /// Replaces the file by one with these settings, of which `key` was changed, if programs can use them.
    fn write(&self, key: &str, object: &Map<String, Value>) -> Result<(), Failure> {
        let text = format!("{:#}\n", Value::Object(object.clone()));
        let file = ConfigFile::parse(text.as_bytes()).map_err(|error| {
            let failure = Failure::usage(format!("{} would not be usable", self.path.display())).because(&error);
            failure.hint("see the settings with `kohakuriver config set --help`")
        })?;
        // An address is checked only here.
        let settings = Settings::resolve(Flags::default(), &|_| None, file)?;
        if let Some(file) = settings.known_hosts.filter(|_| key == "known_hosts") {
            host_keys::check(&expand_home(&file.value, settings::home_dir().as_deref()))?;
        }
        if let Some(folder) = self.path.parent() {
            sys::create_private_folder_all(folder).map_err(|error| cannot_change(&self.path).because(&error))?;
        }
        self.stored.replace(text.as_bytes()).map_err(|error| cannot_change(&self.path).because(&error))
    }
}

fn cannot_change(path: &Path) -> Failure {
    Failure::new(format!("cannot change {}", path.display()))
}

/// The environment overrides the file.
fn warn_if_overridden(key: &str) {
    let Ok(settings) = Settings::load(Flags::default()) else { return };
    let rows = super::show::rows(&settings);
    if let Some((_, _, Source::Env(name))) = rows.iter().find(|(name, ..)| *name == key) {
        ui::remark(&format!("warning: {name} is set and overrides it; `unset {name}` makes the file count"));
    }
}
