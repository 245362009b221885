//! A home that an earlier version has written, when there was one cluster and no sections: everything goes on working, no
//! key is asked for or accepted anew, and a second cluster finds its place beside it.

use std::fs;

use serde_json::{Value, json};

use crate::support::home::{Home, set_mode};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{CLI, HELPER};
use crate::support::two_clusters::{CONFIG, DOTTED, TwoClusters, WHERE};

/// Its entries, with the words in capitals to be filled in.
const ENTRIES: &str = "\
# Do not edit: written by `kohakuriver ssh config`, which will write it anew.
# Made by: kohakuriver --host 127.0.0.1 --port API --proxy PROXY ssh config --write
# Any VPS by its task id or name, and one entry for each of yours that had SSH when this was written.

# kohakuriver.local.conf is yours, and nothing changes it: what it says about VPSes comes first.
Include FOLDER/kohakuriver.local.conf

# For OpenSSH 8.7 and later. An older ssh takes the quotes for letters, and finds no file of that name.
Include 'FOLDER/.kohakuriver-openssh-8.7.conf'

Host trainer.kohakuriver
    HostName ID.kohakuriver
    HostKeyAlias kohakuriver-ID
    User root
    IdentityFile FOLDER/id-kohakuriver-ID
    IdentitiesOnly yes
    PubkeyAuthentication yes
    PubkeyAcceptedKeyTypes +ssh-ed25519

Match originalhost trainer.kohakuriver,ID.kohakuriver,kohakuriver-ID.kohakuriver,kohakuriver-vps-ID.kohakuriver
    HostName ID.kohakuriver
    HostKeyAlias kohakuriver-ID
    IdentityFile FOLDER/id-kohakuriver-ID
    IdentitiesOnly yes
    PubkeyAuthentication yes
    PubkeyAcceptedKeyTypes +ssh-ed25519

Match originalhost trainer.kohakuriver,t*.kohakuriver
    IdentityFile FOLDER/id-kohakuriver-ID
    IdentitiesOnly yes
    PubkeyAuthentication yes
    PubkeyAcceptedKeyTypes +ssh-ed25519

Host *.kohakuriver
    User root
    ProxyCommand HELPER --fdpass --proxy PROXY --host-api 127.0.0.1:API %h %p
    ProxyUseFdpass yes
    UserKnownHostsFile FOLDER/KNOWN
    CheckHostIP no
    HashKnownHosts no
    Port 22
    CanonicalizeHostname no
    HostKeyAlgorithms +ssh-ed25519
    PermitLocalCommand no
    ServerAliveInterval 30
    ServerAliveCountMax 3

Match originalhost *.kohakuriver
    HostName %h
    User root
    ProxyCommand HELPER --fdpass --proxy PROXY --host-api 127.0.0.1:API %h %p
    ProxyUseFdpass yes
    UserKnownHostsFile FOLDER/KNOWN
    CheckHostIP no
    HashKnownHosts no
    Port 22
    CanonicalizeHostname no
    HostKeyAlgorithms +ssh-ed25519
    PermitLocalCommand no
    ServerAliveInterval 30
    ServerAliveCountMax 3
";

/// Its second file.
const NEWER: &str = "\
# Do not edit: written by `kohakuriver ssh config`, which will write it anew.
# Made by: kohakuriver --host 127.0.0.1 --port API --proxy PROXY ssh config --write
# For OpenSSH 8.7 and later; kohakuriver.conf includes this file.

Match originalhost *.kohakuriver
    KnownHostsCommand CLI --host 127.0.0.1 --port API ssh host-key --file FOLDER/KNOWN %H %t %K %h
    StrictHostKeyChecking accept-new
    SessionType default
    ForkAfterAuthentication no
    StdinNull no
";

/// Its file of host keys; before that, the file was called like the second one.
const KNOWN: [&str; 2] = [".kohakuriver_known_hosts", "kohakuriver_known_hosts"];

