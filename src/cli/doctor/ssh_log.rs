//! Reads what `ssh -v` prints about a login. Pure.

use crate::cli::programs::program::Output;
use crate::text::excerpt;

/// The facts about a login in the output of `ssh -v`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct SshLog {
    /// The type and the fingerprint of the host key.
    pub(super) host_key: Option<(String, String)>,
    /// The keys that ssh offered, as ssh names them.
    pub(super) offered: Vec<String>,
    /// The key that the server was ready to accept.
    pub(super) accepted: Option<String>,
    /// The server was ready to accept the key, then rejected its signature.
    pub(super) signature_rejected: bool,
    /// The method of a login that worked.
    pub(super) authenticated: Option<String>,
    /// The methods that the server accepts.
    pub(super) methods: String,
    /// The server disconnected after too many keys.
    pub(super) too_many: bool,
    /// The last message of ssh.
    pub(super) last: String,
    /// The exit status; `None` when doctor stopped ssh.
    pub(super) status: Option<i32>,
}

impl SshLog {
    pub(super) fn of(output: &Output) -> Self {
        Self { status: output.code(), ..Self::read(&output.stderr) }
    }

    pub(super) fn read(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines().map(excerpt) {
            let Some(debug) = line.strip_prefix("debug1: ") else {
                log.read_plain(&line);
                continue;
            };
            if let Some(key) = debug.strip_prefix("Server host key: ") {
                log.host_key = key.split_once(' ').map(|(kind, print)| (kind.to_owned(), print.to_owned()));
            } else if let Some(key) = debug.strip_prefix("Offering public key: ") {
                log.offered.push(shown(key));
                log.accepted = None;
            } else if let Some(key) = debug.strip_prefix("Server accepts key: ") {
                log.accepted = Some(shown(key));
            } else if let Some(methods) = debug.strip_prefix("Authentications that can continue: ") {
                log.methods = methods.to_owned();
                // The server answers each signature. No answer means that ssh could not sign.
                log.signature_rejected |= log.accepted.is_some();
            } else if let Some(rest) = debug.strip_prefix("Authentication succeeded (") {
                log.authenticated = Some(rest.trim_end_matches([')', '.']).to_owned());
            }
        }
        log
    }

    fn read_plain(&mut self, line: &str) {
        if let Some(method) = line.strip_prefix("Authenticated to ").and_then(|rest| rest.split_once(" using \"")) {
            self.authenticated = Some(method.1.split('"').next().unwrap_or_default().to_owned());
        }
        self.too_many |= line.contains("Too many authentication failures");
        let noise = [
            "Transferred: ",
            "Bytes per second",
            "Warning: Permanently added",
            "OpenSSH_",
            "Authenticated to ",
            "Disconnected from ",
            "channel_setup_fwd_listener",
            // The helper's message to ssh has several lines. The first one says what failed.
            "caused by: ",
            "hint: ",
        ];
        if line.is_empty() || noise.iter().any(|start| line.starts_with(start)) {
            return;
        }
        // The line before says why.
        let has_reason = ["bind ", "unix_listener: "].iter().any(|start| self.last.starts_with(start));
        self.last = match has_reason && line.starts_with("Could not request ") {
            true => format!("{}; {line}", self.last),
            false => line.to_owned(),
        };
    }
}

/// A key without ssh's own word for one that ssh_config or the command line names.
fn shown(key: &str) -> String {
    key.replace(" explicit", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "\
OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.19
debug1: Server host key: ssh-ed25519 SHA256:v85yPg
Warning: Permanently added 'kohakuriver-42' (ED25519) to the list of known hosts.
debug1: Will attempt key: k ED25519 SHA256:N3I0 explicit
debug1: Authentications that can continue: publickey,password
debug1: Next authentication method: publickey
debug1: Offering public key: k ED25519 SHA256:N3I0 explicit
";

    fn log(rest: &str) -> SshLog {
        SshLog::read(&format!("{START}{rest}"))
    }

    #[test]
    fn a_login_that_works() {
        let log = log("debug1: Server accepts key: k ED25519 SHA256:N3I0 explicit\n\
                       Authenticated to 42.kohakuriver (via proxy) using \"publickey\".\ndebug1: Exit status 0\n");
        assert_eq!(log.host_key, Some(("ssh-ed25519".into(), "SHA256:v85yPg".into())));
        assert_eq!(log.authenticated.as_deref(), Some("publickey"));
        assert_eq!(log.offered, ["k ED25519 SHA256:N3I0"]);
        assert!(!log.signature_rejected && log.accepted.is_some() && log.last.is_empty());
    }

    #[test]
    fn each_kind_of_refusal() {
        let denied =
            "debug1: No more authentication methods to try.\nroot@42: Permission denied (publickey,password).\n";
        let not_this_key = log(&format!("debug1: Authentications that can continue: publickey,password\n{denied}"));
        assert!(not_this_key.accepted.is_none() && !not_this_key.signature_rejected);
        assert_eq!(not_this_key.last, "root@42: Permission denied (publickey,password).");
        assert_eq!(not_this_key.methods, "publickey,password");

        let accepts = "debug1: Server accepts key: k ED25519 SHA256:N3I0 explicit\n";
        let not_signed = log(&format!("{accepts}{denied}"));
        assert!(not_signed.accepted.is_some() && !not_signed.signature_rejected);

        let no_root = log(&format!("{accepts}debug1: Authentications that can continue: publickey\n{denied}"));
        assert!(no_root.signature_rejected);

        let told = log("Received disconnect from UNKNOWN port 65535:11: no VPS x\n  caused by: it\n  hint: look\n\
                        Disconnected from UNKNOWN port 65535\n");
        assert_eq!(told.last, "Received disconnect from UNKNOWN port 65535:11: no VPS x");

        let forward = log("bind [127.0.0.1]:8080: Address already in use\n\
                           channel_setup_fwd_listener_tcpip: cannot listen to port: 8080\n\
                           Could not request local forwarding.\n");
        let why = "bind [127.0.0.1]:8080: Address already in use; Could not request local forwarding.";
        assert_eq!(forward.last, why);
        assert_eq!(
            log("other words\nCould not request tunnel forwarding.\n").last,
            "Could not request tunnel forwarding."
        );

        let too_many = log("Received disconnect from UNKNOWN port 65535:2: Too many authentication failures\n");
        assert!(too_many.too_many);
    }
}
