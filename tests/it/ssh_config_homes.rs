//! `kohakuriver ssh config` in odd homes, and beside ssh_configs as people really have them. The judge is ssh itself, of
//! this system and an older one: other hosts mean what they meant before, and VPSes are reached.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::thread;

use crate::support::gateway::{Gateway, name_of};
use crate::support::home::{Home, set_mode};
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::tools::{CLI, older_ssh, sh_quote, tool, user};

/// Hosts that are not ours, for each row.
const OTHERS: [&str; 6] = ["foreign.example", "a", "work", "trainer", "203.0.113.7", "somebody@x.corp.example"];

/// A home directory that ssh takes for its user's as well: the user database says so, in a mount namespace of its own.
struct Place {
    home: Home,
    elsewhere: Home,
    port: u16,
    sshs: Vec<PathBuf>,
}

impl Place {
    fn new(home: Home, gateway: &Gateway) -> Self {
        let elsewhere = Home::new();
        let id = rustix::process::geteuid();
        let group = rustix::process::getegid().as_raw();
        elsewhere.write("passwd", format!("{}:x:{}:{group}::{}:/bin/sh\n", user(), id.as_raw(), home.path().display()));
        let sshs = [Some(tool("ssh")), older_ssh(&elsewhere)].into_iter().flatten().collect();
        Self { home, elsewhere, port: gateway.api().port(), sshs }
    }

    fn with_gateway() -> (Gateway, Self) {
        let gateway = Gateway::before(22);
        let place = Self::new(Home::new(), &gateway);
        (gateway, place)
    }

    fn within(&self, line: &str) -> Outcome {
        // A user namespace for root would hide whose files the user's are.
        let is_root = rustix::process::geteuid().is_root();
        let namespace = if is_root { &[][..] } else { &["--map-current-user", "--keep-caps"] };
        let passwd = sh_quote(&self.elsewhere.join("passwd").display().to_string());
        let script = format!("mount --bind {passwd} /etc/passwd && {{ {line}\n}}");
        Run::new(tool("unshare"), &self.home).args(namespace).args(["--mount", "sh", "-c"]).arg(script).output()
    }

    fn ssh_config(&self, words: &str) -> Outcome {
        self.within(&format!("exec {} -H 127.0.0.1 -P {} ssh config {words}", sh_quote(CLI), self.port))
    }

    /// The output of each ssh about `hosts`, also where that ssh refuses.
    fn meaning(&self, hosts: &[String]) -> Vec<String> {
        let ask = |ssh: &PathBuf| {
            let ssh = sh_quote(&ssh.display().to_string());
            let hosts: Vec<String> = hosts.iter().map(|host| sh_quote(host)).collect();
            let each = format!("echo \"== $host\"; {ssh} -G -o CanonicalizeHostname=no \"$host\" 2>&1; echo \"= $?\"");
            self.within(&format!("for host in {}; do {each}; done", hosts.join(" "))).succeeds().text()
        };
        self.sshs.iter().map(ask).collect()
    }

    /// Each file with what it is, its mode and its content.
    fn files(&self) -> BTreeMap<PathBuf, (String, u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                // Names of VPSes for completion.
                if entry.file_name() == ".cache" {
                    continue;
                }
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                let link = fs::read_link(&path).map(|to| to.display().to_string()).unwrap_or_default();
                found.insert(path.clone(), (link, metadata.mode(), fs::read(&path).unwrap_or_default()));
            }
        }
        found
    }
}

fn others() -> Vec<String> {
    OTHERS.map(str::to_owned).into()
}

/// The content of a home directory.
enum Shape {
    Config(&'static [u8]),
    Made(fn(&Home)),
}

/// The effect of `--write` on the user's own file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Becomes {
    Included,
    Unchanged,
    /// The same, with this remark each time.
    Remarked(&'static str),
    /// It fails, says this, and leaves everything as it was.
    Refused(&'static [&'static str]),
}

