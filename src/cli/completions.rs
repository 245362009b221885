//! `kohakuriver completions`, and what a shell asks on TAB.
//!
//! The printed script has the shell run this program with [`KOHAKURIVER_COMPLETE`] set, so what is offered comes from
//! the definitions that `--help` is made from, and VPSes from [`super::vps_cache`]. Nothing is asked of a Host.

use std::ffi::OsString;

use clap::CommandFactory;
use clap_complete::env::{CompleteEnv, Shells};

use crate::cli::CommandLine;
use crate::cli::PROGRAM;
use crate::cli::ui;
use crate::failure::Failure;
use crate::settings::env_vars::KOHAKURIVER_COMPLETE;

/// zsh reads the script as the body of a function when TAB first wants it. The script only says then who completes from
/// now on, and that TAB wants an answer, too.
const ZSH_FIRST_TAB: &[u8] = b"
if [[ $funcstack[1] == _kohakuriver ]]; then
    _clap_dynamic_completer_kohakuriver
fi
";

#[derive(clap::Args, Debug)]
#[command(after_help = "\
VPSes are offered by the names and ids that `vps list` and `ssh config` saw last. Where the script goes:

  bash   ~/.local/share/bash-completion/completions/kohakuriver
  zsh    _kohakuriver, in a folder of $fpath
  fish   ~/.config/fish/completions/kohakuriver.fish")]
pub(super) struct Arguments {
    /// The shell to print a script for
    #[arg(value_name = "bash|zsh|fish", value_parser = ["bash", "zsh", "fish"], hide_possible_values = true)]
    shell: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let cannot = || Failure::new(format!("cannot print a script for {}", arguments.shell));
    let shell = Shells::builtins();
    let shell = shell.completer(&arguments.shell).ok_or_else(cannot)?;
    let mut script = Vec::new();
    let written = shell.write_registration(KOHAKURIVER_COMPLETE, PROGRAM, PROGRAM, PROGRAM, &mut script);
    written.map_err(|error| cannot().because(&error))?;
    if arguments.shell == "zsh" {
        script.extend_from_slice(ZSH_FIRST_TAB);
    }
    ui::print_bytes(&script)
}

/// Whether a shell asked, and was answered.
pub(super) fn answered(args: &[OsString]) -> bool {
    let definition = CompleteEnv::with_factory(CommandLine::command).var(KOHAKURIVER_COMPLETE);
    // A shell that wants to know what can't be told gets nothing, which it shows as nothing.
    definition.try_complete(args.iter().cloned(), std::env::current_dir().ok().as_deref()).unwrap_or(true)
}
