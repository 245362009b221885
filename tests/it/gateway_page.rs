//! The gateway's page in a real browser: what it shows while ssh sessions come and go, and what a person can do there.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::browser::{Browser, ENTER, ESCAPE, Shared, TAB};
use crate::support::gateway::{Gateway, NODE, inventory, name_of, running};
use crate::support::home::Home;
use crate::support::host_api::{OWNER, STRANGER, host_api};
use crate::support::peers::lasting_echo_server;
use crate::support::run::DEADLINE;
use crate::support::scene::{ID, Mode, helper_command};
use crate::support::sshd::Sshd;
use crate::support::tools::HELPER;
use crate::support::tunnels::{echo_tunnel, echoes};
use crate::support::watched::{ADMIN_TOKEN, DELETE, Watched, YES, ask, connect, tunnel};

/// A name that would be a script in HTML that is not escaped.
const SCRIPT: &str = "<script>alert(1)</script>\"'&\u{202e}x";
const OTHER: &str = "42";

fn base(gateway: &Gateway) -> String {
    format!("http://{}/", gateway.admin)
}

/// The page, once it hears of changes.
fn live(browser: &Browser, base: &str) {
    browser.open(base);
    browser.awaits("document.getElementById('live').textContent === 'Live'");
}

fn rows_are(browser: &Browser, count: usize) {
    browser.awaits(&format!("document.querySelectorAll('#rows .end').length === {count}"));
}

/// The texts of the first tunnel, by their column.
fn first_row(browser: &Browser) -> Value {
    let cell = "(cell) => [cell.dataset.label, [cell.querySelector('bdi').textContent, cell.querySelector('small').textContent]]";
    browser.value(&format!(
        "Object.fromEntries([...document.querySelectorAll('#rows tr:first-child td[data-label]')].map({cell}))"
    ))
}

#[test]
fn real_ssh_sessions_come_and_go() {
    let browser = Shared::browser();
    let browser = browser.take();
    let sshd = Sshd::start();
    let api = host_api(vec![running(ID, sshd.port)]);
    let gateway = Gateway::with_host_api(&format!("http://{}", api.address));
    let base = base(&gateway);
    live(&browser, &base);
    browser.awaits("document.getElementById('rows').textContent === 'No tunnel is open.'");
    browser.awaits("document.getElementById('state').textContent.includes('reachable')");

    let home = Home::new();
    let helper = helper_command(HELPER, Mode::Stdio, gateway.address);
    let ssh = |token: &str, command: &str| {
        let run = sshd.ssh(&home, &helper, Mode::Stdio);
        run.env("KOHAKURIVER_TOKEN", token).args([&format!("{ID}.kohakuriver"), command]).stdin_open()
    };
    let mut session = ssh(OWNER, "head -c 100000 /dev/zero | tr '\\0' x; cat").start();
    session.wait_for("what the session says", DEADLINE, |seen| (seen.stdout.len() >= 100_000).then_some(()));
    rows_are(&browser, 1);
    let row = first_row(&browser);
    assert_eq!(
        (&row["User"][0], &row["VPS"], &row["Runner"][0]),
        (&json!("owner1"), &json!([name_of(ID), ID]), &json!(NODE)),
        "{row}"
    );
    assert!(row["Client"][0].as_str().unwrap().starts_with("127.0.0.1:") && row["Client"][1] == "tcp", "{row}");
    browser
        .awaits("/^(9[89]|1\\d\\d) KiB$/.test(document.querySelector('#rows td[data-label=Down] small').textContent)");
    browser.awaits("document.getElementById('card-tunnels').textContent.startsWith('1')");
    assert_eq!(browser.text("#count"), "1 open");

    ssh(STRANGER, "true").stdin("").output().exits(255);
    browser.awaits("document.querySelector('#refusals tr td:nth-child(3)')?.textContent === 'stranger1'");
    assert!(browser.text("#refusals").contains("not-allowed"), "{}", browser.text("#refusals"));
    browser.awaits("document.getElementById('card-refused').textContent === '11 not-allowed'");

    // A window of ten seconds has ended since the gateway's start: each chart has a point, and words for it.
    browser.awaits("document.querySelectorAll('svg.chart[role=img]').length === 6");
    browser.awaits(
        "/^Open tunnels, last \\d+ minutes: at most 1, last 1$/.test(document.querySelector('svg.chart').ariaLabel)",
    );
    drop(session.stdin.take());
    session.finish().succeeds();
    browser.awaits("document.getElementById('rows').textContent === 'No tunnel is open.'");
    browser.had_no_fault_and_asked_only(&base);
    browser.is_accessible();
}

