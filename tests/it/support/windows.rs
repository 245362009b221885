//! A Windows in a folder: wine, with PuTTY's plink and the programs under test, as contrib/windows.sh makes it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::front::Place;
use super::home::Home;
use super::run::Run;
use super::scene::{ID, destination};
use super::sshd::Sshd;
use super::tools::{not_tested, tool, user};

/// Where contrib/windows.sh has put the programs.
const PROGRAMS: &str = r"C:\Program Files\KohakuRiver";

pub(crate) struct Windows {
    prefix: OsString,
    wine: PathBuf,
}

impl Windows {
    /// `None` in a test run that is not contrib/windows.sh's, and that is said.
    pub(crate) fn find() -> Option<Self> {
        let Some(prefix) = std::env::var_os("KOHAKURIVER_TEST_WINE") else {
            not_tested("Windows, as contrib/windows.sh builds the programs and runs these tests");
            return None;
        };
        // Debian's script of this name has words about 32-bit programs.
        let wine = PathBuf::from("/usr/lib/wine/wine64");
        Some(Self { prefix, wine: if wine.exists() { wine } else { tool("wine") } })
    }

    /// One of the programs there.
    pub(crate) fn run(&self, program: &str, home: &Home) -> Run {
        let run = Run::new(&self.wine, home).env("WINEPREFIX", &self.prefix).env("WINEDEBUG", "-all");
        // wine's own program of the name does nothing.
        run.env("WINEDLLOVERRIDES", "icacls.exe=n").arg(path_of(program)).deadline(180)
    }

    /// A file or a folder of drive C.
    pub(crate) fn drive(&self, path: &str) -> PathBuf {
        Path::new(&self.prefix).join("drive_c").join(path)
    }

    /// The folder of a user who has no files: wine takes the name from USER.
    pub(crate) fn new_user(&self, name: &str) -> PathBuf {
        let folder = self.drive("users").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        // As every profile has them.
        for name in ["AppData/Local", "AppData/Roaming"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        folder
    }

    /// The output of `cmd.exe` for a typed line.
    pub(crate) fn typed(&self, line: &str, home: &Home) -> String {
        let run = Run::new(&self.wine, home).env("WINEPREFIX", &self.prefix).env("WINEDEBUG", "-all");
        let outcome = run.args(["cmd.exe", "/q"]).stdin(format!("{line}\r\n")).deadline(180).output();
        outcome.text().replace('\r', "")
    }

    /// The helper, as [`super::spawned::helper`] is.
    pub(crate) fn helper(&self, home: &Home, proxy: impl Into<Place>, args: &[&str]) -> Command {
        let mut command = Command::new(&self.wine);
        command.env_clear().env("HOME", home.path()).current_dir(home.path());
        command.env("WINEPREFIX", &self.prefix).env("WINEDEBUG", "-all");
        command.arg(path_of("kohakuriver-proxy")).args(proxy.into().words()).args(args);
        command
    }

    /// plink on its way to the VPS, with the helper as its proxy command.
    pub(crate) fn plink(&self, home: &Home, sshd: &Sshd, proxy: impl Into<Place>) -> Run {
        let key = home.join("key.ppk");
        let puttygen = Run::new(tool("puttygen"), home).arg(&sshd.key).args(["-O", "private", "-o"]);
        puttygen.arg(&key).output().succeeds();
        let fingerprint = Run::new(tool("ssh-keygen"), home).args(["-l", "-f"]).arg(sshd.host_key_file());
        let fingerprint = String::from_utf8(fingerprint.output().succeeds().stdout.clone()).unwrap();
        let words = proxy.into().words().join(" ");
        let helper = format!("\"{}\" {words} {ID}", path_of("kohakuriver-proxy"));
        let plink =
            self.run("plink", home).args(["-batch", "-ssh", "-hostkey", fingerprint.split(' ').nth(1).unwrap()]);
        plink.arg("-i").arg(windows_path(&key)).args(["-proxycmd", &helper]).arg(format!(
            "{}@{}",
            user(),
            destination()
        ))
    }
}

fn path_of(program: &str) -> String {
    format!(r"{PROGRAMS}\{program}.exe")
}

/// The path by which a program there finds a file of this machine.
pub(crate) fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.to_str().unwrap().replace('/', r"\"))
}