use Becomes::{Included, Refused, Remarked, Unchanged};
use Shape::{Config, Made};

const BY_HAND: &str = "hint: add this as its first line by hand, and run this command again: `Include ";

const ROWS: &[(&str, Shape, Becomes)] = &[
    ("no folder", Made(|_| {}), Included),
    ("an empty folder", Made(|home| fs::create_dir(home.join(".ssh")).unwrap()), Included),
    ("an empty file", Config(b""), Included),
    ("comments only", Config(b"\n\n# mine\n"), Included),
    ("no final newline", Config(b"Host a\n  User b"), Included),
    ("lines that end in CR LF", Config(b"Host a\r\n  User b\r\n"), Included),
    ("line ends of two kinds", Config(b"\r\nHost a\n  User b\r\nHost *\n  Port 7\n"), Included),
    ("tabs and equals signs", Config(b"Host=a\n\tUser=b\n\tPort\t=\t7\n"), Included),
    ("bytes that are not UTF-8", Config(b"# caf\xe9\nHost a\n  SetEnv X=\xe9\n"), Included),
    ("a Match at the end", Config(b"Host a\n  User b\nMatch all\n"), Included),
    ("options before the first Host", Config(b"Port 7\nUser c\nHost a\n  User b\n"), Included),
    ("hardening in Host *", Config(b"Host *\n  ServerAliveCountMax 0\n  Port 2222\n  User c\n"), Included),
    ("words that ask for a command", Config(b"IgnoreUnknown ForkAfterAuthentication,StdinNull\nHost *\n  ForkAfterAuthentication yes\n  StdinNull yes\n"), Included),
    ("a word of another ssh", Config(b"IgnoreUnknown UseKeychain\nHost *\n  UseKeychain yes\n"), Included),
    ("a Match exec", Config(b"Match host a exec \"test -d /\"\n  User b\nHost *\n  Port 7\n"), Included),
    ("a mode for everybody", Made(|home| set_mode(&home.write(".ssh/config", "Host a\n"), 0o644)), Included),
    ("a mode for the owner", Made(|home| set_mode(&home.write(".ssh/config", "Host a\n"), 0o600)), Included),
    (
        "a hundred hosts",
        Made(|home| {
            let hosts: String = (0..100).map(|n| format!("Host h{n}\n  User u{n}\n")).collect();
            home.write(".ssh/config", hosts);
        }),
        Included,
    ),
    (
        // ssh tells about each of them, before it comes to the Include.
        "two thousand blocks",
        Made(|home| {
            let block = |n| format!("Match user somebody-{n}@some-department.corp.example\n  Port 7\n");
            let blocks: String = (0..2000).map(block).collect();
            home.write(".ssh/config", format!("{blocks}Match all\nInclude kohakuriver.conf\n"));
        }),
        Unchanged,
    ),
    (
        "a link into dotfiles",
        Made(|home| {
            home.write("dotfiles/ssh config", "Host a\n  User b\n");
            fs::create_dir(home.join(".ssh")).unwrap();
            symlink("../dotfiles/ssh config", home.join(".ssh/config")).unwrap();
        }),
        Included,
    ),
    (
        "a folder that is a link",
        Made(|home| {
            home.write("dotfiles/ssh/config", "Host a\n  User b\n");
            symlink("dotfiles/ssh", home.join(".ssh")).unwrap();
        }),
        Included,
    ),
    (
        "an Include by hand",
        Made(|home| {
            let text = format!("# mine\nInclude {}/.ssh/kohakuriver.conf\nHost a\n", home.path().display());
            home.write(".ssh/config", text);
        }),
        Unchanged,
    ),
    ("a relative Include", Config(b"Include kohakuriver.conf\nHost a\n  User b\n"), Unchanged),
    ("an Include with ~", Config(b"Include ~/.ssh/kohakuriver.conf\nHost a\n  User b\n"), Unchanged),
    ("an Include with a glob", Config(b"Include ~/.ssh/*.conf\nHost a\n  User b\n"), Unchanged),
    ("a quoted Include", Config(b"Include \"~/.ssh/kohakuriver.conf\"\nHost a\n  User b\n"), Unchanged),
    ("an Include with =", Config(b"Include=~/.ssh/kohakuriver.conf\nHost a\n  User b\n"), Unchanged),
    ("an include in lower case", Config(b"\tinclude = kohakuriver.conf\r\nHost a\r\n  User b\r\n"), Unchanged),
    (
        "an Include of two files",
        Made(|home| {
            home.write(".ssh/work.conf", "Host work\n  User w\n");
            home.write(".ssh/config", "Include work.conf kohakuriver.conf\nHost a\n");
        }),
        Unchanged,
    ),
    (
        "an Include in an included file",
        Made(|home| {
            home.write(".ssh/conf.d/10-work", "Host work\n  User w\n");
            home.write(".ssh/conf.d/20-vps", "Include ~/.ssh/kohakuriver.conf\n");
            home.write(".ssh/config", "Include conf.d/*\nHost a\n  User b\n");
        }),
        Unchanged,
    ),
    (
        "a read-only store",
        Made(|home| {
            let text = "Include ~/.ssh/kohakuriver.conf\nHost a\n  User b\n";
            set_mode(&home.write("store/5kz-hm_config", text), 0o444);
            fs::create_dir(home.join(".ssh")).unwrap();
            symlink(home.join("store/5kz-hm_config"), home.join(".ssh/config")).unwrap();
        }),
        Unchanged,
    ),
    ("an Include below Match all", Config(b"Host a\n  User b\nMatch all\nInclude kohakuriver.conf\n"), Unchanged),
    (
        "an Include below a Host * of taste",
        Config(b"Host *\n  ForwardAgent yes\n  Include kohakuriver.conf\nHost a\n  User b\n"),
        Unchanged,
    ),
    (
        "an Include below a Match exec",
        Config(b"Match host *.kohakuriver exec \"test -d /\"\n  Include kohakuriver.conf\nHost a\n  User b\n"),
        Remarked("/.ssh/config:1 stands above the Include of our entries, so they count only where it applies: `Match host"),
    ),
    (
        "an Include below a Host for VPSes, in an included file",
        Made(|home| {
            home.write(".ssh/conf.d/vps", "Match all\n  Include kohakuriver.conf\n");
            home.write(".ssh/config", "Host *.kohakuriver\n  Include conf.d/*\nHost a\n  User b\n");
        }),
        Remarked("/.ssh/config:1 stands above the Include of our entries, so they count only where it applies: `Host *.k"),
    ),
    (
        "an Include below a Host for VPSes, and one that always applies",
        Config(b"Host *.kohakuriver\n  Include kohakuriver.conf\nHost *\n  Include kohakuriver.conf\n"),
        Unchanged,
    ),
    (
        "words about VPSes above the Include",
        Config(b"Host trainer.kohakuriver\n  User daemon\nMatch all\nInclude kohakuriver.conf\n"),
        Unchanged,
    ),
    ("an Include below a Host", Config(b"Host a\n  User b\n  Include kohakuriver.conf\nHost c\n"), Included),
    (
        "an Include below a Host * of another port",
        Config(b"Host *\n  Port 2222\n  Include kohakuriver.conf\nHost a\n  User b\n"),
        Included,
    ),
    (
        "a glob beside the file",
        Made(|home| {
            home.write(".ssh/config.work", "Host work\n  User w\n");
            home.write(".ssh/config", "Include ~/.ssh/config.*\nHost a\n  User b\n");
        }),
        Included,
    ),
    (
        "globs of everything in the folder",
        Made(|home| {
            home.write(".ssh/conf.d/work", "Host work\n  User w\n");
            home.write(".ssh/config", "Include ~/.ssh/*/*\nInclude ~/.ssh/*config.*\nHost a\n  User b\n");
        }),
        Included,
    ),
    (
        "words about VPSes in their file",
        Made(|home| {
            home.write(".ssh/kohakuriver.local.conf", "Host other.kohakuriver\n  User daemon\n");
            home.write(".ssh/config", "Host a\n  User b\n");
        }),
        Included,
    ),
    (
        "a read-only file",
        Made(|home| set_mode(&home.write(".ssh/config", "Host a\n"), 0o444)),
        Refused(&["it is read-only", BY_HAND]),
    ),
    (
        "a hard link",
        Made(|home| {
            let file = home.write("dotfiles/config", "Include ~/.ssh/config.*\nHost a\n  User b\n");
            fs::create_dir(home.join(".ssh")).unwrap();
            fs::hard_link(file, home.join(".ssh/config")).unwrap();
        }),
        Refused(&["a hard link", BY_HAND]),
    ),
    ("a wrong line", Config(b"Host a\n  Usr b\n"), Refused(&["already", "/.ssh/config:2: `Usr b`", "vi} +2 "])),
    (
        "a byte order mark",
        Config(b"\xef\xbb\xbfHost a\n  User b\n"),
        Refused(&["ssh refuses your own ssh_config already", "/.ssh/config:1: "]),
    ),
    (
        "a wrong line in an included file",
        Made(|home| {
            home.write(".ssh/conf.d/work", "Host work\n  Port many\n");
            home.write(".ssh/config", "Include conf.d/*\n");
        }),
        Refused(&["already", "/.ssh/conf.d/work:2: `Port many`", "nothing was changed"]),
    ),
    (
        "a glob of private keys",
        Made(|home| {
            home.write(".ssh/id-kohakuriver-7", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
            home.write(".ssh/config", "Host a\n  User b\nHost *\n  Include ~/.ssh/*kohakuriver*\n");
        }),
        Refused(&["already", "/.ssh/config:4: `Include ~/.ssh/*kohakuriver*`", "so that it names files of ssh_config only"]),
    ),
    ("a glob of itself", Config(b"Include ~/.ssh/con*\nHost a\n"), Refused(&["already", "Too many recursive"])),
    (
        "a mode that ssh refuses",
        Made(|home| set_mode(&home.write(".ssh/config", "Host a\n"), 0o666)),
        Refused(&["already", "Bad owner or permissions", "hint: ssh wants no other user", "`chmod go-w "]),
    ),
    (
        "a folder in place of the file",
        Made(|home| fs::create_dir_all(home.join(".ssh/config")).unwrap()),
        Refused(&["it is not a regular file"]),
    ),
    (
        "a file of ours that is somebody else's",
        Made(|home| drop(home.write(".ssh/kohakuriver.conf", "Host mine\n"))),
        Refused(&["will not overwrite", "kohakuriver.conf.mine"]),
    ),
    (
        "words that ssh refuses in the file for words about VPSes",
        Made(|home| {
            home.write(".ssh/kohakuriver.local.conf", "Host other.kohakuriver\n  Usr daemon\n");
            home.write(".ssh/config", "Host a\n  User b\n");
        }),
        Refused(&["with our entries in it", "/.ssh/kohakuriver.local.conf:2: `Usr daemon`", "nothing was changed"]),
    ),
    (
        "a file for words about VPSes that includes the file above it",
        Made(|home| {
            let include = format!("Host a\nInclude {}\n", home.join(".ssh/config").display());
            home.write(".ssh/kohakuriver.local.conf", include);
            home.write(".ssh/config", "Host a\n  User b\n");
        }),
        Refused(&["Too many recursive", "/.ssh/kohakuriver.local.conf:2: `Include ", "${EDITOR:-vi} +2 "]),
    ),
    (
        "words about every host in the file for words about VPSes",
        Made(|home| {
            home.write(".ssh/kohakuriver.local.conf", "User daemon\n");
            home.write(".ssh/config", "Host a\n  User b\n");
        }),
        Refused(&["` became `user daemon`", "/.ssh/kohakuriver.local.conf:1: `User daemon`", "nothing was changed"]),
    ),
];

/// A home directory with the shape of a row.
fn shaped(shape: &Shape, gateway: &Gateway) -> Place {
    let place = Place::new(Home::new(), gateway);
    match shape {
        Config(text) => drop(place.home.write(".ssh/config", text)),
        Made(make) => make(&place.home),
    }
    place
}

/// `--write`, `--diff`, `--sync` and `--remove`, from a home directory that has nothing of ours.
fn write_and_remove(place: &Place, hosts: &[String], becomes: Becomes) {
    let (files, meaning) = (place.files(), place.meaning(hosts));
    let config = place.home.join(".ssh/config");
    let before = fs::read(&config).ok();
    let written = place.ssh_config("--write");
    if let Refused(texts) = becomes {
        written.exits(1).prints_nothing().says(texts);
        assert_eq!(place.files(), files);
        return;
    }
    written.succeeds().prints_nothing();
    let after = fs::read(&config).ok();
    assert_eq!(after == before, becomes != Included, "{written}");
    let remark = if let Remarked(text) = becomes { text } else { "" };
    assert!(written.stderr.contains(remark), "{written}");
    assert_eq!(place.meaning(hosts), meaning);
    for said in place.meaning(&[name_of(ID), ID.to_owned(), "0".into()].map(|vps| format!("{vps}.kohakuriver"))) {
        for (text, count) in [("kohakuriver-proxy --fdpass", 3), ("\nport 22\n", 3), ("= 0\n", 3)] {
            assert_eq!(said.matches(text).count(), count, "{text}: {said}");
        }
    }
    let made = place.files();
    for path in made.keys().filter(|path| !files.contains_key(*path) && **path != config && path.is_file()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "kohakuriver.conf" || name.starts_with('.'), "a glob may match {name}");
    }
    let again = place.ssh_config("--write");
    let said = again.succeeds().stderr.strip_prefix("nothing to change\n");
    assert!(said.is_some_and(|said| said.contains(remark) && said.is_empty() == remark.is_empty()), "{again}");
    place.ssh_config("--diff").succeeds().prints_nothing().says(&["nothing would change"]);
    place.ssh_config("--sync").succeeds().prints_nothing().says_nothing();
    assert_eq!(place.files(), made);
    place.ssh_config("--remove").succeeds().says(&["removed"]);
    let mut left = place.files();
    left.retain(|path, _| files.contains_key(path) || *path != place.home.join(".ssh"));
    assert_eq!(left, files);
    assert_eq!(place.meaning(hosts), meaning);
    place.ssh_config("--remove").succeeds().says(&["nothing to change"]);
}

