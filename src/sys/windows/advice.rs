//! Commands of this system that messages name, for the user to run.

use std::env;
use std::path::Path;

use super::icacls;
use crate::sys::Shell;

/// Whether a program of the system shows manual pages.
pub const HAS_MANUALS: bool = false;

/// The shells that can ask this program what to offer on TAB.
pub const COMPLETED_SHELLS: &str = "powershell";

/// Where their scripts go.
pub const WHERE_COMPLETIONS_GO: &str = "\
Examples, to be put into the file that $PROFILE names:
  kohakuriver completions powershell | Out-String | Invoke-Expression";

/// Why no home directory is known.
pub const NO_HOME: &str = "Windows has no profile folder of yours";

/// The step that helps then.
pub const FIND_HOME: &str = "sign out and in again, and look at it";

/// A command for that.
pub const FIND_HOME_COMMAND: &str = "cmd /c echo %USERPROFILE%";

/// The files that ssh accepts, in words.
pub const ACCEPTED_BY_SSH: &str = "yours, and closed to other users";

/// The variable that names the folder for temporary files.
pub const TEMPORARY_FOLDER: &str = "TMP";

/// The shell that the user runs commands in. cmd gives each program the variable PROMPT, and the shell of Git and of MSYS2
/// gives it MSYSTEM. Everything else starts from PowerShell, which a terminal of Windows opens.
pub fn users_shell() -> Shell {
    let is_set = |name| env::var_os(name).is_some();
    match () {
        () if is_set("MSYSTEM") => Shell::Posix,
        () if is_set("PROMPT") => Shell::Cmd,
        () => Shell::PowerShell,
    }
}

/// A command for PowerShell, or another one for cmd.
fn either(power_shell: String, cmd: String) -> String {
    if users_shell() == Shell::Cmd { cmd } else { power_shell }
}

fn word(path: &Path) -> String {
    users_shell().word(path.as_os_str()).to_string_lossy().into_owned()
}

/// Lists a file, or what is in a folder.
pub fn list(path: &Path) -> String {
    format!("dir {}", word(path))
}

/// Lists the user's files of ssh.
pub fn list_ssh_folder() -> String {
    either("dir ~/.ssh".to_owned(), r#"dir "%USERPROFILE%\.ssh""#.to_owned())
}

/// Shows the owner of a file or a folder, and who may use it.
pub fn show_access(path: &Path) -> String {
    format!("icacls {}", word(path))
}

/// Shows the owner of the folder with the user's files of ssh, and who may use it.
pub fn show_access_to_ssh_folder() -> String {
    either(r#"icacls "$HOME\.ssh""#.to_owned(), r#"icacls "%USERPROFILE%\.ssh""#.to_owned())
}

/// Renames a file or a folder: `end` is added to its name.
pub fn move_away(path: &Path, end: &str) -> String {
    let mut moved = path.as_os_str().to_owned();
    moved.push(end);
    format!("move {} {}", word(path), word(Path::new(&moved)))
}

/// Gives the user access to a file or a folder. There are no modes.
pub fn give_access(path: &Path, _mode: &str) -> String {
    users_shell().line(icacls::access_of_user(path)).to_string_lossy().into_owned()
}

/// Makes a file such as ssh accepts ([`ACCEPTED_BY_SSH`]).
pub fn make_own(path: &Path) -> String {
    users_shell().line(icacls::private(path)).to_string_lossy().into_owned()
}

/// The step that mends a link to a folder that does not exist.
pub fn mend_link(path: &Path) -> String {
    format!("remove the link: `rmdir {}`", word(path))
}

/// Shows a file, to change a line of it.
pub fn edit_at(file: &Path, _number: usize) -> String {
    format!("notepad {}", word(file))
}

/// Shows the fingerprints of the keys in a file with host keys.
pub fn show_host_key(file: &Path, _number: usize) -> String {
    format!("ssh-keygen -lf {}", word(file))
}

/// Shows the user's public keys.
pub fn show_public_keys() -> String {
    either("cat ~/.ssh/*.pub".to_owned(), r#"type "%USERPROFILE%\.ssh\*.pub""#.to_owned())
}

/// Starts the agent, which is a service, and runs `add`, which gives it a key.
pub fn start_agent(add: &str) -> String {
    either(
        format!("Set-Service ssh-agent -StartupType Manual; Start-Service ssh-agent; {add}"),
        format!("sc config ssh-agent start= demand && sc start ssh-agent && {add}"),
    )
}

/// Names another folder for temporary files.
pub fn set_temporary_folder() -> String {
    users_shell().set(TEMPORARY_FOLDER, r"C:\Windows\Temp")
}

/// Runs `command`, which reads `file` from its stdin. PowerShell has no `<`.
pub fn with_stdin(command: &str, file: &str) -> String {
    format!("type {file} | {command}")
}

/// Shows the machine's clock.
pub fn show_clock() -> String {
    either("Get-Date".to_owned(), "date /t & time /t".to_owned())
}

/// Shows how full the disks are.
pub fn show_disks() -> String {
    either("Get-PSDrive".to_owned(), "dir".to_owned())
}

/// The value of ssh's LocalCommand, which cmd runs: it creates the file `mark`, and then runs the command `own`.
pub fn local_command(mark: &Path, own: Option<&str>) -> String {
    // ssh expands `%`.
    let mark = Shell::Cmd.word(mark.as_os_str()).to_string_lossy().replace('%', "%%");
    own.map_or_else(|| format!("type nul >{mark}"), |own| format!("type nul >{mark} & {own}"))
}