#[test]
fn a_tunnel_is_ended_by_keyboard_with_the_right_token_only() {
    let browser = Shared::browser();
    let browser = browser.take();
    let scene = Watched::new(&[]);
    let mut tunnels: Vec<_> = (0..3).map(|_| echo_tunnel(scene.gateway.address, ID).unwrap()).collect();
    live(&browser, &base(&scene.gateway));
    rows_are(&browser, 3);
    let is_open = "document.getElementById('end').open";
    let on_button = "document.activeElement.className === 'end'";
    let error_is = |text: &str| {
        browser.awaits(&format!("document.getElementById('end-error').textContent.includes({})", json!(text)))
    };

    // From the start of the page to the first row, which is the newest tunnel.
    let mut tabs = 0;
    while browser.value(on_button) != json!(true) {
        browser.types([TAB]);
        tabs += 1;
        assert!(tabs < 25, "Tab does not reach a button of a row");
    }
    browser.types([ENTER]);
    browser.awaits(is_open);
    let client = tunnels[2].local_addr().unwrap().to_string();
    let asked = browser.text("#end dl");
    assert!(asked.contains(&name_of(ID)) && asked.contains(ID) && asked.contains(&client), "{asked}");
    browser.is_accessible();
    browser.types([ESCAPE]);
    browser.awaits(&format!("!{is_open} && {on_button}"));

    browser.types([ENTER, ENTER]);
    error_is("Ending a tunnel takes the token.");
    browser.types("not the token".chars().chain([ENTER]));
    error_is("401: the token is not the one in the gateway's --admin-token-file");
    browser.types("złe".chars().chain([ENTER]));
    error_is("This is no token");
    tunnels.iter_mut().for_each(|tunnel| echoes(tunnel).unwrap());
    browser.clicks("#end input");
    browser.value("document.querySelector('#end input').select()");
    browser.types(ADMIN_TOKEN.chars().chain([ENTER]));
    browser.awaits(&format!("!{is_open} && document.getElementById('said').textContent.includes('is ended')"));
    rows_are(&browser, 2);
    assert!(echoes(&mut tunnels[2]).is_err() && echoes(&mut tunnels[1]).is_ok());

    // The page knows the token by now, and keeps it nowhere.
    browser.clicks("#rows tr:first-child .end");
    assert_eq!(browser.value("document.getElementById('end-secret').hidden"), true);
    let kept = "location.href + document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }) + document.documentElement.outerHTML + [...document.querySelectorAll('input')].map((input) => input.value)";
    assert!(!browser.value(kept).as_str().unwrap().contains(ADMIN_TOKEN), "the token is kept");
    // Somebody else has ended it meanwhile.
    scene.curl("/sessions/2", &[&["-o", "/dev/null", "-w", "%{http_code}"], &DELETE[..]].concat()).prints("204");
    browser.clicks("#end .danger");
    error_is("404: there is no such session");
    browser.types([ESCAPE]);
    rows_are(&browser, 1);

    // Where nobody may, the page says what it takes.
    let other = Gateway::before(scene.vps.address.port());
    let _tunnel = echo_tunnel(other.address, ID).unwrap();
    live(&browser, &base(&other));
    browser.clicks("#rows .end");
    assert!(browser.text("#end-off").contains("--admin-token-file"));
    assert_eq!(
        browser.value("[...document.querySelectorAll('#end [hidden]')].map((hidden) => hidden.id || hidden.className)"),
        json!(["end-secret", "danger"])
    );
}