#[test]
fn forty_odd_homes() {
    assert!(ROWS.len() > 40);
    let gateway = &Gateway::before(22);
    thread::scope(|scope| {
        for rows in ROWS.chunks(ROWS.len() / 3) {
            scope.spawn(move || {
                for (name, shape, becomes) in rows {
                    // For the output of a test that fails.
                    eprintln!("row: {name}");
                    write_and_remove(&shaped(shape, gateway), &others(), *becomes);
                }
            });
        }
    });
}

#[test]
fn home_directories_with_odd_names() {
    let gateway = Gateway::before(22);
    for name in ["with blank", "it's odd", "a+b=c,@d", "-", "h\u{f4}me"] {
        let place = Place::new(Home::named(name), &gateway);
        place.home.write(".ssh/config", "Host a\n  User b\n");
        write_and_remove(&place, &others(), Included);
    }
}

/// An earlier version's copy matches the user's glob: ssh refuses everything, since that copy includes itself.
#[test]
fn the_copy_of_an_earlier_version_moves_away() {
    let (_gateway, place) = Place::with_gateway();
    let config = "Include ~/.ssh/config.*\nHost a\n  User b\n";
    let meaning = |place: &Place| place.meaning(&others());
    let written = format!("Include {}\n{config}", place.home.join(".ssh/kohakuriver.conf").display());
    let remark = "# Added by `kohakuriver ssh config --write`; `kohakuriver ssh config --remove` takes it out.";
    for config in [config.to_owned(), format!("{remark}\n{written}")] {
        place.home.write(".ssh/config", &config);
        let old = place.home.write(".ssh/config.before-kohakuriver", "Include ~/.ssh/config.*\nHost a\n  User b\n");
        assert!(meaning(&place).iter().all(|said| said.contains("Too many recursive")));
        place.ssh_config("--write").succeeds();
        assert!(!old.exists());
        assert!(meaning(&place).iter().all(|said| said.contains("= 0\n") && !said.contains("= 255\n")));
        place.ssh_config("--remove").succeeds();
        assert_eq!(place.files().len(), 2, "{:?}", place.files().keys());
    }
    // Also without a `--write` in between.
    place.home.write(".ssh/config.before-kohakuriver", config);
    place.ssh_config("--remove").succeeds().says(&["removed", "config.before-kohakuriver"]);
    assert_eq!(fs::read_to_string(place.home.join(".ssh/config")).unwrap(), config);
}

