//! `kohakuriver config path`: the path of the configuration file, for editors and scripts.

use std::path::PathBuf;

use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  cat \"$(kohakuriver config path)\"")]
pub(crate) struct Arguments {}

/// The path of the user's configuration file.
pub(super) fn of_user() -> Result<PathBuf, Failure> {
    settings::config_path().ok_or_else(|| Failure::new("your configuration directory is unknown").hint("set HOME"))
}

pub(super) fn run() -> Result<(), Failure> {
    let mut line = of_user()?.into_os_string().into_encoded_bytes();
    line.push(b'\n');
    ui::print_bytes(&line)
}
