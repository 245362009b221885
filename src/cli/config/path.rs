//! `kohakuriver config path`: the path of the configuration file, for editors and scripts.

use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  cat \"$(kohakuriver config path)\"")]
pub(crate) struct Arguments {}

pub(super) fn run() -> Result<(), Failure> {
    let path = settings::config_path()
        .ok_or_else(|| Failure::new("your configuration directory is unknown").hint("set HOME"))?;
    let mut line = path.into_os_string().into_encoded_bytes();
    line.push(b'\n');
    ui::print_bytes(&line)
}