/// It may be slow, or have effects. Both of its outcomes are judged all the same.
#[test]
fn no_command_of_the_users_runs() {
    let (_gateway, place) = Place::with_gateway();
    place.home.write(".ssh/config", "Match exec \"touch ran; sleep 600\"\n  User b\nHost a\n");
    for action in ["--write", "--write", "--diff", "--sync", "--remove"] {
        place.ssh_config(action).succeeds();
    }
    // Only where it says yes, these words mean something for another host.
    place.home.write(".ssh/kohakuriver.local.conf", "Match host a exec \"touch ran; sleep 600\"\n  Port 7\n");
    place.ssh_config("--write").exits(1).says(&["a would mean another", "`port 22` became `port 7`"]);
    assert!(!place.home.join("ran").exists());
}

/// Hosts that only the file for words about VPSes names, and one behind fifty others.
#[test]
fn every_host_that_a_file_names_is_judged() {
    let (_gateway, place) = Place::with_gateway();
    let hosts: String = (0..60).map(|n| format!("Host h{n}\n  User u{n}\n")).collect();
    place.home.write(".ssh/config", &hosts);
    for (words, host, now) in [
        ("Host h59\n  Port 7\n", "h59", "port 7"),
        ("Host mine\n  User daemon\n", "mine", "user daemon"),
        ("Host *.corp.example db-?\n  User daemon\n", "x.corp.example", "user daemon"),
        ("Match originalhost mine,*.test exec \"false\"\n  User daemon\n", "mine", "user daemon"),
    ] {
        place.home.write(".ssh/kohakuriver.local.conf", words);
        let (files, named) = (place.files(), format!("{host} would mean another host or login"));
        let changed = format!("` became `{now}`");
        place.ssh_config("--write").exits(1).says(&[
            &named,
            &changed,
            "kohakuriver.local.conf:2",
            "nothing was changed",
        ]);
        assert_eq!(place.files(), files);
    }
    place.home.write(".ssh/kohakuriver.local.conf", "Host *.kohakuriver\n  User daemon\n");
    place.ssh_config("--write").succeeds();
}

