//! What a finding must not tell when it is pasted somewhere: tokens, passwords in addresses, where the user's home is.

use std::ffi::OsStr;
use std::fs::canonicalize;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::secret::Token;
use crate::settings::without_credentials;
use crate::ssh::quote::shell_word;
use crate::text::printable;

/// Shortest beginning of a token that is told from other words where a text was cut off.
const MIN_PIECE: usize = 8;

/// What stands for that which is not told.
const HIDDEN: &str = "…";

/// Takes what is private out of texts that are printable.
pub(super) struct Conceal {
    /// `HOME`, in the forms that a text may have it in.
    home: Vec<Form>,
    /// The same of what else is the user's home, as ssh and the system have it.
    other_homes: Vec<Form>,
    tokens: Vec<Token>,
}

/// A text that begins a path, and what stands in its place.
struct Form {
    text: String,
    shown: &'static str,
    /// Whether a path may go on behind it, and a word stand before it.
    is_quoted: bool,
}

impl Conceal {
    /// `home` is what a shell takes `~` for, and `ssh_home` what ssh does.
    pub(super) fn new(home: Option<&Path>, ssh_home: Option<&Path>, tokens: &[Token]) -> Self {
        let real = |path: &Path| canonicalize(path).ok();
        let others: [Option<PathBuf>; 3] = [home.and_then(real), ssh_home.and_then(real), ssh_home.map(Path::to_owned)];
        Self {
            home: home.map(forms).unwrap_or_default(),
            other_homes: others.iter().flatten().flat_map(|home| forms(home)).collect(),
            tokens: tokens.to_vec(),
        }
    }

    /// `text` with nothing private in it.
    pub(super) fn all(&self, text: &str) -> String {
        let forms: Vec<&Form> = self.home.iter().chain(&self.other_homes).collect();
        tilde(&self.secrets(text), &forms)
    }

    /// [`Conceal::all`] of a command that is there to be pasted: `~` stands for nothing but what a shell reads it as.
    pub(super) fn command(&self, text: &str) -> String {
        tilde(&self.secrets(text), &self.home.iter().collect::<Vec<_>>())
    }

    fn secrets(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for token in self.tokens.iter().map(Token::expose) {
            text = text.replace(token, HIDDEN);
            // A long text is cut, and what is left of a token at its end is no less private.
            for length in (MIN_PIECE..token.len()).rev() {
                text = text.replace(&format!("{}{HIDDEN}", &token[..length]), HIDDEN);
            }
        }
        let ends = |c: char| c.is_whitespace() || "'\"`".contains(c);
        let shown = |word: &str| match word.split_at(word.trim_end_matches(ends).len()) {
            (address, end) if address.contains("://") => without_credentials(address) + end,
            _ => word.to_owned(),
        };
        text.split_inclusive(ends).map(shown).collect()
    }
}

/// `home` as it is, quoted for a shell, and as ssh logs it.
fn forms(home: &Path) -> Vec<Form> {
    let bytes = home.as_os_str().as_bytes();
    let home = OsStr::from_bytes(&bytes[..bytes.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1)]);
    // A home of `/` would turn every path into one of the home.
    if home.is_empty() {
        return Vec::new();
    }
    let plain = printable(&home.to_string_lossy());
    let word = printable(&shell_word(home).to_string_lossy());
    // The word of a path in a home that needs no quotes has them all the same, if the rest needs them.
    let open = if word.starts_with('\'') { word[..word.len() - 1].to_owned() } else { format!("'{word}") };
    let form = |text: String, shown, is_quoted| Form { text, shown, is_quoted };
    vec![
        form(format!("{open}/"), "~/'", true),
        form(format!("{open}'"), "~", true),
        form(plain, "~", false),
        form(as_ssh_logs(home), "~", false),
    ]
}

/// ssh shows backslashes as two and what isn't ASCII in octal (vis(3)).
fn as_ssh_logs(home: &OsStr) -> String {
    let shown = |byte: &u8| match byte {
        b'\\' => r"\\".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        byte => format!(r"\{byte:03o}"),
    };
    home.as_bytes().iter().map(shown).collect()
}

fn tilde(text: &str, forms: &[&Form]) -> String {
    let is_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let fits = |form: &&&Form| {
            // `/home/al` is no part of `/home/alice`, nor of `/mnt/home/al`.
            rest.strip_prefix(form.text.as_str())
                .is_some_and(|behind| form.is_quoted || !behind.starts_with(is_name) && !shown.ends_with(is_name))
        };
        if let Some(form) = forms.iter().find(fits) {
            shown += form.shown;
            rest = &rest[form.text.len()..];
        } else {
            shown.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conceal(home: &str) -> Conceal {
        let tokens = ["sekrit", "0123456789abcdef"].map(|token| Token::new(token).unwrap());
        Conceal::new(Some(Path::new(home)), Some(Path::new("/root")), &tokens)
    }

    #[test]
    fn neither_a_token_nor_the_home_is_told() {
        let conceal = conceal("/home/al");
        for (text, shown) in [
            (
                "/home/al/.ssh/k is sekrit; /home/alice, /mnt/home/al, /home/al",
                "~/.ssh/k is …; /home/alice, /mnt/home/al, ~",
            ),
            ("chmod 600 '/home/al/my key' '/home/al'", "chmod 600 ~/'my key' ~"),
            ("file:///home/al/x and /root/.ssh/k", "file://~/x and ~/.ssh/k"),
            ("it answered `Bearer 0123456789…`", "it answered `Bearer …`"),
            ("nc -x http://al:pw@office:3128 `https://a@b/?token=1`", "nc -x http://…@office:3128 `https://…@b/?…`"),
            ("root@42: Permission denied", "root@42: Permission denied"),
        ] {
            assert_eq!(conceal.all(text), shown);
        }
        assert_eq!(conceal.command("mv /home/al/k /root/k"), "mv ~/k /root/k");
        assert_eq!(Conceal::new(Some(Path::new("/")), None, &[]).all("/a/b"), "/a/b");
    }

    /// In each form that a home of an odd name is met in, and a shell finds what a command names.
    #[test]
    fn a_home_of_an_odd_name_is_told_in_no_form() {
        let home = std::env::temp_dir().join(format!("kr {} it's \\ é $HOME\u{1b}[2J", std::process::id()));
        std::fs::create_dir_all(home.join("a b")).unwrap();
        let conceal = conceal(home.to_str().unwrap());
        let folder = printable(&shell_word(home.join("a b").as_os_str()).to_string_lossy());
        let (plain, logged) = (printable(home.to_str().unwrap()), as_ssh_logs(home.as_os_str()));
        assert_eq!(conceal.all(&format!("{plain}/k, {logged}/k, {folder}")), "~/k, ~/k, ~/'a b'");
        let command = format!("cd {} && pwd", conceal.command(&folder));
        let shell = std::process::Command::new("sh").args(["-c", &command]).env("HOME", &home).output().unwrap();
        std::fs::remove_dir_all(&home).unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), format!("{}/a b\n", home.display()));
    }
}
