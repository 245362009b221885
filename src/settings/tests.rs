use std::ffi::OsString;

use super::*;

fn resolve(flags: Flags, env: &[(&str, &str)], file: &str) -> Result<Settings, Failure> {
    let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    Settings::resolve(flags, &lookup, ConfigFile::parse(file.as_bytes()).unwrap())
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = r#"{"host":"file","port":1,"ssh_proxy_port":2}"#;
    let env = [("KOHAKURIVER_HOST", "env"), ("KOHAKURIVER_PORT", "3")];
    let flags = Flags { host: Some("flag".into()), ..Flags::default() };

    let all = resolve(flags, &env, file).unwrap();
    assert_eq!(all.host, Setting { value: "flag".into(), source: Source::Flag });
    assert_eq!(all.port, Setting { value: 3, source: Source::Env("KOHAKURIVER_PORT") });
    assert_eq!(all.api_url(), "http://flag:3");
    // The port in the file is the one of another Host.
    assert_eq!(all.ssh_proxy().to_string(), "http://flag:8002");
    let env = resolve(Flags::default(), &env, r#"{"ssh_proxy_port":2}"#).unwrap();
    assert_eq!(env.host, Setting { value: "env".into(), source: Source::Env("KOHAKURIVER_HOST") });
    assert_eq!(env.ssh_proxy_port, Setting { value: 2, source: Source::File });
    assert_eq!(resolve(Flags::default(), &[], file).unwrap().api_url(), "http://file:1");

    let none = resolve(Flags::default(), &[], "{}").unwrap();
    assert_eq!(none.host, Setting { value: "localhost".into(), source: Source::Default });
    assert_eq!((none.port.value, none.ssh_proxy_port.value), (8000, 8002));
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        assert_eq!(process_environment(name).is_some(), !value.is_empty(), "{name}");
        assert_eq!(process_environment(name).unwrap_or_default(), value, "{name}");
    }
    assert_eq!(process_environment("KOHAKURIVER_NO_SUCH_VARIABLE"), None);
}

#[test]
fn each_source_has_a_name() {
    let sources = [Source::Flag, Source::Env("KOHAKURIVER_HOST"), Source::File, Source::Default];
    assert_eq!(sources.map(|source| source.to_string()), ["flag", "KOHAKURIVER_HOST", "config.json", "default"]);
}

#[test]
fn the_files_of_a_user_are_in_the_home_directory() {
    let home = home_dir().unwrap();
    assert!(home.is_absolute());
    assert_eq!(auth_path().unwrap().strip_prefix(&home).unwrap(), std::path::Path::new(".kohakuriver/auth.json"));
    assert!(config_path().unwrap().ends_with("kohakuriver/config.json"));
}

#[test]
fn a_wrong_address_in_the_file_names_its_key() {
    for (key, cause) in
        [("proxy", "a user name or password can't stand in a proxy's address"), ("gateway_admin", ADMIN_FORM)]
    {
        let failure = resolve(Flags::default(), &[], &format!("{{\"{key}\":\"https://me:pw@head\"}}")).unwrap_err();
        let text = failure.render("p");
        assert!(
            text.contains(&format!("`{key}` in config.json is `https://…@head`")) && text.contains(cause),
            "{text}"
        );
        assert!(text.contains("`kohakuriver config path` shows"), "{text}");
    }
}

#[test]
fn the_log_file_is_the_one_of_the_flag_before_the_environment_before_the_file() {
    let file = r#"{"log_file":"/file"}"#;
    let log = |flags, env: &[_]| resolve(flags, env, file).unwrap().log_file.unwrap();
    let env = [("KOHAKURIVER_LOG_FILE", "/env")];
    let flags = Flags { log_file: Some("/flag".into()), ..Flags::default() };
    assert_eq!(log(flags, &env), Setting { value: "/flag".into(), source: Source::Flag });
    assert_eq!(log(Flags::default(), &env).source, Source::Env("KOHAKURIVER_LOG_FILE"));
    assert_eq!(log(Flags::default(), &[]), Setting { value: "/file".into(), source: Source::File });
    assert!(resolve(Flags::default(), &[], "{}").unwrap().log_file.is_none());
}