/// The words of the user for VPSes, in their own file and elsewhere.
#[test]
fn words_of_the_users_own() {
    let (_gateway, place) = Place::with_gateway();
    let host = format!("{}.kohakuriver", name_of(ID));
    let words = format!("Host {host}\n  User daemon\n");
    let is_used = || place.meaning(std::slice::from_ref(&host)).iter().all(|said| said.contains("\nuser daemon\n"));
    // Below the Include they have no effect, which is said for each line that differs.
    place.home.write(".ssh/config", format!("Include kohakuriver.conf\n{words}  Port 22\n"));
    let config = place.home.join(".ssh/config").display().to_string();
    let remark = format!("{config}:3 has no effect, since our entries come first: `User daemon`; move it to ");
    for _ in 0..2 {
        let outcome = place.ssh_config("--write");
        outcome.succeeds().says(&[&remark, "/.ssh/kohakuriver.local.conf\n"]);
        outcome.check(!outcome.stderr.contains("`Port 22`"), "nothing about a line with the same value");
        assert!(!is_used());
    }
    let doctor = || {
        let settings = format!("-H 127.0.0.1 -P {} doctor {}", place.port, name_of(ID));
        place.within(&format!("{} {settings} --all --json; true", sh_quote(CLI))).text()
    };
    assert!(doctor().contains("~/.ssh/config:3 has no effect, since our entries set User above it: `User daemon`"));
    // In their own file they work, whatever else includes that file.
    place.home.write(".ssh/kohakuriver.local.conf", &words);
    for config in ["Include kohakuriver.conf\n", "Include ~/.ssh/*.conf\nHost a\n"] {
        place.home.write(".ssh/config", config);
        let outcome = place.ssh_config("--write").succeeds().stderr.clone();
        assert!(is_used() && !outcome.contains("no effect"), "{outcome}");
        assert!(!doctor().contains("no effect"));
    }
    place.ssh_config("--remove").succeeds();
    assert_eq!(fs::read_to_string(place.home.join(".ssh/kohakuriver.local.conf")).unwrap(), words);
    // Another way to VPSes is theirs to choose. It is named, with what takes it away.
    let own = "Host *.kohakuriver\n  ProxyCommand nc gpu-head 22\nMatch all\n  Include kohakuriver.conf\n";
    place.home.write(".ssh/config", own);
    let said = "/.ssh/config:2 comes before our entries, and hides theirs: `ProxyCommand nc gpu-head 22`";
    for _ in 0..2 {
        place.ssh_config("--write").succeeds().says(&[said]);
        assert_eq!(fs::read_to_string(place.home.join(".ssh/config")).unwrap(), own);
    }
    let found = doctor();
    assert!(found.contains("not with the helper") && found.contains("${EDITOR:-vi} +2 "), "{found}");
}

