//! `kohakuriver completions`, and the answer when a shell asks what to offer on TAB.
//!
//! The printed script makes the shell run this program with [`KOHAKURIVER_COMPLETE`] set. Commands and flags come from
//! the command line's definition, VPSes from [`crate::cli::host::vps_cache`]. No Host is asked.

use std::ffi::OsString;

use clap::builder::PossibleValuesParser;
use clap_complete::env::{CompleteEnv, Shells};

use crate::cli::programs::names::PROGRAM;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::env_vars::KOHAKURIVER_COMPLETE;
use crate::sys;

/// The addition for zsh. The completer's answers are quoted, and a `~` must not be: zsh itself completes paths. And zsh
/// runs the script as a function's body on the first TAB, which must complete as well, not only register the completer.
const ZSH_ADDITION: &str = r#"
function _kohakuriver_words() {
    if [[ $PREFIX == (\~|*/)* ]]; then
        compset -P '--*='
        _files && return
    fi
    _clap_dynamic_completer_kohakuriver
}

compdef _kohakuriver_words kohakuriver

if [[ $funcstack[1] == _kohakuriver ]]; then
    _kohakuriver_words
fi
"#;

/// A line of zsh's script, and what stands there instead: zsh adds no blank behind a VPS's colon, where a path may follow.
const ZSH_WORDS: [&str; 2] = [
    "[[ -n $other ]] && _describe -V 'values' other",
    r"local -a vpses=(${(M)other:#*\\::*})
        other=(${other:#*\\::*})
        [[ -n $vpses ]] && _describe -V 'values' vpses -S ''
        [[ -n $other ]] && _describe -V 'values' other",
];

/// The addition for bash, which takes the completer's answers as they are, and would run a file's name such as `$(id)`.
const BASH_ADDITION: &str = r#"
_kohakuriver_words() {
    local at home
    # A colon divides words: what stands right behind it is a file on a VPS.
    COMPREPLY=()
    [[ ${COMP_LINE:0:COMP_POINT} == *:"${2#:}" ]] && return
    _clap_complete_kohakuriver "$@"
    for at in "${!COMPREPLY[@]}"; do
        if [[ ${COMPREPLY[at]} == *[^a-zA-Z0-9/._=:+@%,-]* ]]; then
            home=
            [[ ${COMPREPLY[at]} == \~/* ]] && home=\~/
            printf -v 'COMPREPLY[at]' '%s%q' "$home" "${COMPREPLY[at]#"$home"}"
        fi
    done
}
"#;

#[derive(clap::Args, Debug)]
#[command(after_help = format!(
    "Completion offers the names and ids of the VPSes that `vps list` or `ssh config` last showed.\n\n{}",
    sys::WHERE_COMPLETIONS_GO
))]
pub(crate) struct Arguments {
    /// The shell that will read the script
    #[arg(value_name = sys::COMPLETED_SHELLS, hide_possible_values = true,
          value_parser = PossibleValuesParser::new(sys::COMPLETED_SHELLS.split('|')))]
    shell: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let cannot = || Failure::new(format!("cannot print a script for {}", arguments.shell));
    let shell = Shells::builtins();
    let shell = shell.completer(&arguments.shell).ok_or_else(cannot)?;
    let mut script = Vec::new();
    let written = shell.write_registration(KOHAKURIVER_COMPLETE, PROGRAM, PROGRAM, PROGRAM, &mut script);
    written.map_err(|error| cannot().because(&error))?;
    let script = String::from_utf8_lossy(&script);
    ui::print(&match arguments.shell.as_str() {
        "bash" => {
            script.replace("-F _clap_complete_kohakuriver kohakuriver", "-F _kohakuriver_words kohakuriver")
                + BASH_ADDITION
        }
        "zsh" => script.replace(ZSH_WORDS[0], ZSH_WORDS[1]) + ZSH_ADDITION,
        _ => script.into_owned(),
    })
}

/// Whether a shell asked for completions of `definition`, and got its answer.
pub(super) fn answered(definition: fn() -> clap::Command, args: &[OsString]) -> bool {
    let definition = CompleteEnv::with_factory(definition).var(KOHAKURIVER_COMPLETE);
    // On an error the shell gets nothing, and offers nothing.
    definition.try_complete(args.iter().cloned(), std::env::current_dir().ok().as_deref()).unwrap_or(true)
}
