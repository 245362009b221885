//! The completions on TAB for several clusters, and forty clusters in one file of entries.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::run::{DEADLINE, Run};
use crate::support::scene::ID;
use crate::support::terminal::Terminal;
use crate::support::tools::{CLI, sh_quote, tool};
use crate::support::two_clusters::{CONFIG, DOTTED, TwoClusters};

/// The words that are offered after these.
fn offered(two: &TwoClusters, env: &[(&str, &str)], words: &[&str]) -> Vec<String> {
    let outcome = env.iter().fold(two.run(&[]).completing(words), |run, (name, value)| run.env(name, value)).output();
    outcome.succeeds().says_nothing();
    outcome.text().lines().map(str::to_owned).collect()
}

#[test]
fn each_cluster_is_offered_its_own() {
    let two = TwoClusters::logged_in();
    for cluster in ["default", "lab"] {
        two.run(&["--cluster", cluster, "vps", "list"]).output().succeeds();
    }
    let of = |words: &[&str]| offered(&two, &[], words);
    assert_eq!(of(&["vps", "connect", "t"]), ["trainer", "trainer.lab", "trainer.lab.kohakuriver"]);
    assert_eq!(of(&["--cluster", "lab", "vps", "connect", "t"]), ["trainer"]);
    assert_eq!(of(&["vps", "connect", "--cluster", "lab", "t"]), ["trainer"]);
    assert_eq!(of(&["vps", "connect", "--cluster=lab", "t"]), ["trainer"]);
    assert_eq!(of(&["--cluster", "default", "vps", "connect", "t"]), ["trainer", "trainer.lab"]);
    assert_eq!(of(&["-H", "localhost", "vps", "stop", "t"]), ["trainer"]);
    assert_eq!(of(&["vps", "status", "7"]), [ID, DOTTED, &format!("{ID}.lab.kohakuriver")]);
    assert_eq!(of(&["ssh", "forget", "trainer.lab.k"]), ["trainer.lab.kohakuriver"]);
    assert_eq!(of(&["vps", "cp", "trainer.lab.k"]), ["trainer.lab.kohakuriver:"]);
    for words in
        [&["--cluster", ""][..], &["cluster", "use", ""], &["cluster", "rename", ""], &["cluster", "remove", ""]]
    {
        let offered = of(words);
        assert_eq!(offered[..2], ["default", "lab"], "{words:?}");
        assert!(offered[2..].iter().all(|word| word.starts_with("--")), "{words:?}: {offered:?}");
    }
    let by_variable = offered(&two, &[("KOHAKURIVER_CLUSTER", "lab")], &["vps", "connect", "t"]);
    assert!(
        by_variable.contains(&"trainer".to_owned()) && !by_variable.contains(&"trainer.lab".to_owned()),
        "{by_variable:?}"
    );
    // Each word that is offered is one that a command takes.
    for word in of(&["vps", "status", "t"]) {
        two.run(&["vps", "status", &word]).output().succeeds();
    }
    for word in offered(&two, &[("KOHAKURIVER_CLUSTER", "lab")], &["vps", "status", "t"]) {
        two.run(&["vps", "status", &word]).env("KOHAKURIVER_CLUSTER", "lab").output().succeeds();
    }
    // A file that nobody can use offers nothing, and says nothing.
    two.home.write(CONFIG, "{ broken");
    assert!(of(&["vps", "connect", "t"]).is_empty());
    assert!(of(&["--cluster", ""]).is_empty());
}

#[test]
fn bash_completes_the_vps_of_another_cluster() {
    let two = TwoClusters::logged_in();
    for cluster in ["default", "lab"] {
        two.run(&["--cluster", cluster, "vps", "list"]).output().succeeds();
    }
    let script = two.run(&["completions", "bash"]).output().succeeds().text();
    let folder = two.home.join("bin");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(CLI, folder.join("kohakuriver")).unwrap();
    let text = format!("{script}\nPS1='> '\nbind 'set enable-bracketed-paste off'\necho re''ady\n");
    let rc = two.home.write("bashrc", text);
    let bash = format!("{} --noprofile --rcfile {} -i", tool("bash").display(), sh_quote(&rc.display().to_string()));
    let command = format!("stty cols 120 rows 40; {bash}");
    let run = Run::new(tool("script"), &two.home).first_on_path(&folder).env("TERM", "xterm");
    let run = run.args(["-q", "-E", "always", "-c", &command, "/dev/null"]);
    let mut shell = Terminal::start(run);
    shell.sees("ready");
    shell.sees("> ");
    shell.types("kohakuriver --clu\tla\t vps stat\ttra\t--js\t\x01printf '[%s]' \r");
    shell.sees("[kohakuriver][--cluster][lab][vps][status][trainer][--json]");
    shell.types("kohakuriver vps status trainer.lab.\t\x01printf '[%s]' \r");
    shell.sees("[kohakuriver][vps][status][trainer.lab.kohakuriver]");
    shell.types("exit\r");
    shell.finish();
}