/// A `--sync` that would break ssh changes nothing.
#[test]
fn a_sync_that_ssh_would_refuse_is_put_back() {
    let (_gateway, place) = Place::with_gateway();
    place.home.write(".ssh/config", "Host a\n");
    place.ssh_config("--write").succeeds();
    let ours = place.home.join(".ssh/kohakuriver.conf");
    let text = fs::read_to_string(&ours).unwrap();
    // Entries of an earlier version, which had no such Include.
    let (head, rest) = text.split_at(text.find("Include ").unwrap());
    let (_, rest) = rest.split_once('\n').unwrap();
    place.home.write(".ssh/kohakuriver.conf", format!("{head}{rest}"));
    place.home.write(".ssh/kohakuriver.local.conf", "Usr daemon\n");
    let files = place.files();
    let outcome = place.ssh_config("--sync");
    outcome.exits(1).says(&["ssh refuses", "/.ssh/kohakuriver.local.conf:1: `Usr daemon`", "nothing was changed"]);
    assert_eq!(place.files(), files);
    fs::remove_file(place.home.join(".ssh/kohakuriver.local.conf")).unwrap();
    place.ssh_config("--sync").succeeds().says_nothing();
    assert_eq!(fs::read_to_string(ours).unwrap(), text);
}

/// `--remove` takes out our files and lines, even if some of them are gone already.
#[test]
fn remove_takes_out_what_is_there() {
    let (_gateway, place) = Place::with_gateway();
    let (ours, newer) =
        (place.home.join(".ssh/kohakuriver.conf"), place.home.join(".ssh/.kohakuriver-openssh-8.7.conf"));
    let config = place.home.join(".ssh/config");
    let backup = place.home.join(".ssh/.config.before-kohakuriver");
    let written = || {
        let _ = fs::remove_file(&backup);
        place.home.write(".ssh/config", "Host a\n");
        place.ssh_config("--write").succeeds();
    };
    let is_clean = |left: &[&PathBuf]| {
        assert_eq!(fs::read_to_string(&config).unwrap(), "Host a\n");
        let files: Vec<PathBuf> = place.files().into_keys().filter(|path| path.is_file()).collect();
        assert_eq!(files.iter().filter(|path| **path != config).collect::<Vec<_>>(), left);
    };
    for one in [&ours, &newer] {
        written();
        fs::remove_file(one).unwrap();
        place.ssh_config("--remove").succeeds();
        is_clean(&[]);
    }
    // Larger than what is read of any file.
    written();
    fs::OpenOptions::new().write(true).open(&ours).unwrap().set_len(160_000_000).unwrap();
    place.ssh_config("--remove").succeeds();
    is_clean(&[]);
    // The line, spelled anew by the user.
    written();
    let text = fs::read_to_string(&config).unwrap();
    let include = format!("Include {}", ours.display());
    place.home.write(".ssh/config", text.replace(&include, "include = \"~/.ssh/kohakuriver.conf\""));
    place.ssh_config("--write").succeeds().says(&["nothing to change"]);
    place.ssh_config("--remove").succeeds();
    is_clean(&[]);
    // A backup that can't be read.
    written();
    fs::remove_file(&backup).unwrap();
    fs::create_dir(&backup).unwrap();
    place.ssh_config("--remove").succeeds().says(&["kept ", ".config.before-kohakuriver: it is not a regular file"]);
    is_clean(&[]);
    fs::remove_dir(&backup).unwrap();
    // No configuration at all.
    written();
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    place.ssh_config("--remove").succeeds().says(&["removed "]);
    assert!(!ours.exists() && !newer.exists());
    fs::remove_dir(&config).unwrap();
    // A configuration that may not be changed: the rest goes, and the line means nothing then.
    written();
    set_mode(&config, 0o444);
    let outcome = place.ssh_config("--remove");
    outcome.exits(1).says(&["removed ", "it is read-only", "hint: remove this line by hand: `Include "]);
    assert!(!ours.exists() && !newer.exists());
}

