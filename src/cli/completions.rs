//! `kohakuriver completions`, and the answer when a shell asks what to offer on TAB.
//!
//! The printed script makes the shell run this program with [`KOHAKURIVER_COMPLETE`] set, also for the other programs of
//! the package. Commands and flags come from the command line's definition, VPSes from [`crate::cli::host::vps_cache`]. No
//! Host is asked.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::PossibleValuesParser;
use clap_complete::env::{CompleteEnv, Shells};

use crate::cli::programs::names::{COMPLETED, PROGRAM};
use crate::cli::programs::other::OtherProgram;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::env_vars::KOHAKURIVER_COMPLETE;
use crate::sys;

/// Placeholders in the texts below: the name of the completed program, and the same name as functions of shells have it.
const NAME: &str = "PROGRAM";
const ID: &str = "ID";

/// The addition for zsh. The completer's answers are quoted, and a `~` must not be: zsh itself completes paths. And zsh
/// runs the script as a function's body on the first TAB, which must complete as well, not only register the completer.
const ZSH_ADDITION: &str = r#"
function _ID_words() {
    if [[ $PREFIX == (\~|*/)* ]]; then
        compset -P '--*='
        _files && return
    fi
    _clap_dynamic_completer_ID
}

compdef _ID_words PROGRAM

if [[ $funcstack[1] == _PROGRAM ]]; then
    _ID_words
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

/// The registration in bash's script, and the one that replaces it.
const BASH_WORDS: [&str; 2] = ["-F _clap_complete_ID PROGRAM", "-F _ID_words PROGRAM"];

/// The addition for bash, which takes the completer's answers as they are, and would run a file's name such as `$(id)`.
const BASH_ADDITION: &str = r#"
_ID_words() {
    local at home
    # A colon divides words: what stands right behind it is a file on a VPS.
    COMPREPLY=()
    [[ ${COMP_LINE:0:COMP_POINT} == *:"${2#:}" ]] && return
    _clap_complete_ID "$@"
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
    /// The program whose command line is to be completed
    #[arg(value_name = "PROGRAM", default_value = PROGRAM, value_parser = PossibleValuesParser::new(COMPLETED))]
    program: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let program = arguments.program.as_str();
    let cannot = || Failure::new(format!("cannot print a script for {}", arguments.shell));
    let shells = Shells::builtins();
    let shell = shells.completer(&arguments.shell).ok_or_else(cannot)?;
    let mut script = Vec::new();
    let written = shell.write_registration(KOHAKURIVER_COMPLETE, program, program, PROGRAM, &mut script);
    written.map_err(|error| cannot().because(&error))?;
    let script = String::from_utf8_lossy(&script);
    let named = |text: &str| text.replace(NAME, program).replace(ID, &program.replace('-', "_"));
    ui::print(&match arguments.shell.as_str() {
        "bash" => script.replace(&named(BASH_WORDS[0]), &named(BASH_WORDS[1])) + &named(BASH_ADDITION),
        "zsh" => script.replace(ZSH_WORDS[0], ZSH_WORDS[1]) + &named(ZSH_ADDITION),
        _ => script.into_owned(),
    })
}

fn definition_of(program: &OsStr, others: &[fn() -> OtherProgram]) -> Option<clap::Command> {
    others.iter().map(|other| other().definition).find(|definition| definition.get_name() == program)
}

/// Whether a shell asked for completions, and got its answer. `definition` is this program's command line.
pub(super) fn answered(definition: fn() -> clap::Command, others: &[fn() -> OtherProgram], args: &[OsString]) -> bool {
    // The shell gives the words of its command line behind `--`.
    let completed = args.iter().skip_while(|arg| *arg != "--").nth(1).and_then(|word| Path::new(word).file_name());
    let factory = || completed.and_then(|name| definition_of(name, others)).unwrap_or_else(definition);
    let answer = CompleteEnv::with_factory(factory).var(KOHAKURIVER_COMPLETE);
    // On an error the shell gets nothing, and offers nothing.
    answer.try_complete(args.iter().cloned(), std::env::current_dir().ok().as_deref()).unwrap_or(true)
}
