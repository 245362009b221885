//! `kohakuriver vps cp`, with the system's scp and a real sshd.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::cluster::Cluster;
use crate::support::home::mode;
use crate::support::run::Outcome;
use crate::support::scene::ID;
use crate::support::tools::{CLI, user};

fn cp(cluster: &Cluster, args: &[&str]) -> Outcome {
    cluster.run(CLI).args(["vps", "cp", "--user", user()]).args(args).output()
}

#[test]
fn files_and_folders_in_both_directions() {
    let cluster = Cluster::new();
    let home = &cluster.home;
    let file = home.write("from/a file:1", "copied\n");
    home.write("from/deeper/other", "other\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o750)).unwrap();
    let path = |name: &str| home.join(name).display().to_string();
    let there = |name: &str| format!("{ID}:{}", path(name));
    cp(&cluster, &["-p", &path("from/a file:1"), &there("to")]).succeeds().says_nothing();
    assert_eq!(fs::read_to_string(home.join("to")).unwrap(), "copied\n");
    assert_eq!(mode(&home.join("to")), 0o750);
    cp(&cluster, &["-r", &there("from"), &there("to"), &path("back")]).exits(1);
    fs::create_dir(home.join("back")).unwrap();
    cp(&cluster, &["-r", &there("from"), &there("to"), &path("back")]).succeeds();
    assert_eq!(fs::read_to_string(home.join("back/from/deeper/other")).unwrap(), "other\n");
    assert_eq!(fs::read_to_string(home.join("back/to")).unwrap(), "copied\n");
    // Without a name there, it goes to the home directory of the user.
    let line = cp(&cluster, &["--dry-run", &path("to"), &format!("somebody@{ID}:")]);
    line.succeeds().check(line.text().ends_with(&format!(" -- {} {}@{ID}.kohakuriver:\n", path("to"), user())), "both");
}

#[test]
fn what_cannot_be_copied_is_said() {
    let cluster = Cluster::new();
    for (args, status, text) in [
        (&["a", "b"][..], 255, "no file of a VPS was named"),
        (&["one:a", "two:b"], 255, "two names of VPSes were given: one and two"),
        (&["nosuch:a", "b"], 255, "there is no VPS nosuch"),
        (&["a"], 2, "2 values required"),
    ] {
        cp(&cluster, args).exits(status).prints_nothing().says(&["kohakuriver: ", text]);
    }
    cp(&cluster, &[&format!("{ID}:/no/such/file"), "."]).check_fails().says(&["/no/such/file"]);
}