/// The two clusters, and in the home what an earlier version had written for the first of them.
fn of_earlier_version(known: &str) -> TwoClusters {
    let two = TwoClusters::new();
    // Two more host names of the default cluster than before would hide what is tested here.
    fs::remove_file(two.home.join(&format!(".ssh/id-kohakuriver-{DOTTED}"))).unwrap();
    let folder = two.home.join(".ssh").display().to_string();
    let filled = |text: &str| {
        let words = [
            ("FOLDER", folder.as_str()),
            ("HELPER", HELPER),
            ("CLI", CLI),
            ("KNOWN", known),
            ("PROXY", &two.work.gateway.address.to_string()),
            ("API", &two.work.gateway.api().port().to_string()),
            ("kohakuriver-ID", &format!("kohakuriver-{ID}")),
            ("kohakuriver-vps-ID", &format!("kohakuriver-vps-{ID}")),
            (",ID.", &format!(",{ID}.")),
            (" ID.", &format!(" {ID}.")),
        ];
        words.into_iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    };
    two.home.secret(".ssh/kohakuriver.conf", &filled(ENTRIES));
    two.home.secret(".ssh/.kohakuriver-openssh-8.7.conf", &filled(NEWER));
    let mark = "# Added by `kohakuriver ssh config --write`; `kohakuriver ssh config --remove` takes it out.";
    two.home.secret(".ssh/config", &format!("{mark}\nInclude {folder}/kohakuriver.conf\n"));
    let key = two.work.sshd.known_as(&format!("kohakuriver-{ID},{ID}.kohakuriver"));
    two.home.secret(&format!(".ssh/{known}"), &format!("{} stored-at-1795000000\n", key.trim_end()));
    let (api, proxy) = (two.work.gateway.api().port(), two.work.gateway.address.port());
    two.home.write(CONFIG, json!({ "host": "127.0.0.1", "port": api, "ssh_proxy_port": proxy }).to_string());
    two
}

/// Nothing that was there has changed, and nothing was added.
fn keys(two: &TwoClusters, known: &str) -> String {
    let other = KNOWN.iter().find(|name| **name != known).unwrap();
    assert!(!two.home.join(&format!(".ssh/{other}")).exists(), "a second file of host keys");
    two.home.read(&format!(".ssh/{known}"))
}

#[test]
fn what_an_earlier_version_wrote_goes_on_working() {
    for known in KNOWN {
        let two = of_earlier_version(known);
        let (config, conf, before) = (two.home.read(CONFIG), two.home.read(".ssh/kohakuriver.conf"), keys(&two, known));
        // A key that is not the stored one would be refused, so this is the stored one that counts.
        for host in ["trainer.kohakuriver", &format!("{ID}.kohakuriver"), "TRAINER.kohakuriver", "train.kohakuriver"] {
            if host != "train.kohakuriver" {
                two.leads_to(host, &two.work);
            }
        }
        two.connect(&[], "trainer").arg(WHERE).output().succeeds().prints(&two.work.says());
        two.connect(&[], ID).arg(WHERE).output().succeeds().prints(&two.work.says());
        assert_eq!(keys(&two, known), before);
        assert_eq!(
            two.json(&["cluster", "list", "--json"])[0]["host_api"],
            two.work.api_at("127.0.0.1"),
            "the only cluster is the default one"
        );
        let one = two.run(&["vps", "status", "nobody"]).output();
        one.exits(1).check(!one.stderr.contains("cluster"), "no cluster in a message about the only one");
        // With an explicit name as well.
        let list = two.run(&["--cluster", "default", "vps", "list"]).output();
        list.succeeds().says_nothing();
        assert_eq!((two.home.read(CONFIG), two.home.read(".ssh/kohakuriver.conf")), (config, conf));
    }
}

#[test]
fn a_refresh_brings_the_entries_up_to_date() {
    for known in KNOWN {
        let two = of_earlier_version(known);
        let before = keys(&two, known);
        two.run(&["ssh", "config", "--sync"]).output().succeeds().prints_nothing().says_nothing();
        let section = two.section("default").expect("it has a section now");
        assert!(section.contains(" --cluster default %h %p"), "{section}");
        for host in ["trainer.kohakuriver", "trainer.default.kohakuriver", &format!("{ID}.kohakuriver")] {
            two.leads_to(host, &two.work);
        }
        assert_eq!(keys(&two, known), before);
        two.run(&["ssh", "config", "--write"]).output().succeeds().says(&["nothing to change"]);
        // Another Host's refresh is not for it.
        let conf = two.home.read(".ssh/kohakuriver.conf");
        let port = two.lab.gateway.api().port().to_string();
        two.run(&["-H", "localhost", "-P", &port, "ssh", "config", "--sync"]).output().succeeds().says_nothing();
        assert_eq!(two.home.read(".ssh/kohakuriver.conf"), conf);
        two.run(&["ssh", "config", "--remove"]).output().succeeds();
        assert!(!two.home.join(".ssh/config").exists() && !two.home.join(".ssh/kohakuriver.conf").exists());
    }
}