#[test]
fn a_thousand_tunnels_and_names_that_would_be_scripts() {
    let browser = Shared::browser();
    let browser = browser.take();
    let vps = lasting_echo_server();
    let odd = json!({ "task_id": OTHER, "name": SCRIPT, "status": "running", "assigned_node": NODE, "ssh_port": vps.address.port() });
    let gateway = Gateway::with_inventory(&inventory(&[running(ID, vps.address.port()), odd]));
    let base = base(&gateway);
    let mut tunnels = vec![echo_tunnel(gateway.address, OTHER).unwrap()];
    let more = (1..1000).map(|_| tunnel(&gateway, &connect(&format!("{ID}:22")), YES));
    tunnels.extend(more);

    let refused = ask(&gateway, connect("<svg/onload=alert(1)>:22"));
    assert!(refused.starts_with("HTTP/1.1 40"), "{refused}");
    let is_text = |browser: &Browser| {
        assert!(browser.text("#refusals").contains("<svg/onload=alert(1)>"), "{}", browser.text("#refusals"));
        assert_eq!(browser.value("document.querySelectorAll('#refusals svg').length"), 0);
    };

    // Without JavaScript first: a table, and what is not in it.
    browser.tell("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    for width in [360, 1280] {
        browser.looks(width, "light");
        browser.open(&base);
        assert_eq!(browser.value("document.querySelectorAll('#rows tr').length"), 300);
        assert!(browser.text("#more").starts_with("700 more are in sessions"), "{}", browser.text("#more"));
        assert!(
            browser
                .value("document.body.innerText")
                .as_str()
                .unwrap()
                .contains("Without JavaScript it doesn't refresh by itself")
        );
        assert!(browser.text("#limits").contains("tunnels") && browser.text("#state").contains("inventory"));
        assert!(
            browser.value("document.documentElement.scrollWidth").as_u64().unwrap() <= width.into(),
            "it is too wide"
        );
        assert_eq!(browser.value("document.querySelectorAll('.end, svg.chart').length"), 0);
        is_text(&browser);
    }
    browser.tell("Emulation.setScriptExecutionDisabled", json!({ "value": false }));

    live(&browser, &base);
    browser.awaits("document.getElementById('count').textContent === '1,000 open'");
    rows_are(&browser, 300);
    is_text(&browser);
    assert_eq!(browser.text("#more"), "700 more: filter to see them.");
    // The oldest tunnel is not among the rows, and the filter finds it.
    assert!(!browser.text("#rows").contains("alert(1)"));
    let filter = "(() => { const begun = performance.now(); const input = document.querySelector('#filter input'); \
                  input.value = '<SCRIPT>alert'; input.dispatchEvent(new Event('input')); return performance.now() - begun })()";
    let took = browser.value(filter).as_f64().unwrap();
    assert!(took < 1000.0, "filtering takes {took} ms");
    rows_are(&browser, 1);
    assert_eq!(browser.text("#count"), "1 of 1,000 open");
    // A mark that nobody sees is written out.
    let shown = SCRIPT.replace('\u{202e}', "\\u{202e}");
    assert_eq!(first_row(&browser)["VPS"], json!([shown, OTHER]));
    browser.clicks("#rows .end");
    assert_eq!(browser.text("#end-vps"), format!("{shown} ({OTHER})"));
    browser.types([ESCAPE]);
    assert_eq!(browser.value("document.scripts.length"), 1);
    browser.value("(() => { const input = document.querySelector('#filter input'); input.value = ''; input.dispatchEvent(new Event('input')) })()");
    // Sorting: the first click on a name sorts upwards.
    browser.clicks("[data-sort=name] button");
    assert_eq!(browser.value("document.querySelector('[data-sort=name]').ariaSort"), "ascending");
    assert_eq!(first_row(&browser)["VPS"][1], OTHER);

    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.looks(360, scheme);
        assert!(browser.value("document.documentElement.scrollWidth").as_u64().unwrap() <= 360, "it is too wide");
        grounds.push(browser.value("getComputedStyle(document.body).backgroundColor"));
        browser.looks(1280, scheme);
        // Three hundred rows of one kind take axe-core long.
        browser.value("(() => { const input = document.querySelector('#filter input'); input.value = '<script>'; input.dispatchEvent(new Event('input')) })()");
        rows_are(&browser, 1);
        browser.is_accessible();
    }
    assert_ne!(grounds[0], grounds[1]);
    browser.had_no_fault_and_asked_only(&base);
}

