//! The private key that ssh gets for a VPS, and whether ssh would use it.
//!
//! A wrong key file is an error before ssh starts. ssh itself would only print a warning, try other keys and end with
//! `Permission denied`, which hides the cause. The content of the file is not checked.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::ssh::quote::shell_word;
use crate::sys;
use crate::target::TaskId;

/// The beginnings of the file names of VPSes' keys, before the cluster and the task id. The preferred one comes first.
const NAMES: [&str; 2] = ["id-kohakuriver-", "kohakuriver_"];

/// The beginnings of the file names of the keys for VPSes of one cluster, before the task id. KohakuRiver's Python CLI,
/// which knows one Host, makes keys without a cluster in their names: they are for one cluster only.
#[derive(Clone, Debug)]
pub struct KeyNames(Vec<String>);

impl KeyNames {
    /// The names of the keys of `cluster`. If it `has_plain` keys, names without a cluster in them are among these.
    pub fn of(cluster: &Cluster, has_plain: bool) -> Self {
        let own = cluster.before_id();
        let plain = has_plain && !own.is_empty();
        let all = [own].into_iter().chain(plain.then(String::new));
        Self(all.flat_map(|word| NAMES.map(|start| format!("{start}{word}"))).collect())
    }

    /// The name of a new key.
    pub fn new_key(&self, id: TaskId) -> String {
        format!("{}{id}", self.0[0])
    }
}

/// The keys that ssh offers by itself, in ~/.ssh and in its order (ssh_config(5), IdentityFile).
const DEFAULTS: [&str; 5] = ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"];
/// Kinds of keys that only some versions of ssh offer.
const OLDER_DEFAULTS: [&str; 2] = ["id_dsa", "id_xmss"];

/// The key for a VPS: `given` if it is set; otherwise the first of `names` with the id behind it that exists in ~/.ssh. For
/// the unnamed cluster, that is `id-kohakuriver-<id>`, where KohakuRiver's Python CLI writes a generated key, and then
/// `kohakuriver_<id>`. Otherwise there is none, and ssh uses its agent and defaults.
///
/// # Errors
/// When ssh would not use the file.
pub fn resolve(
    given: Option<&Path>,
    id: TaskId,
    home: Option<&Path>,
    names: &KeyNames,
) -> Result<Option<PathBuf>, Failure> {
    if let Some(typed) = given {
        let path = absolute(&expand_home(typed, home), typed)?;
        check(&path)?;
        return Ok(Some(path));
    }
    let Some(folder) = home.map(|home| home.join(".ssh")) else { return Ok(None) };
    for start in &names.0 {
        let name = format!("{start}{id}");
        let path = absolute(&folder.join(&name), Path::new(&name))?;
        if path.exists() {
            check(&path)?;
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Every VPS with a usable key of its own in ~/.ssh, the newest first, and the key.
pub fn found(home: &Path, names: &KeyNames) -> Vec<(TaskId, PathBuf)> {
    let entries = std::fs::read_dir(home.join(".ssh")).into_iter().flatten().filter_map(Result::ok);
    let id = |name: &str| names.0.iter().find_map(|start| TaskId::parse(name.strip_prefix(start.as_str())?));
    let mut ids: Vec<TaskId> = entries.filter_map(|entry| id(entry.file_name().to_str()?)).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
    ids.into_iter().filter_map(|id| Some((id, resolve(None, id, Some(home), names).ok()??))).collect()
}

/// Gives the keys of VPSes the names that they have when the cluster `from` is called `to`, and returns which got one. The
/// Python CLI's, without a cluster in their names, keep that name as well: it looks for no other. Nothing is overwritten.
pub fn rename(home: &Path, from: &Cluster, to: &Cluster) -> Vec<(PathBuf, PathBuf)> {
    let own = |cluster: &Cluster| KeyNames::of(cluster, false);
    let (before, after) = (own(from), own(to));
    let mut renamed = Vec::new();
    for (id, _) in found(home, &before) {
        for (old, new) in before.0.iter().zip(&after.0) {
            for end in ["", ".pub"] {
                let [old, new] = [old, new].map(|start| home.join(".ssh").join(format!("{start}{id}{end}")));
                let is_linked = std::fs::hard_link(&old, &new).is_ok();
                if is_linked && (*from == Cluster::Unnamed || std::fs::remove_file(&old).is_ok()) && end.is_empty() {
                    renamed.push((old, new));
                }
            }
        }
    }
    renamed
}

/// ssh's default keys that exist, if the user's ssh_config names other keys instead and none of these exists. `options`
/// is what `ssh -G` prints.
pub fn hidden_defaults(options: &str, home: &Path) -> Vec<PathBuf> {
    let folder = home.join(".ssh");
    let path = |name: &str| match name.strip_prefix("%d/") {
        Some(rest) => home.join(rest),
        None => expand_home(Path::new(name), Some(home)),
    };
    let is_default = |path: &Path| DEFAULTS.iter().chain(&OLDER_DEFAULTS).any(|name| path == folder.join(name));
    let named = options.lines().filter_map(|line| line.strip_prefix("identityfile ")).map(path);
    let others: Vec<PathBuf> = named.filter(|path| !is_default(path)).collect();
    // `none` is a wish, and other tokens are ssh's to expand.
    let may_exist = |path: &PathBuf| path.exists() || path == Path::new("none") || has_tokens(path);
    if others.is_empty() || others.iter().any(may_exist) { Vec::new() } else { defaults(home) }
}

/// ssh's default keys that exist.
pub fn defaults(home: &Path) -> Vec<PathBuf> {
    let folder = home.join(".ssh");
    DEFAULTS.iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect()
}

fn has_tokens(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.contains(&b'%') || bytes.windows(2).any(|pair| pair == b"${") || bytes.starts_with(b"~")
}

/// Replaces the `~` of `~` and `~/…` by the home directory: a shell does not do that in `--key=~/k`.
pub fn expand_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn absolute(path: &Path, typed: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| cannot_use(typed).because(&error))
}

fn check(path: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => cannot_use(path)
            .cause("there is no such file")
            .hint(format!("list your keys: `{}`", sys::list_ssh_folder())),
        _ => cannot_use(path).because(&error),
    })?;
    if metadata.is_dir() {
        return Err(cannot_use(path).cause("it is a directory").hint("give the file of the private key"));
    }
    if path.extension().is_some_and(|extension| extension == "pub") {
        let private = path.with_extension("");
        return Err(cannot_use(path)
            .cause("it is the public half of a key")
            .hint(format!("give the private half with `--key {}`", shell_word(private.as_os_str()).display())));
    }
    // Opening a named pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(cannot_use(path).cause("it is not a regular file").hint("give the file of the private key"));
    }
    check_mode(path, &metadata)?;
    // Only opening the file shows whether it can be read: access control lists exist besides the mode.
    sys::open_regular(path).map_err(|error| cannot_use(path).because(&error))?;
    Ok(())
}