#[test]
fn a_proxy_takes_its_port_from_itself_or_from_the_settings() {
    let settings = resolve(Flags::default(), &[], r#"{"proxy":"door"}"#).unwrap();
    assert_eq!(settings.ssh_proxy().to_string(), "http://door:8002");
    let flags = Flags { proxy: Some("[::1]:9".parse().unwrap()), ..Flags::default() };
    assert_eq!(resolve(flags, &[], r#"{"proxy":"door"}"#).unwrap().ssh_proxy().authority(), "[::1]:9");
}

#[test]
fn settings_that_the_configuration_file_can_not_change() {
    let proxy = |text: &str| Flags { proxy: Some(text.parse().unwrap()), ..Flags::default() };
    let names = |flags, env: &[_]| {
        let settings = resolve(flags, env, "{}").unwrap();
        (settings.names_ssh_proxy(), settings.names_api())
    };
    let port = [("KOHAKURIVER_SSH_PROXY_PORT", "9")];
    assert_eq!(names(proxy("door:9"), &[]), (true, false));
    assert_eq!(names(proxy("door"), &[]), (false, false));
    assert_eq!(names(proxy("door"), &port), (true, false));
    // A `proxy` in the file would win over the Host of the environment.
    assert_eq!(names(Flags::default(), &[port[0], ("KOHAKURIVER_HOST", "head")]), (false, false));
    let api = Flags { host: Some("head".into()), ..proxy("door:9") };
    assert_eq!(names(api.clone(), &[]), (true, false));
    assert_eq!(names(api, &[("KOHAKURIVER_PORT", "9")]), (true, true));
    let file = r#"{"host":"head","port":9,"proxy":"door:9"}"#;
    let settings = resolve(Flags::default(), &[], file).unwrap();
    assert!(!settings.names_ssh_proxy() && !settings.names_api());
}

#[test]
fn whether_tunnels_survive_is_said_by_a_flag_or_by_the_cluster() {
    let file = r#"{"host":"a","resume":"off","clusters":{"lab":{"host":"b"}}}"#;
    let resume = |cluster: &str, demand| {
        let flags = Flags { cluster: Some(cluster.parse().unwrap()), ..Flags::default() };
        let Setting { value, source } = resolve(flags, &[], file).unwrap().with_resume_flag(demand).resume;
        (value.demand(), source)
    };
    assert_eq!(resume("default", None), (Some(false), Source::File));
    assert_eq!(resume("default", Some(true)), (Some(true), Source::Flag));
    assert_eq!(resume("lab", None), (None, Source::Default));
}

#[test]
fn a_cluster_is_named_by_a_flag_before_the_environment() {
    let source = |cluster: Option<&str>, host: Option<&str>, env: &[_]| {
        let flags = Flags {
            cluster: cluster.map(|name| name.parse().unwrap()),
            host: host.map(str::to_owned),
            ..Flags::default()
        };
        resolve(flags, env, r#"{"host":"a","clusters":{"lab":{"host":"b"}}}"#).unwrap().cluster_source
    };
    let (cluster, host) = (("KOHAKURIVER_CLUSTER", "lab"), ("KOHAKURIVER_HOST", "b"));
    assert_eq!(source(Some("lab"), None, &[cluster, host]), Source::Flag);
    assert_eq!(source(None, Some("b"), &[cluster, host]), Source::Flag);
    assert_eq!(source(None, None, &[cluster, host]), Source::Env(cluster.0));
    assert_eq!(source(None, None, &[host]), Source::Env(host.0));
    assert_eq!(source(None, None, &[]), Source::Default);
}

#[test]
fn keys_without_a_cluster_in_their_names_are_for_the_unnamed_cluster_or_else_for_the_default_one() {
    let plain = |cluster: &str, file| {
        let flags = Flags { cluster: Some(cluster.parse().unwrap()), ..Flags::default() };
        resolve(flags, &[], file).unwrap().has_plain_keys()
    };
    let file = r#"{"host":"a","clusters":{"lab":{"host":"b"}}}"#;
    assert_eq!((plain("default", file), plain("lab", file)), (true, false));
    let file = r#"{"default_cluster":"lab","clusters":{"lab":{"host":"b"},"other":{"host":"c"}}}"#;
    assert_eq!((plain("lab", file), plain("other", file)), (true, false));
    let file = r#"{"default_cluster":"lab","clusters":{"lab":{"host":"b"},"default":{"host":"c"}}}"#;
    assert_eq!((plain("lab", file), plain("default", file)), (false, true));
    // Nobody needs to tell one cluster from itself.
    assert!(resolve(Flags::default(), &[], r#"{"host":"a"}"#).unwrap().clusters.is_empty());
}

#[test]
fn a_variable_that_is_not_utf_8_is_named() {
    let lookup = |name: &str| (name == "KOHAKURIVER_HOST").then(|| crate::sys::os_string(vec![b'a', 0xff]));
    let text = Settings::resolve(Flags::default(), &lookup, ConfigFile::default()).unwrap_err().render("p");
    assert!(text.contains("KOHAKURIVER_HOST is not valid UTF-8\n  hint: set it again, or `"), "{text}");
}

#[test]
fn a_host_is_set_by_anything_but_the_defaults() {
    let unset = |flags, env: &[_], file| {
        let settings = resolve(flags, env, file).unwrap();
        (settings.names_no_host(), settings.names_no_ssh_proxy())
    };
    assert_eq!(unset(Flags::default(), &[], r#"{"log_file":"/x"}"#), (true, true));
    assert_eq!(unset(Flags::default(), &[], r#"{"host":"localhost"}"#), (false, false));
    assert_eq!(unset(Flags::default(), &[("KOHAKURIVER_HOST", "localhost")], "{}"), (false, false));
    assert_eq!(unset(Flags::default(), &[("KOHAKURIVER_PORT", "8000")], "{}"), (false, true));
    assert_eq!(unset(Flags::default(), &[("KOHAKURIVER_SSH_PROXY_PORT", "8002")], "{}"), (true, false));
    let proxy = Flags { proxy: Some("door".parse().unwrap()), ..Flags::default() };
    assert_eq!(unset(proxy, &[], "{}"), (true, false));
}

#[test]
fn the_gateways_admin_address_is_what_a_setting_names() {
    let url = |env: &[_], file| resolve(Flags::default(), env, file).unwrap().gateway_admin_url().unwrap_or_default();
    let env = [("KOHAKURIVER_GATEWAY_ADMIN", "http://door:9")];
    assert_eq!(url(&[("KOHAKURIVER_HOST", "head")], "{}"), "");
    assert_eq!(url(&env, r#"{"gateway_admin":"file"}"#), "http://door:9");
    assert_eq!(url(&[], r#"{"gateway_admin":"::1"}"#), "http://[::1]:8003");
    for (flag, expected) in [("flag:1", "http://flag:1"), ("unix:/run/g/admin.sock", "unix:/run/g/admin.sock")] {
        let flags = Flags { gateway_admin: Some(flag.parse().unwrap()), ..Flags::default() };
        assert_eq!(resolve(flags, &env, "{}").unwrap().gateway_admin_url().as_deref(), Some(expected));
    }
    assert_eq!(url(&[("KOHAKURIVER_GATEWAY_ADMIN", "unix:/a b")], "{}"), "unix:/a b");
    assert_eq!(url(&[], r#"{"gateway_admin":"unix:/run/x"}"#), "unix:/run/x");
}

#[test]
fn a_file_of_host_keys_has_a_path_that_means_the_same_everywhere() {
    let named = |env: &[_], file| resolve(Flags::default(), env, file).map(|settings| settings.known_hosts);
    let file = r#"{"known_hosts":"~/keys"}"#;
    assert_eq!(named(&[], "{}").unwrap(), None);
    assert_eq!(named(&[], file).unwrap(), Some(Setting { value: "~/keys".into(), source: Source::File }));
    let env = Source::Env("KOHAKURIVER_KNOWN_HOSTS");
    let set = |value| [("KOHAKURIVER_KNOWN_HOSTS", value)];
    assert_eq!(named(&set("/k"), file).unwrap(), Some(Setting { value: "/k".into(), source: env }));
    let text = named(&set("keys"), file).unwrap_err().render("p");
    assert!(
        text.contains("`keys`, which is a relative path\n  caused by: set by: KOHAKURIVER_KNOWN_HOSTS\n"),
        "{text}"
    );
}

#[test]
fn ipv6_hosts_get_their_brackets_in_urls() {
    for host in ["::1", "[::1]"] {
        let settings = resolve(Flags::default(), &[("KOHAKURIVER_HOST", host)], "{}").unwrap();
        assert_eq!(settings.api_url(), "http://[::1]:8000");
    }
}

#[test]
fn a_host_with_tls_shows_one_port() {
    let places = |flags, env: &[_], file| {
        let settings = resolve(flags, env, file).unwrap();
        (settings.api_url(), settings.ssh_proxy().to_string(), settings.host_as_typed())
    };
    let flag = |host: &str| Flags { host: Some(host.to_owned()), ..Flags::default() };
    let all = |url: &str| (url.to_owned(), url.to_owned(), url.to_owned());
    let (api, proxy, host) = places(flag("https://gpu"), &[], "{}");
    assert_eq!([api, proxy, host], ["https://gpu:443", "https://gpu:443", "https://gpu"]);
    assert_eq!(places(Flags::default(), &[], r#"{"host":"https://gpu:8443"}"#), all("https://gpu:8443"));
    // A port of its own counts if its source is as strong.
    assert_eq!(places(Flags::default(), &[], r#"{"host":"https://gpu","port":9}"#), all("https://gpu:9"));
    let env = [("KOHAKURIVER_HOST", "https://gpu:8443")];
    assert_eq!(places(Flags::default(), &env, r#"{"host":"https://gpu","port":9}"#), all("https://gpu:8443"));
    let (api, proxy, _) = places(Flags { port: Some(7), ssh_proxy_port: Some(8), ..flag("https://gpu") }, &env, "{}");
    assert_eq!((api.as_str(), proxy.as_str()), ("https://gpu:7", "https://gpu:8"));
    let (api, ..) = places(flag("https://gpu:8443"), &[("KOHAKURIVER_PORT", "9")], "{}");
    assert_eq!(api, "https://gpu:8443");
    // With and without the port that https has, it is one Host.
    let (_, proxy, _) = places(flag("https://GPU:443"), &[], r#"{"host":"https://gpu","proxy":"door:9"}"#);
    assert_eq!(proxy, "http://door:9");
    let (api, proxy, _) = places(flag("http://gpu:8001"), &[], r#"{"proxy":"https://door"}"#);
    assert_eq!((api.as_str(), proxy.as_str()), ("http://gpu:8001", "https://door:443"));
}

#[test]
fn what_tls_trusts_goes_with_the_host() {
    let pin = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let file = format!(r#"{{"host":"https://gpu","ca_file":"~/ca.pem","pinned_key":"{pin}","client_cert":"/c"}}"#);
    let trust = |flags, file| resolve(flags, &[], file).unwrap().tls.trust();
    let own = Trust {
        ca_file: Some("~/ca.pem".into()),
        pins: pin.parse().ok(),
        client_cert: Some("/c".into()),
        client_key: None,
    };
    assert_eq!(trust(Flags::default(), &file), own);
    let other = Flags { host: Some("https://other".into()), ..Flags::default() };
    assert_eq!(trust(other.clone(), &file), Trust::default());
    let flags = Flags { trust: Trust { ca_file: Some("/flag".into()), ..Trust::default() }, ..other };
    assert_eq!(trust(flags, &file).ca_file, Some("/flag".into()));
    for (file, why) in [
        (r#"{"ca_file":"ca.pem"}"#, "the file of CAs is `ca.pem`, which is a relative path"),
        (r#"{"pinned_key":"x"}"#, "`pinned_key` in config.json is `x`"),
    ] {
        let text = resolve(Flags::default(), &[], file).unwrap_err().render("p");
        assert!(text.contains(why) && text.contains("hint: "), "{text}");
    }
}

#[test]
fn a_wrong_value_names_its_variable() {
    for (name, value) in [
        ("KOHAKURIVER_PORT", "x"),
        ("KOHAKURIVER_SSH_PROXY_PORT", "0"),
        ("KOHAKURIVER_HOST", "ftp://gpu-head:8000"),
        ("KOHAKURIVER_HOST", "gpu-head:8000"),
        ("KOHAKURIVER_HOST", "gpu head"),
        ("KOHAKURIVER_GATEWAY_ADMIN", "ftp://head"),
        ("KOHAKURIVER_GATEWAY_ADMIN", "unix:admin.sock"),
    ] {
        let failure = resolve(Flags::default(), &[(name, value)], "{}").unwrap_err();
        let text = failure.render("p");
        assert!(text.contains(name) && text.contains(value) && text.contains("\n  hint: "), "{text}");
    }
}
