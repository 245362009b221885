//! `kohakuriver config path`: where the configuration file is, for editors and scripts.

use std::os::unix::ffi::OsStringExt;

use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings;

pub(super) fn run() -> Result<(), Failure> {
    let path = settings::config_path()
        .ok_or_else(|| Failure::new("cannot tell where your configuration directory is").hint("set HOME"))?;
    let mut line = path.into_os_string().into_vec();
    line.push(b'\n');
    ui::print_bytes(&line)
}
