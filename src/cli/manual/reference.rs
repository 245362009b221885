//! The text of manual pages about the environment, files, exit statuses and other pages.
//!
//! A new command needs no line here: it gets what its group has.

use crate::cli::programs::names::{PROGRAM, PROXY_PROGRAM};
use crate::settings::env_vars;

/// Something that some commands use.
struct Use {
    name: &'static str,
    text: &'static str,
    /// First words of the commands: `vps` means the whole group, `""` the program's own page only.
    commands: &'static [&'static str],
}

const HELPER: &str = PROXY_PROGRAM;
const GATEWAY: &str = "kohakuriver-gateway";

/// The groups that ask the Host.
const ASKING: &[&str] = &["login", "cluster", "vps", "node", "ssh", "auth", "doctor", "config show", HELPER];

const VARIABLES: &[Use] = &[
    Use {
        name: env_vars::KOHAKURIVER_CLUSTER,
        text: "The cluster, one of those that `kohakuriver cluster list` shows; without it, the default one",
        commands: ASKING,
    },
    Use {
        name: env_vars::KOHAKURIVER_HOST,
        text: "Name or address of the Host, which is also where its SSH proxy listens",
        commands: &["login", "vps", "node", "ssh", "auth", "doctor", "config show", HELPER, GATEWAY],
    },
    Use {
        name: env_vars::KOHAKURIVER_PORT,
        text: "TCP port of the Host's API",
        commands: &["login", "vps", "node", "ssh", "auth", "doctor", "config show", HELPER, GATEWAY],
    },
    Use {
        name: env_vars::KOHAKURIVER_SSH_PROXY_PORT,
        text: "TCP port of the Host's SSH proxy",
        commands: &["login", "vps", "ssh", "doctor", "config show", HELPER, GATEWAY],
    },
    Use {
        name: env_vars::KOHAKURIVER_TOKEN,
        text: "Token for the Host that the environment names, or else the command line; it is used instead of a stored one",
        commands: ASKING,
    },
    Use {
        name: env_vars::KOHAKURIVER_GATEWAY_ADMIN,
        text: "Address of the gateway's admin listener, which lists everybody's sessions; without it, your own are listed",
        commands: &["vps sessions", "config show"],
    },
    Use {
        name: env_vars::KOHAKURIVER_GATEWAY_ADMIN_TOKEN,
        text: "The token that the gateway's admin listener asks for to end a session over TCP; `--admin-token-file` overrides it",
        commands: &["vps sessions"],
    },
    Use {
        name: env_vars::KOHAKURIVER_LOG_FILE,
        text: "File that `kohakuriver-proxy` appends its failures to, and with `--wait` what it waits for: under \
               ControlPersist, ssh hides its stderr, and it can't tell whether anybody reads the terminal",
        commands: &["vps connect", "vps cp", "vps forward", "config show", HELPER],
    },
    Use {
        name: env_vars::KOHAKURIVER_KNOWN_HOSTS,
        text: "File with the host keys of VPSes; without it, ~/.ssh/.kohakuriver_known_hosts, or a file in ~/.local/state if \
               ~/.ssh can't be written",
        commands: &[
            "vps connect",
            "vps cp",
            "vps forward",
            "vps create",
            "vps restart",
            "ssh",
            "doctor",
            "config show",
        ],
    },
    Use {
        name: "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY",
        text: "The proxy on the way to a Host with https://, to one without, and to either: http://, https:// or socks5h://; \
               `--upstream-proxy` and `upstream_proxy` in config.json override them",
        commands: ASKING,
    },
    Use {
        name: "NO_PROXY",
        text: "Names and addresses of Hosts that are reached without that proxy, separated by commas",
        commands: ASKING,
    },
    Use {
        name: "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        text: "Sockets that a service manager passes, see sd_listen_fds(3)",
        commands: &[GATEWAY],
    },
    Use {
        name: env_vars::NOTIFY_SOCKET,
        text: "Where a service manager listens for the gateway's state, see sd_notify(3)",
        commands: &[GATEWAY],
    },
    Use {
        name: "NO_COLOR",
        text: "Tables and reports have no colour if this is set and not empty",
        commands: &["vps list", "vps sessions", "node list", "doctor"],
    },
    Use {
        name: "PATH",
        text: "Where ssh, scp, ssh-keygen, `kohakuriver-proxy` and the next `kohakuriver` are looked up",
        commands: &[
            "vps connect",
            "vps cp",
            "vps forward",
            "vps create",
            "vps restart",
            "ssh config",
            "ssh forget",
            "doctor",
        ],
    },
];