fn streams(scene: &Watched) -> u64 {
    let status: Value = serde_json::from_str(&scene.curl("/status", &[]).text()).unwrap();
    let limits = status["limits"].as_array().unwrap();
    limits.iter().find(|limit| limit["limit"] == "page-streams").unwrap()["used"].as_u64().unwrap()
}

/// A browser opens six connections to a server, and a stream of events keeps one.
#[test]
fn many_windows_of_one_browser_share_a_stream() {
    let browser = Shared::browser();
    let browser = browser.take();
    let scene = Watched::new(&[]);
    let base = base(&scene.gateway);
    live(&browser, &base);
    let windows: Vec<_> = (0..8).map(|_| browser.opens_beside(&base)).collect();
    let tunnel = echo_tunnel(scene.gateway.address, ID).unwrap();
    for window in &windows {
        browser.in_window(window, |browser| rows_are(browser, 1));
    }
    rows_are(&browser, 1);
    // A stream that was closed is noticed within a second.
    let end = Instant::now() + DEADLINE;
    while streams(&scene) != 1 {
        assert!(Instant::now() < end, "there are {} streams", streams(&scene));
    }
    // The others go on when the one that has the stream closes.
    for window in &windows {
        browser.closes(window);
    }
    drop(tunnel);
    browser.awaits("document.getElementById('rows').textContent === 'No tunnel is open.'");
}

#[test]
fn the_tunnels_of_all_gateways_are_shown_and_ended() {
    let browser = Shared::browser();
    let browser = browser.take();
    let (home, vps) = (Home::new(), lasting_echo_server());
    let token = home.secret("token", ADMIN_TOKEN);
    let inventory = inventory(&[running(ID, vps.address.port())]);
    let gateway = |name: &str, more: &[&str]| {
        let options = ["--gateway-name", name, "--admin-token-file", token.to_str().unwrap()];
        Gateway::with_inventory_and(&inventory, &[&options[..], more].concat())
    };
    let second = gateway("gw2", &[]);
    let first = gateway("gw1", &["--peers", &second.address.to_string()]);
    let mut tunnels = [&first, &second].map(|gateway| echo_tunnel(gateway.address, ID).unwrap());
    live(&browser, &base(&first));
    rows_are(&browser, 2);
    let gateways =
        "[...document.querySelectorAll('#rows td[data-label=Gateway]')].map((cell) => cell.textContent).sort().join()";
    assert_eq!(browser.value(gateways), "gw1,gw2");
    assert_eq!(browser.value("document.getElementById('gateway-column').hidden"), false);
    // Both have the number 1.
    browser.value("[...document.querySelectorAll('#rows tr')].find((row) => row.textContent.includes('gw2')).querySelector('.end').click()");
    browser.types(ADMIN_TOKEN.chars().chain([ENTER]));
    rows_are(&browser, 1);
    assert_eq!(browser.value(gateways), "gw1");
    assert!(echoes(&mut tunnels[1]).is_err() && echoes(&mut tunnels[0]).is_ok());
    drop(second);
    browser.awaits("/sessions are missing.*Connection refused/.test(document.getElementById('state').textContent)");
}