#[test]
fn a_second_cluster_finds_its_place_beside_it() {
    for known in KNOWN {
        let two = of_earlier_version(known);
        let before = keys(&two, known);
        let said = two.log_in_to_lab().output();
        said.succeeds();
        two.leads_to("trainer.kohakuriver", &two.work);
        assert_eq!(keys(&two, known), before);
        two.leads_to("trainer.lab.kohakuriver", &two.lab);
        two.leads_to("trainer.kohakuriver", &two.work);
        assert!(keys(&two, known).starts_with(&before), "the first one's key stays as it was");
        assert_eq!(keys(&two, known).lines().count(), 2);
        let (api, lab) = (two.work.gateway.api().port(), &two.home.json(CONFIG)["clusters"]["lab"]);
        let config = json!({ "host": "127.0.0.1", "port": api, "ssh_proxy_port": two.work.gateway.address.port(), "clusters": { "lab": lab } });
        assert_eq!(two.home.json(CONFIG), config);
        // Another default, another name: the key follows.
        two.run(&["cluster", "use", "lab"]).output().succeeds();
        two.leads_to("trainer.kohakuriver", &two.lab);
        two.leads_to("trainer.default.kohakuriver", &two.work);
        two.run(&["cluster", "rename", "default", "work"]).output().succeeds();
        two.leads_to("trainer.work.kohakuriver", &two.work);
        assert_eq!(keys(&two, known).lines().count(), 2);
        assert!(keys(&two, known).contains(&format!("kohakuriver-{ID}.work,{ID}.work.kohakuriver ssh-")));
    }
}

/// The changed key of an earlier version's file is refused as before.
#[test]
fn the_stored_key_is_the_one_that_counts() {
    for known in KNOWN {
        let two = of_earlier_version(known);
        let other = two.lab.sshd.known_as(&format!("kohakuriver-{ID},{ID}.kohakuriver"));
        two.home.secret(&format!(".ssh/{known}"), &other);
        for sync in [false, true] {
            if sync {
                two.run(&["ssh", "config", "--sync"]).output().succeeds();
            }
            two.ssh("trainer.kohakuriver").arg("true").output().exits(255).says(&["has changed"]);
            two.connect(&[], "trainer").arg("true").output().exits(255).says(&["has changed"]);
        }
        assert_eq!(keys(&two, known), other);
    }
}

/// Only settings in the environment, as in a shell that an administrator has set up: there is no config.json at all.
#[test]
fn settings_of_the_environment_alone_mean_the_default_cluster() {
    let two = of_earlier_version(KNOWN[0]);
    fs::remove_file(two.home.join(CONFIG)).unwrap();
    let set = |run: Run| run.on_host(two.work.gateway.api().port()).through(two.work.gateway.address.port());
    set(two.run(&["ssh", "config", "--write"])).output().succeeds();
    assert!(two.section("default").is_some());
    two.leads_to("trainer.kohakuriver", &two.work);
    set(two.connect(&[], "trainer")).arg(WHERE).output().succeeds().prints(&two.work.says());
    let listed: Value =
        serde_json::from_str(&set(two.run(&["cluster", "list", "--json"])).output().succeeds().text()).unwrap();
    // The list has what is stored.
    assert_eq!(listed, json!([]));
    assert_eq!(two.known_hosts(), [format!("kohakuriver-{ID},{ID}.kohakuriver")]);
}

/// A token file of the Python CLI that others may read goes on working, and doctor says so.
#[test]
fn a_token_file_that_others_can_read_is_said() {
    let host = crate::support::life_host::LifeHost::start(22022);
    host.change(|state| state.auth = true);
    let home = Home::new();
    let port = host.peer.address.port();
    home.write(CONFIG, json!({ "host": "127.0.0.1", "port": port }).to_string());
    let login = Run::new(CLI, &home).args(["auth", "login", "--token-stdin"]);
    login.stdin(crate::support::life_host::OPERATOR).output().succeeds();
    let other = crate::support::life_host::LifeHost::start(22022);
    other.change(|state| state.auth = true);
    let login =
        ["login", "localhost", "--cluster", "lab", "--port", &other.peer.address.port().to_string(), "--token-stdin"];
    Run::new(CLI, &home).args(login).stdin(crate::support::life_host::USER).output().succeeds();
    for (file, words) in [(".kohakuriver/auth.json", &[][..]), (".kohakuriver/tokens.json", &["--cluster", "lab"])] {
        set_mode(&home.join(file), 0o644);
        let doctor = Run::new(CLI, &home).args(words).args(["doctor", "--all"]).output();
        let path = home.join(file).display().to_string();
        let told = format!("`chmod 600 ~/{file}` makes it private");
        doctor.check(doctor.text().contains(&told), &told);
        let list = Run::new(CLI, &home).args(words).args(["vps", "list"]).output();
        list.succeeds().says(&["warning: other users of this machine may read your token", &path]);
        set_mode(&home.join(file), 0o600);
        Run::new(CLI, &home).args(words).args(["vps", "list", "--json"]).output().succeeds().says_nothing();
    }
}