/// OpenSSH's own rule: nobody else may read a key that belongs to the user.
fn check_mode(path: &Path, metadata: &Metadata) -> Result<(), Failure> {
    let Some(mode) = sys::mode_that_ssh_refuses(metadata) else { return Ok(()) };
    Err(cannot_use(path)
        .cause(format!("its mode is {mode:04o}: ssh ignores a private key that others may read"))
        .hint(format!("make it private with `{}`", sys::give_access(path, "600"))))
}

fn cannot_use(path: &Path) -> Failure {
    Failure::new(format!("cannot use the key {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    /// A home directory with a `.ssh`, removed at the end of the test.
    struct Home(TempDir);

    impl Home {
        fn new() -> Self {
            let folder = TempDir::new().unwrap();
            fs::create_dir(folder.path().join(".ssh")).unwrap();
            Self(folder)
        }

        fn file(&self, name: &str, mode: u32) -> PathBuf {
            let path = self.0.path().join(".ssh").join(name);
            fs::write(&path, "key").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }

        fn resolve(&self, given: Option<&str>) -> Result<Option<PathBuf>, Failure> {
            resolve(given.map(Path::new), TaskId::parse("42").unwrap(), Some(self.0.path()), &unnamed())
        }
    }

    fn unnamed() -> KeyNames {
        KeyNames::of(&Cluster::Unnamed, true)
    }

    #[test]
    fn each_cluster_has_keys_of_its_own_and_the_default_one_those_of_the_python_cli() {
        let home = Home::new();
        let (plain, lab) = (home.file("id-kohakuriver-42", 0o600), home.file("kohakuriver_lab-42", 0o600));
        let lab_is = Cluster::of(&"lab".parse().unwrap());
        let id = TaskId::parse("42").unwrap();
        let other = TaskId::parse("7").unwrap();
        let of_other = home.file("id-kohakuriver-7", 0o600);
        let key = |cluster: &Cluster, is_default, id| {
            resolve(None, id, Some(home.0.path()), &KeyNames::of(cluster, is_default)).unwrap()
        };
        assert_eq!(key(&Cluster::Unnamed, true, id), Some(plain.clone()));
        assert_eq!(key(&Cluster::Other("homelab:8000".into()), false, id), Some(plain));
        assert_eq!(key(&lab_is, false, id), Some(lab.clone()));
        assert_eq!(key(&lab_is, true, id), Some(lab.clone()));
        assert_eq!((key(&lab_is, false, other), key(&lab_is, true, other)), (None, Some(of_other)));
        assert_eq!(found(home.0.path(), &KeyNames::of(&lab_is, false)), [(id, lab)]);
        assert_eq!(KeyNames::of(&lab_is, true).new_key(id), "id-kohakuriver-lab-42");
    }

    #[test]
    fn the_given_key_then_the_generated_key_then_the_documented_key_then_none() {
        let home = Home::new();
        assert_eq!(home.resolve(None).unwrap(), None);
        let documented = home.file("kohakuriver_42", 0o600);
        assert_eq!(home.resolve(None).unwrap(), Some(documented));
        let generated = home.file("id-kohakuriver-42", 0o400);
        assert_eq!(home.resolve(None).unwrap(), Some(generated.clone()));
        let given = home.file("own key", 0o600);
        assert_eq!(home.resolve(Some("~/.ssh/own key")).unwrap(), Some(given.clone()));
        assert_eq!(home.resolve(given.to_str()).unwrap(), Some(given));
    }

    #[test]
    fn a_key_that_ssh_would_not_use_is_an_error_with_a_fix() {
        let home = Home::new();
        let open = home.file("open key", 0o644);
        home.file("half.pub", 0o600);
        let pipe = home.0.path().join(".ssh/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for (given, parts) in [
            ("~/.ssh/none", ["there is no such file", "hint: list your keys: `ls -l ~/.ssh`"]),
            ("~/.ssh", ["it is a directory", "hint"]),
            ("~/.ssh/pipe", ["it is not a regular file", "hint"]),
            ("~/.ssh/half.pub", ["public half", ".ssh/half`"]),
            ("~/.ssh/open key", ["its mode is 0644", &format!("chmod 600 '{}'", open.display())]),
            ("~/.ssh/open key/x", ["caused by", "open key/x"]),
        ] {
            let text = home.resolve(Some(given)).unwrap_err().render("p");
            assert!(parts.iter().all(|part| text.contains(part)), "{given}: {text}");
        }
        home.file("kohakuriver_42", 0o640);
        assert!(home.resolve(None).unwrap_err().render("p").contains("chmod 600"));
    }

    #[test]
    fn each_vps_with_a_key_of_its_own_is_found() {
        let home = Home::new();
        for name in ["id-kohakuriver-7.pub", "id-kohakuriver-x", "kohakuriver_", "id_rsa"] {
            home.file(name, 0o600);
        }
        home.file("kohakuriver_9", 0o644);
        let (third, second) = (home.file("kohakuriver_3", 0o600), home.file("id-kohakuriver-20", 0o600));
        home.file("kohakuriver_20", 0o600);
        let id = |id| TaskId::parse(id).unwrap();
        assert_eq!(found(home.0.path(), &unnamed()), [(id("20"), second), (id("3"), third)]);
        assert_eq!(found(Path::new("/no/such/home"), &unnamed()), []);
    }

    #[test]
    fn keys_get_the_names_of_another_cluster() {
        let home = Home::new();
        let [lab, work] = ["lab", "work"].map(|name| Cluster::of(&name.parse().unwrap()));
        let plain = home.file("id-kohakuriver-42", 0o600);
        home.file("id-kohakuriver-42.pub", 0o644);
        let [of_lab, of_work] = ["lab", "work"].map(|name| plain.with_file_name(format!("id-kohakuriver-{name}-42")));
        // The Python CLI looks for its own name only.
        assert_eq!(rename(home.0.path(), &Cluster::Unnamed, &lab), [(plain.clone(), of_lab.clone())]);
        assert!(plain.exists() && of_lab.exists() && of_lab.with_extension("pub").exists());
        assert_eq!(rename(home.0.path(), &lab, &work), [(of_lab.clone(), of_work.clone())]);
        assert!(of_work.exists() && of_work.with_extension("pub").exists());
        assert!(!of_lab.exists() && !of_lab.with_extension("pub").exists());
        // Nothing is overwritten.
        fs::write(&of_lab, "another key").unwrap();
        assert_eq!(rename(home.0.path(), &Cluster::Unnamed, &lab), []);
        assert_eq!(fs::read_to_string(&of_lab).unwrap(), "another key");
    }

    #[test]
    fn defaults_are_hidden_by_other_keys_that_do_not_exist() {
        let home = Home::new();
        let default = home.file("id_ed25519", 0o600);
        home.file("work", 0o600);
        let own = "identityfile ~/.ssh/id_rsa\nidentityfile ~/.ssh/id_dsa\nidentityfile ~/.ssh/id_ed25519\n";
        for (options, hidden) in [
            (own.to_owned(), false),
            ("user u\nidentityfile ~/.ssh/gone\n".into(), true),
            (format!("{own}identityfile ~/.ssh/gone\n"), true),
            ("identityfile ~/.ssh/gone\nidentityfile ~/.ssh/work\n".into(), false),
            (format!("identityfile {}/.ssh/work\n", home.0.path().display()), false),
            ("identityfile %d/.ssh/work\n".into(), false),
            ("identityfile /gone\n".into(), true),
            ("identityfile none\n".into(), false),
            ("identityfile ~/.ssh/id_%h\n".into(), false),
            (String::new(), false),
        ] {
            let expected: &[&Path] = if hidden { &[&default] } else { &[] };
            assert_eq!(hidden_defaults(&options, home.0.path()), expected, "{options}");
        }
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let failure =
            resolve(Some(Path::new("no-such-key")), TaskId::parse("42").unwrap(), None, &unnamed()).unwrap_err();
        let expected = std::env::current_dir().unwrap().join("no-such-key");
        assert!(failure.what().contains(&expected.display().to_string()), "{failure:?}");
    }
}