/// How many clusters.
const MANY: usize = 40;

#[test]
fn forty_clusters_stand_in_one_file() {
    let two = TwoClusters::new();
    // Each has a gateway of its own in its entries; one answers for all of them.
    let api = two.work.gateway.api().port();
    let clusters: Value = (0..MANY)
        .map(|n| (format!("c{n}"), json!({ "host": "127.0.0.1", "port": api, "proxy": format!("door{n}") })))
        .collect();
    two.home.write(CONFIG, json!({ "default_cluster": "c7", "clusters": clusters }).to_string());
    let began = Instant::now();
    for n in 0..MANY {
        let run =
            two.run(&["--cluster", &format!("c{n}"), "ssh", "config", "--write"]).deadline(2 * DEADLINE.as_secs());
        run.output().succeeds().prints_nothing();
    }
    let written = began.elapsed();
    let conf = two.home.read(".ssh/kohakuriver.conf");
    assert_eq!(conf.matches("\n# Cluster: ").count(), MANY);
    // In any order, and as often as you like, it is the same file.
    for n in [0, 7, MANY - 1] {
        let run =
            two.run(&["--cluster", &format!("c{n}"), "ssh", "config", "--write"]).deadline(2 * DEADLINE.as_secs());
        run.output().succeeds();
    }
    assert_eq!(two.home.read(".ssh/kohakuriver.conf"), conf);
    let began = Instant::now();
    let mut asked = 0;
    for n in 0..MANY {
        let mut hosts = vec![format!("trainer.c{n}.kohakuriver"), format!("other.c{n}.kohakuriver")];
        if n == 7 {
            hosts.extend([
                "trainer.kohakuriver".to_owned(),
                "other.kohakuriver".to_owned(),
                format!("{ID}.kohakuriver"),
            ]);
        }
        for host in hosts {
            let options = two.options(&host);
            asked += 1;
            let option = |name: &str| {
                let mut lines = options.lines().filter_map(|line| line.strip_prefix(name));
                lines.next().unwrap_or_default().trim().to_owned()
            };
            let helper = option("proxycommand ");
            let of = format!(" --proxy door{n}:8002 --host-api 127.0.0.1:{api} --cluster c{n} %h %p");
            assert!(helper.ends_with(&of), "{host}: {helper}");
            let keys = option("knownhostscommand ");
            assert!(keys.contains(&format!(" --scope c{n} ")), "{host}: {keys}");
            let (name, alias) = (option("hostname "), option("hostkeyalias "));
            // The default one's VPS is listed without its cluster.
            let listed = if n == 7 { "trainer.kohakuriver".to_owned() } else { format!("trainer.c{n}.kohakuriver") };
            // It has a key where generated ones lie, so its id has an entry as well.
            if host == listed || host == format!("{ID}.kohakuriver") {
                let of_vps = (format!("{ID}.c{n}.kohakuriver"), format!("kohakuriver-{ID}.c{n}"));
                assert_eq!((name, alias), of_vps, "{host}");
            } else {
                assert_eq!((name, alias), (host.clone(), String::new()), "{host}");
            }
            // The other clusters' entries add nothing.
            assert_eq!(options.matches("\nproxycommand ").count(), 1, "{host}");
            assert!(!options.contains(&format!("id-kohakuriver-lab-{ID}")), "{host}: {options}");
        }
    }
    let each = began.elapsed() / asked;
    let other = Run::new(tool("ssh"), &two.home)
        .args(["-G", "-F"])
        .arg(two.home.join(".ssh/config"))
        .arg("foreign.example")
        .output();
    other.succeeds().check(!other.text().contains("kohakuriver-proxy"), "not ours");
    eprintln!("{MANY} clusters: written in {written:?}, {each:?} for each `ssh -G`, {} bytes", conf.len());
    // Gone one by one, the last one takes the files along.
    for n in (0..MANY).rev() {
        two.run(&["--cluster", &format!("c{n}"), "ssh", "config", "--remove"]).output().succeeds();
    }
    assert!(!two.home.join(".ssh/kohakuriver.conf").exists() && !two.home.join(".ssh/config").exists());
}
