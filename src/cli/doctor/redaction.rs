//! Hides private text from the report, so that people can paste it: tokens, passwords in addresses, the home directory.

use std::ffi::OsStr;
use std::fs::canonicalize;
use std::path::Path;

use crate::cluster::InMessages;
use crate::secret::Token;
use crate::settings::without_credentials;
use crate::ssh::quote::shell_word;
use crate::sys;
use crate::text::printable;
use crate::tokens;

/// Shortest beginning of a token that is hidden where a text was cut off. Shorter ones may be ordinary words.
const MIN_PIECE: usize = 8;

/// Stands in place of hidden text.
const HIDDEN: &str = "…";

/// Hides private text.
pub(super) struct Redaction {
    /// `HOME` in each form that a text may have.
    home: Vec<Form>,
    /// The user's home directory under other names, as ssh and the system have it.
    other_homes: Vec<Form>,
    tokens: Vec<Token>,
}

/// One form of a path's beginning, and the text that replaces it.
struct Form {
    text: String,
    shown: &'static str,
    /// Whether the form ends at a quotation mark or a slash, so that no longer name can begin with it.
    is_delimited: bool,
}

impl Redaction {
    /// Hides `home`, which is `~` to a shell, and each token of this user, whether it is in force or not.
    pub(super) fn of_this_user(home: Option<&Path>) -> Self {
        // A token that can't be read can't be quoted in a message either.
        Self::new(home, tokens::all())
    }

    fn new(home: Option<&Path>, tokens: Vec<Token>) -> Self {
        let real = home.and_then(|home| canonicalize(home).ok());
        Self {
            home: home.map(forms).unwrap_or_default(),
            other_homes: real.as_deref().map(forms).unwrap_or_default(),
            tokens,
        }
    }

    /// Hides `home` as well, which is `~` to ssh.
    pub(super) fn hide_home(&mut self, home: &Path) {
        let real = canonicalize(home).ok();
        self.other_homes.extend(real.iter().flat_map(|real| forms(real)).chain(forms(home)));
    }

    /// `text`, printable and without anything private.
    pub(super) fn text(&self, text: &str) -> String {
        let forms: Vec<&Form> = self.home.iter().chain(&self.other_homes).collect();
        tilde(&self.secrets(text), &forms)
    }

    /// [`Redaction::text`] for a command that people paste: `~` replaces only the directory that a shell puts there.
    pub(super) fn command(&self, text: &str) -> String {
        tilde(&self.secrets(text), &self.home.iter().collect::<Vec<_>>())
    }

    fn secrets(&self, text: &str) -> String {
        // Commands are about the cluster that was examined.
        let mut text = InMessages::get().hint(&printable(text));
        for token in self.tokens.iter().map(Token::expose) {
            text = text.replace(token, HIDDEN);
            // A long text is cut. The part of a token at its end is private, too.
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
    let mut bytes = home.as_os_str().as_encoded_bytes().to_vec();
    bytes.truncate(bytes.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1));
    let home = sys::os_string(bytes);
    // With a home of `/`, every path would be in the home.
    if home.is_empty() {
        return Vec::new();
    }
    let plain = printable(&home.to_string_lossy());
    let word = printable(&shell_word(&home).to_string_lossy());
    // A path is quoted as a whole, also where only the part behind the home needs quotes.
    let open = if word.starts_with('\'') { word[..word.len() - 1].to_owned() } else { format!("'{word}") };
    let form = |text: String, shown, is_delimited| Form { text, shown, is_delimited };
    vec![
        form(format!("{open}/"), "~/'", true),
        form(format!("{open}'"), "~", true),
        form(plain, "~", false),
        form(as_ssh_logs(&home), "~", false),
    ]
}

/// ssh doubles backslashes and writes other characters than ASCII in octal (vis(3)).
fn as_ssh_logs(home: &OsStr) -> String {
    let shown = |byte: &u8| match byte {
        b'\\' => r"\\".to_owned(),
        b' '..=b'~' => char::from(*byte).to_string(),
        byte => format!(r"\{byte:03o}"),
    };
    home.as_encoded_bytes().iter().map(shown).collect()
}

fn tilde(text: &str, forms: &[&Form]) -> String {
    let is_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let fits = |form: &&&Form| {
            // `/home/al` must not match in `/home/alice` or `/mnt/home/al`.
            rest.strip_prefix(form.text.as_str())
                .is_some_and(|behind| form.is_delimited || !behind.starts_with(is_name) && !shown.ends_with(is_name))
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

    fn redaction(home: &Path) -> Redaction {
        let tokens = ["sekrit", "0123456789abcdef"].map(|token| Token::new(token).unwrap());
        let mut redaction = Redaction::new(Some(home), tokens.to_vec());
        redaction.hide_home(Path::new("/root"));
        redaction
    }

    #[test]
    fn tokens_and_the_home_are_hidden() {
        let redaction = redaction(Path::new("/home/al"));
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
            assert_eq!(redaction.text(text), shown);
        }
        assert_eq!(redaction.command("mv /home/al/k /root/k"), "mv ~/k /root/k");
        assert_eq!(Redaction::new(Some(Path::new("/")), Vec::new()).text("/a/b"), "/a/b");
    }

    /// Each form of a strange home is hidden, and a shell still finds the path in a command.
    #[test]
    fn a_home_with_a_strange_name_is_hidden_in_each_form() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("it's \\ é $HOME\u{1b}[2J");
        std::fs::create_dir_all(home.join("a b")).unwrap();
        let redaction = redaction(&home);
        let folder = printable(&shell_word(home.join("a b").as_os_str()).to_string_lossy());
        let (plain, logged) = (printable(home.to_str().unwrap()), as_ssh_logs(home.as_os_str()));
        assert_eq!(redaction.text(&format!("{plain}/k, {logged}/k, {folder}")), "~/k, ~/k, ~/'a b'");
        let command = format!("cd {} && pwd", redaction.command(&folder));
        let shell = std::process::Command::new("sh").args(["-c", &command]).env("HOME", &home).output().unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), format!("{}/a b\n", home.display()));
    }
}
