//! The user's shell: ssh starts the helper with it, and the shell must not add output to the SSH stream.

use crate::cli::doctor::check::{Check, Examined, Given};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::own_config::OwnConfig;
use crate::cli::doctor::subject::{Subject, Way};
use crate::cli::programs::shell::{self, OTHER_SHELL, Starts};
use crate::failure::Failure;
use crate::ssh::options::Route;

pub(super) struct Shell<'a> {
    pub(super) subject: &'a Subject,
    pub(super) route: &'a Given<Route>,
    pub(super) config: &'a Given<OwnConfig>,
}

impl Check for Shell<'_> {
    const NAME: &'static str = "shell";
    type Gives = ();

    fn tried(&self) -> String {
        format!("the helper, started by {} (SHELL) as ssh does it", shell::Shell::of_user().name())
    }

    fn examine(&self) -> Result<Examined<()>, Verdict> {
        let route = self.route.as_ref()?;
        let shell = shell::Shell::of_user();
        // `vps connect` gives ssh another shell.
        let entry = self.config.as_ref().ok().filter(|config| config.has_entry() && self.subject.way != Way::Connect);
        let passes_sockets = entry.is_some_and(|config| config.option("proxyusefdpass") == Some("yes"));
        let (trouble, hint) = match shell.ask(&route.proxy_program) {
            Starts::Always => return Ok(Verdict::Fine("it runs, and the shell adds no output".to_owned()).into()),
            Starts::WithPipes(trouble) => (
                trouble,
                passes_sockets
                    .then(|| "write entries that do without a socket: `kohakuriver ssh config --write`".to_owned()),
            ),
            Starts::Never(trouble) => (trouble, entry.map(|_| format!("name a shell that works: `{OTHER_SHELL}`"))),
        };
        let (does, why) = (shell.does(&trouble), shell.why(&trouble));
        match hint {
            Some(hint) => Err(Verdict::wrong(&Failure::new(does).cause(why).hint(hint), OTHER_SHELL)),
            None => Ok(Verdict::Note(format!("{does} ({why}); it does no harm to your logins")).into()),
        }
    }
}
