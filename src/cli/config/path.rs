//! `kohakuriver config path`: the path of the configuration file, for editors and scripts.

use crate::cli::files::config::ConfigJson;
use crate::cli::terminal::ui;
use crate::failure::Failure;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  cat \"$(kohakuriver config path)\"")]
pub(crate) struct Arguments {}

pub(super) fn run() -> Result<(), Failure> {
    let mut line = ConfigJson::path_of_user()?.into_os_string().into_encoded_bytes();
    line.push(b'\n');
    ui::print(&line)
}
