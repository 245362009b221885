//! The variables that name the proxy on the way, beside the real curl: for each row, the proxy that curl asked and the one
//! that we would ask. curl reads networks in NO_PROXY from 7.86 on.

use std::ffi::OsString;
use std::io::Read;

use kohakuriver_proxy::settings::{Origin, Scheme, upstream_for};

use crate::support::home::Home;
use crate::support::peers::{Peer, RefusingPort};
use crate::support::run::Run;
use crate::support::tools::tool;

/// The variables, each with a proxy of its own.
const NAMES: [&str; 6] = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

type Env<'a> = &'a [(&'a str, &'a str)];

/// Proxies that record whether they were asked, and a port where nobody is.
struct Scene {
    proxies: [Peer; NAMES.len()],
    nowhere: RefusingPort,
    home: Home,
}

impl Scene {
    fn new() -> Self {
        let proxy = |_| {
            Peer::serve(|mut stream| {
                // It is asked already.
                let _ = stream.read(&mut [0; 1000]);
                Ok(())
            })
        };
        Self { proxies: NAMES.map(proxy), nowhere: RefusingPort::new(), home: Home::new() }
    }

    /// `PROXY` in the value of a variable stands for the address of its proxy.
    fn variables(&self, env: Env<'_>) -> Vec<(String, String)> {
        let value = |name: &str, value: &str| match NAMES.iter().position(|own| *own == name) {
            Some(number) => value.replace("PROXY", &self.proxies[number].address.to_string()),
            None => value.to_owned(),
        };
        env.iter().map(|(name, text)| ((*name).to_owned(), value(name, text))).collect()
    }

    fn curl(&self, env: Env<'_>, url: &str) -> Option<&'static str> {
        let before = self.proxies.each_ref().map(Peer::accepted);
        // Without a proxy, whatever the server's name is.
        let server = format!("::127.0.0.1:{}", self.nowhere.port);
        let run = Run::new(tool("curl"), &self.home).args(["-sS", "-m", "30", "--connect-to", &server, url]);
        let run = self.variables(env).into_iter().fold(run, |run, (name, value)| run.env(&name, value));
        let outcome = run.output();
        outcome.check(!outcome.status.success(), "a failure");
        let asked = |number: &usize| self.proxies[*number].accepted() > before[*number];
        (0..NAMES.len()).find(asked).map(|number| NAMES[number])
    }

    fn ours(&self, env: Env<'_>, url: &str) -> Option<&'static str> {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, port) = rest.rsplit_once(':').unwrap();
        let host = host.trim_matches(['[', ']']).to_owned();
        let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
        let origin = Origin { scheme, host, port: port.parse().unwrap() };
        let variables = self.variables(env);
        let look_up =
            |name: &str| variables.iter().find(|(own, _)| own == name).map(|(_, value)| OsString::from(value));
        let (proxy, name) = upstream_for(&origin, None, &look_up).unwrap()?;
        let number = NAMES.iter().position(|own| Some(*own) == name).unwrap();
        assert_eq!(proxy.authority(), self.proxies[number].address.to_string());
        name
    }
}

const HTTPS: &str = "https://gpu.example:443";
const HTTP: &str = "http://gpu.example:8002";

#[test]
fn the_proxy_is_the_one_that_curl_asks() {
    let scene = Scene::new();
    // Each with those before it empty.
    let from = |first: usize| -> Vec<_> {
        NAMES.into_iter().enumerate().map(|(number, name)| (name, if number < first { "" } else { "PROXY" })).collect()
    };
    // Without HTTP_PROXY as the first one.
    let of_order = [0, 1, 2, 4, 5, 6].into_iter().flat_map(|first| [HTTPS, HTTP].map(|url| (from(first), url)));
    let of_forms = [
        "http://PROXY",
        "HTTP://PROXY/",
        "http://alice:sekrit@PROXY",
        "https://PROXY",
        "socks5://PROXY",
        "socks5h://PROXY",
    ]
    .map(|value| (vec![("ALL_PROXY", value)], HTTPS));
    let others = [
        (vec![("HTTPS_PROXY", "PROXY")], HTTP),
        (vec![("http_proxy", "PROXY")], HTTPS),
        (vec![("http_proxy", "PROXY"), ("REQUEST_METHOD", "GET")], HTTP),
        (vec![("HTTP_PROXY", "PROXY"), ("REQUEST_METHOD", "GET")], HTTP),
        (vec![("HTTPS_PROXY", "PROXY"), ("NO_PROXY", "*"), ("no_proxy", "other")], HTTPS),
        (vec![("HTTPS_PROXY", "PROXY"), ("NO_PROXY", "other"), ("no_proxy", "*")], HTTPS),
        (vec![("HTTPS_PROXY", "PROXY"), ("NO_PROXY", "*"), ("no_proxy", "")], HTTPS),
    ];
    for (env, url) in of_order.chain(of_forms).chain(others) {
        assert_eq!(scene.ours(&env, url), scene.curl(&env, url), "{env:?} {url}");
    }
    // On purpose: curl never reads HTTP_PROXY, for the sake of CGI programs. Where there is no REQUEST_METHOD, we do.
    let env = [("HTTP_PROXY", "PROXY")];
    assert_eq!((scene.ours(&env, HTTP), scene.curl(&env, HTTP)), (Some("HTTP_PROXY"), None));
}

#[test]
fn no_proxy_names_what_it_names_for_curl() {
    let scene = Scene::new();
    let both = |list: &str, host: &str| {
        let env = [("HTTPS_PROXY", "PROXY"), ("NO_PROXY", list)];
        let url = format!("https://{host}:443");
        (scene.ours(&env, &url).is_none(), scene.curl(&env, &url).is_none())
    };
    let hosts = ["gpu.example", "GPU.Example.", "example", "xgpu.example", "gpu.example.org"];
    let addresses = ["10.0.0.1", "10.200.3.4", "[fd12::1]"];
    for list in [
        "",
        "*",
        "*,other",
        "*.example",
        "gpu.example",
        "GPU.example.",
        "example",
        ".example",
        ".example.",
        "ample",
        "other,gpu.example",
        "other gpu.example",
        "other , ,\tgpu.example",
        ",,.,",
        "10.0.0.1",
        "10.0.0",
        ".0.0.1",
        "10.0.0.1,example",
        "10.0.0.0/8",
        "10.0.0.0/9",
        "10.0.0.1/32",
        "10.0.0.1/33",
        "192.168.0.0/16",
        "fd12::1",
        "fe80::/10",
    ] {
        for host in hosts.into_iter().chain(addresses) {
            let (ours, curls) = both(list, host);
            assert_eq!(ours, curls, "`{list}` {host}");
        }
    }
    // On purpose: an entry may have a port, and this machine never has a proxy on the way.
    for (list, host) in [("gpu.example:443", "gpu.example"), ("other", "localhost"), ("other", "127.0.0.1")] {
        assert_eq!(both(list, host), (true, false), "`{list}` {host}");
    }
    // Also on purpose. What curl says depends on its version: 7.88 compares addresses of IPv6 as texts, takes no bits for
    // all bits, and an asterisk for all only without blanks.
    for (list, host) in [
        ("[fd12::1]", "[fd12::1]"),
        ("FD12:0::1", "[fd12::1]"),
        ("fd00::/8", "[fd12::1]"),
        ("0.0.0.0/0", "10.0.0.1"),
        (" * ", "gpu.example"),
    ] {
        assert!(both(list, host).0, "`{list}` {host}");
    }
}
