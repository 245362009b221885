//! Commands of this system that messages name, for the user to run.

use std::path::Path;

use crate::sys::Shell;

/// Whether a program of the system shows manual pages.
pub const HAS_MANUALS: bool = true;

/// The shells that can ask this program what to offer on TAB.
pub const COMPLETED_SHELLS: &str = "bash|zsh|fish|powershell";

/// Where their scripts go.
pub const WHERE_COMPLETIONS_GO: &str = "\
Files:
  bash        ~/.local/share/bash-completion/completions/kohakuriver
  zsh         _kohakuriver, in a folder of $fpath
  fish        ~/.config/fish/completions/kohakuriver.fish
  powershell  a file that $PROFILE runs

Examples:
  kohakuriver completions zsh > ~/.zfunc/_kohakuriver
  kohakuriver completions fish kohakuriver-proxy | source";

/// Why no home directory is known.
pub const NO_HOME: &str = "HOME is not set";

/// The step that helps then.
pub const FIND_HOME: &str = "set HOME";

/// A command for that.
pub const FIND_HOME_COMMAND: &str = "export HOME=~";

/// The owners of files that ssh accepts, in words.
pub const ACCEPTED_BY_SSH: &str = "yours, or root's";

/// The variable that names the folder for temporary files.
pub const TEMPORARY_FOLDER: &str = "TMPDIR";

/// The shell that the user runs commands in.
pub fn users_shell() -> Shell {
    Shell::Posix
}

fn word(path: &Path) -> String {
    users_shell().word(path.as_os_str()).to_string_lossy().into_owned()
}

/// Lists a file, or what is in a folder.
pub fn list(path: &Path) -> String {
    format!("ls -l {}", word(path))
}

/// Lists the user's files of ssh.
pub fn list_ssh_folder() -> String {
    "ls -l ~/.ssh".to_owned()
}

/// Shows the owner of a file or a folder, and who may use it.
pub fn show_access(path: &Path) -> String {
    format!("ls -ld {}", word(path))
}

/// Shows the owner of the folder with the user's files of ssh, and who may use it.
pub fn show_access_to_ssh_folder() -> String {
    "ls -ld ~/.ssh".to_owned()
}

/// Renames a file or a folder: `end` is added to its name.
pub fn move_away(path: &Path, end: &str) -> String {
    format!("mv {0} {0}{end}", word(path))
}

/// Gives the user access to a file or a folder, as `mode` says it.
pub fn give_access(path: &Path, mode: &str) -> String {
    format!("chmod {mode} {}", word(path))
}

/// Makes a file such as ssh accepts ([`ACCEPTED_BY_SSH`]).
pub fn make_own(path: &Path) -> String {
    format!("sudo chown \"$(id -u)\" {}", word(path))
}

/// The step that mends a link to a folder that does not exist.
pub fn mend_link(path: &Path) -> String {
    format!("create the directory that the link names: `mkdir -m 700 \"$(readlink -m {})\"`", word(path))
}

/// Shows a line of a file, to change it.
pub fn edit_at(file: &Path, number: usize) -> String {
    format!("${{EDITOR:-vi}} +{number} {}", word(file))
}

/// Shows the fingerprint of the key in a line of a file with host keys.
pub fn show_host_key(file: &Path, number: usize) -> String {
    format!("sed -n {number}p {} | ssh-keygen -lf -", word(file))
}

/// Shows the user's public keys.
pub fn show_public_keys() -> String {
    "cat ~/.ssh/*.pub".to_owned()
}

/// Starts an agent and runs `add`, which gives it a key.
pub fn start_agent(add: &str) -> String {
    format!("eval \"$(ssh-agent)\" && {add}")
}

/// Names another folder for temporary files.
pub fn set_temporary_folder() -> String {
    users_shell().set(TEMPORARY_FOLDER, "/tmp")
}

/// Runs `command`, which reads `file` from its stdin.
pub fn with_stdin(command: &str, file: &str) -> String {
    format!("{command} < {file}")
}

/// Shows the machine's clock.
pub fn show_clock() -> String {
    "date -u".to_owned()
}

/// Shows how full the disks are.
pub fn show_disks() -> String {
    "df -h".to_owned()
}

/// The value of ssh's LocalCommand that creates the file `mark`, and then runs the command `own`.
pub fn local_command(mark: &Path, own: Option<&str>) -> String {
    // ssh expands `%`, then a shell reads the command.
    let mark = word(mark).replace('%', "%%");
    own.map_or_else(|| format!(": >{mark}"), |own| format!(": >{mark}; {own}"))
}