/// Hosts that the patterns of the fixtures match.
const OF_PATTERNS: [&str; 12] = [
    "foreign.example",
    "somebody@foreign.example",
    "x.corp.example",
    "db-7",
    "i-0123456789abcdef0",
    "coder.main",
    "eu.gitlab.com",
    "n042",
    "login2.cluster.example.edu",
    "192.168.7.7",
    "root@files",
    "kohakuriver",
];

#[test]
fn ten_ssh_configs_of_other_people_mean_what_they_meant() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/ssh_configs");
    let fixtures: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(fixtures.len() >= 10, "{fixtures:?}");
    let gateway = &Gateway::before(22);
    thread::scope(|scope| {
        for fixtures in fixtures.chunks(fixtures.len() / 2) {
            scope.spawn(move || {
                for fixture in fixtures {
                    eprintln!("fixture: {}", fixture.display());
                    let place = Place::new(Home::new(), gateway);
                    let config = fs::read(fixture).unwrap();
                    place.home.write(".ssh/config", &config);
                    let text = String::from_utf8(config).unwrap();
                    let hosts = text.lines().filter_map(|line| line.trim_start().strip_prefix("Host "));
                    let literal = |host: &&str| !host.contains(['*', '?', '!']);
                    let mut hosts: Vec<String> =
                        hosts.flat_map(str::split_ascii_whitespace).filter(literal).map(str::to_owned).collect();
                    hosts.extend(OF_PATTERNS.map(str::to_owned));
                    write_and_remove(&place, &hosts, Included);
                }
            });
        }
    });
}