const FILES: &[Use] = &[
    Use {
        name: "~/.config/kohakuriver/config.json",
        text: "Settings and clusters: a JSON object; `kohakuriver config path` prints where it is",
        commands: &["login", "cluster", "vps", "node", "ssh", "auth", "doctor", "config", HELPER, GATEWAY],
    },
    Use {
        name: "~/.kohakuriver/auth.json",
        text: "The token for the default cluster's Host, stored by a login; KohakuRiver's Python CLI uses the same file",
        commands: ASKING,
    },
    Use {
        name: "~/.kohakuriver/tokens.json",
        text: "The tokens for other Hosts, and the Host that the token in auth.json is for, by a hash",
        commands: ASKING,
    },
    Use {
        name: "~/.ssh/.kohakuriver_known_hosts",
        text: "Host keys of VPSes, stored under their task ids and clusters",
        commands: &["vps connect", "vps cp", "vps forward", "vps create", "vps restart", "ssh", "doctor"],
    },
    Use {
        name: "~/.ssh/id-kohakuriver-<id>",
        text: "Private key of a VPS, made by `kohakuriver vps create --gen-ssh-key`; the name of a cluster with a name stands \
               before the id: id-kohakuriver-lab-<id>",
        commands: &["vps connect", "vps cp", "vps forward", "vps create", "ssh config", "doctor"],
    },
    Use {
        name: "~/.ssh/kohakuriver.conf",
        text: "The entries that `kohakuriver ssh config --write` makes; ~/.ssh/config includes the file",
        commands: &["login", "cluster", "ssh config", "doctor"],
    },
    Use {
        name: "~/.ssh/.kohakuriver-openssh-8.7.conf",
        text: "What ~/.ssh/kohakuriver.conf includes for OpenSSH 8.7 and later; an older ssh does not find it",
        commands: &["ssh config", "doctor"],
    },
    Use {
        name: "~/.ssh/kohakuriver.local.conf",
        text: "Options of your own for VPSes; ~/.ssh/kohakuriver.conf includes it first, and nothing changes it",
        commands: &["ssh config", "doctor"],
    },
    Use {
        name: "~/.ssh/.config.before-kohakuriver",
        text: "Copy of ~/.ssh/config from before its first change",
        commands: &["ssh config"],
    },
    Use {
        name: "~/.cache/kohakuriver/",
        text: "Names and ids of VPSes, for completion",
        commands: &["vps list", "ssh config", "completions"],
    },
];

/// Other pages that belong to a command.
const SEE_ALSO: &[(&str, &str)] = &[
    ("login", "kohakuriver-cluster(1), kohakuriver-auth-login(1), kohakuriver-ssh-config(1)"),
    ("cluster", "kohakuriver-login(1)"),
    ("vps connect", "ssh(1), kohakuriver-proxy(1)"),
    ("vps cp", "scp(1), kohakuriver-proxy(1)"),
    ("vps forward", "ssh(1), kohakuriver-proxy(1)"),
    ("vps create", "ssh-keygen(1)"),
    ("vps sessions", "kohakuriver-gateway(8)"),
    ("ssh config", "ssh_config(5), kohakuriver-proxy(1)"),
    ("ssh forget", "ssh-keygen(1)"),
    ("man", "man(1)"),
    ("", "kohakuriver-proxy(1), kohakuriver-gateway(8), ssh(1)"),
    (HELPER, "kohakuriver(1), kohakuriver-gateway(8), ssh(1), ssh_config(5)"),
    (GATEWAY, "kohakuriver(1), kohakuriver-proxy(1), systemd.socket(5)"),
];

/// Exit statuses of a command whose `--help` names none.
pub(super) const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Success"),
    ("1", "Failure; the message on stderr names the cause"),
    ("2", "Wrong usage, or unusable settings"),
    ("130", "Interrupted with Ctrl-C"),
];

/// A command as the tables above name it: without `kohakuriver` before it.
fn key(name: &str) -> &str {
    match name {
        HELPER | GATEWAY => name,
        name => name.strip_prefix(PROGRAM).unwrap_or(name).trim_start(),
    }
}

fn uses(table: &'static [Use], name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let key = key(name).to_owned();
    let concerns = move |part: &str, whole: &str| {
        let rest = whole.strip_prefix(part);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let is_wanted = move |found: &&Use| {
        // A group's page lists what its verbs use, the program's page everything.
        found.commands.iter().any(|command| match key.as_str() {
            "" => ![HELPER, GATEWAY].contains(command),
            key => concerns(command, key) || concerns(key, command),
        })
    };
    table.iter().filter(is_wanted).map(|found| (found.name, found.text))
}

/// The environment variables that the command `name` reads.
pub(super) fn environment(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    uses(VARIABLES, name)
}

/// The files that the command `name` reads or writes.
pub(super) fn files(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    uses(FILES, name)
}

/// Other pages that belong to the command `name`.
pub(super) fn see_also(name: &str) -> Option<&'static str> {
    SEE_ALSO.iter().find(|(command, _)| *command == key(name)).map(|(_, pages)| *pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_lists_what_its_group_has_and_a_group_what_its_verbs_have() {
        let names = |name: &str| environment(name).map(|(name, _)| name).collect::<Vec<_>>();
        assert!(names("kohakuriver vps status").contains(&"KOHAKURIVER_HOST"));
        assert!(!names("kohakuriver vps status").contains(&"KOHAKURIVER_GATEWAY_ADMIN"));
        assert!(names("kohakuriver vps").contains(&"KOHAKURIVER_GATEWAY_ADMIN"));
        assert_eq!(names("kohakuriver").len() + 2, VARIABLES.len());
        assert!(!names(GATEWAY).contains(&"KOHAKURIVER_TOKEN"));
        assert!(names("kohakuriver man").is_empty());
        assert_eq!(files("kohakuriver vps").count(), 6);
        assert!(see_also("kohakuriver vps connect").unwrap().contains("ssh(1)"));
    }
}
