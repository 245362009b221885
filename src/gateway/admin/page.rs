//! The page for people. It is complete without JavaScript; its script only keeps it up to date, sorts, filters, and ends
//! tunnels.
//!
//! The small parts ([`parts`]) are written here alone: the script puts them in as they are. All text from outside goes through
//! [`Text`].

use std::cmp::Reverse;
use std::fmt::{self, Write};

use serde_json::{Map, Value, json};

use crate::gateway::admin::host_api::HostApi;
use crate::gateway::admin::status::{Limit, Row, Status, object};
use crate::gateway::watch::refusals::Listed;
use crate::text::printable;

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const STYLE: &str = include_str!("page/page.css");
pub(super) const SCRIPT: &str = include_str!("page/page.js");
const PAGE: &str = include_str!("page/index.html");

/// Most tunnels on the page at once. The script looks through all of them.
const MOST_ROWS: usize = 300;
/// The days before the end of a certificate in which the page warns.
const END_IS_NEAR: i64 = 14;
/// The part of a limit from which it is nearly met, and the part from which it is high, in percent.
const NEARLY_MET: u64 = 90;
const HIGH: u64 = 75;

/// All that the page shows of the state, except the tunnels.
pub(super) fn shown(status: &Status) -> Map<String, Value> {
    let parts = object(parts(status).into_iter().map(|(id, html)| (id.to_owned(), html.into())));
    let shown = [
        ("time", json!(status.time)),
        ("ending_takes", json!(status.ending_takes)),
        ("has_gateways", json!(status.gateways.len() > 1)),
        ("history", json!(status.history)),
        ("most_rows", json!(MOST_ROWS)),
        ("parts", parts.into()),
    ];
    object(shown.into_iter().map(|(name, value)| (name.to_owned(), value)))
}

/// The whole page.
pub(super) fn html(status: &Status) -> String {
    let count = status.sessions.len();
    let has_gateways = status.gateways.len() > 1;
    let rows = match count {
        0 => EMPTY.to_owned(),
        _ => status.sessions.iter().rev().take(MOST_ROWS).map(|row| tunnel(row, has_gateways)).collect(),
    };
    let more = match count.saturating_sub(MOST_ROWS) {
        0 => String::new(),
        more => format!("{} more are in <a href=\"sessions\">sessions</a>.", grouped(more as u64)),
    };
    let mut parts = parts(status);
    parts.extend([
        ("gateway", Text(&status.gateway).to_string()),
        ("time", time(&status.time)),
        ("count", if count == 0 { String::new() } else { format!("{} open", grouped(count as u64)) }),
        ("no-gateways", if has_gateways { "" } else { " hidden" }.to_owned()),
        ("rows", rows),
        ("more", more),
    ]);
    filled(PAGE, &parts)
}

/// `template` with each `{name}` replaced once. What is put in is not looked at again.
fn filled(template: &str, parts: &[(&'static str, String)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        page += before;
        let name = after.split_once('}').map(|(name, _)| name);
        match parts.iter().find(|(part, _)| Some(*part) == name) {
            Some((name, html)) => {
                page += html;
                rest = &after[name.len() + 1..];
            }
            None => {
                page.push('{');
                rest = after;
            }
        }
    }
    page + rest
}

const EMPTY: &str = "<tr role=\"row\"><td role=\"cell\" class=\"empty\" colspan=\"10\">No tunnel is open.</td></tr>";

/// The parts of the page by the id of their element.
fn parts(status: &Status) -> Vec<(&'static str, String)> {
    let hour = &status.hour;
    let ago = match hour.seconds {
        3600.. => "in the last hour".to_owned(),
        120.. => format!("in the last {} min", hour.seconds / 60),
        _ => "since the start".to_owned(),
    };
    let refused: u64 = hour.refused.values().sum();
    let mut reasons: Vec<_> = hour.refused.iter().collect();
    let mut named = Vec::new();
    while named.len() < 3
        && let Some(at) = (0..reasons.len()).max_by_key(|&at| (reasons[at].1, Reverse(at)))
    {
        let (reason, count) = reasons.remove(at);
        named.push(format!("{} {reason}", grouped(*count)));
    }
    if !reasons.is_empty() {
        named.push("…".to_owned());
    }
    let parked = match status.tunnels.parked {
        0 => String::new(),
        parked => format!(", {} parked", grouped(parked)),
    };
    let tunnels = format!("most {} {ago}{parked}", grouped(hour.most_tunnels.max(status.tunnels.open) as u64));
    let rate = |per_second: Option<u64>| per_second.map_or_else(|| "–".to_owned(), |bytes| size(bytes) + "/s");
    let traffic = format!(
        "<p class=\"big pair\"><span class=\"down\">↓ {}</span> <span class=\"up\">↑ {}</span></p>\
         <p class=\"detail\">{} down, {} up {ago}</p>",
        rate(status.tunnels.bytes_down_per_second),
        rate(status.tunnels.bytes_up_per_second),
        size(hour.bytes_down),
        size(hour.bytes_up),
    );
    let asked = if status.host_api.address.is_some() { "no look-up yet" } else { "an inventory takes none" };
    let setup = times(hour.setup_milliseconds, hour.setup_p95_milliseconds, "no set-up yet");
    let lookup = times(hour.lookup_milliseconds, hour.lookup_p95_milliseconds, asked);
    vec![
        ("card-tunnels", card(&grouped(status.tunnels.open as u64), &tunnels)),
        ("card-opened", card(&grouped(hour.opened), &ago)),
        ("card-refused", card(&grouped(refused), &if refused == 0 { ago } else { named.join(", ") })),
        ("card-traffic", traffic),
        ("card-setup", setup),
        ("card-lookup", lookup),
        ("limits", status.limits.iter().map(limit).collect()),
        ("state", state(status)),
        ("refusals", refusals(status)),
    ]
}

fn card(number: &str, detail: &str) -> String {
    format!("<p class=\"big\">{number}</p><p class=\"detail\">{detail}</p>")
}

/// The card of durations, in milliseconds: their mean, and what 95 of 100 don't exceed.
fn times(mean: Option<f64>, nearly_all: Option<f64>, none: &str) -> String {
    let Some(mean) = mean else { return card("–", none) };
    let nearly_all = match nearly_all {
        Some(most) => format!("95 % within {}", duration(most)),
        None => "many take over 15 s".to_owned(),
    };
    card(&format!("{} <small>mean</small>", duration(mean)), &nearly_all)
}

fn limit(limit: &Limit) -> String {
    let in_bytes = limit.limit.ends_with("bytes");
    let number = |value: Option<u64>| match value {
        Some(value) if in_bytes => size(value),
        Some(value) => grouped(value),
        None => "<span class=\"none\">–</span>".to_owned(),
    };
    let meter = match limit.used {
        Some(used) => {
            let share = (u128::from(used) * 100 / u128::from(limit.most.max(1))).min(100);
            format!(
                "<meter min=\"0\" max=\"100\" low=\"{HIGH}\" high=\"{NEARLY_MET}\" optimum=\"0\" value=\"{share}\" \
                 aria-label=\"{}\">{share} %</meter>",
                limit.limit
            )
        }
        None => String::new(),
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td>{meter}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{}</td></tr>",
        limit.limit,
        number(limit.used),
        number(Some(limit.most)),
        limit.met.map_or_else(|| number(None), grouped),
    )
}

/// The pairs of a list of descriptions.
fn state(status: &Status) -> String {
    let mut html = String::new();
    let mut row = |name: &str, value: &str| html += &format!("<dt>{name}</dt><dd>{value}</dd>");
    row("Host API", &host_api(&status.host_api));
    for certificate in &status.certificates {
        let days = certificate.days;
        let (class, left) = match days {
            ..0 => ("bad", "has ended".to_owned()),
            0..=END_IS_NEAR => ("warn", format!("ends in {days} days")),
            _ => ("good", format!("{days} days left")),
        };
        let file = Text(&certificate.file);
        row(
            "Certificate",
            &format!(
                "<span class=\"dot {class}\">{left}</span><small>{file}, until {}</small>",
                time(&certificate.until)
            ),
        );
    }
    for gateway in status.gateways.iter().filter(|_| status.gateways.len() > 1) {
        let (class, word) = if gateway.error.is_some() { ("bad", "sessions are missing") } else { ("good", "answers") };
        let why = gateway.error.as_deref().unwrap_or_default();
        let name = Text(&gateway.name);
        let shown =
            format!("<span class=\"dot {class}\">{word}</span><small>{name}, {} tunnels</small>", gateway.sessions);
        row("Gateway", &format!("{shown}<small>{}</small>", Text(why)));
    }
    let previous = match &status.previous_processes[..] {
        [] => "none".to_owned(),
        processes => {
            let tunnels: u64 = processes.iter().map(|process| process.tunnels).sum();
            format!("{}, with {tunnels} tunnels", processes.len())
        }
    };
    row("Parked tunnels", &grouped(status.tunnels.parked));
    row("Requests in progress", &grouped(status.tunnels.handshakes));
    row("Older processes", &previous);
    let ending = match status.ending_takes {
        Some("nothing") => "everyone who may open the socket",
        Some(_) => "whoever has the admin's token",
        None => "nobody: there is no <code>--admin-token-file</code>",
    };
    row("Ending tunnels", ending);
    let runs = format!("{} <small>process {}, since {}</small>", status.version, status.process, time(&status.started));
    row("Version", &runs);
    html
}

fn host_api(host: &HostApi) -> String {
    let Some(address) = &host.address else { return "none: the VPSes are those of an inventory".to_owned() };
    let (class, word) = match host.reachable {
        Some(true) => ("good", "reachable"),
        Some(false) => ("bad", "not reachable"),
        None => ("warn", "it has not answered yet"),
    };
    let mut html = format!("<span class=\"dot {class}\">{word}</span><small>{}</small>", Text(address));
    if let Some(why) = &host.why {
        html += &format!("<small>{}</small>", Text(why));
    }
    if let Some(answered) = &host.answered {
        html += &format!("<small>last answer {}</small>", time(answered));
    }
    html
}

fn refusals(status: &Status) -> String {
    if status.refusals.is_empty() {
        return EMPTY.replace("No tunnel is open.", "Nobody was refused.");
    }
    let row = |Listed { time: at, count, shown }: &Listed| {
        let repeated = if *count > 1 { format!("{} times", grouped(*count)) } else { String::new() };
        let cells = [
            format!("<td role=\"cell\" data-label=\"Time\"><span>{}<small>{repeated}</small></span></td>", time(at)),
            cell("Reason", "", Some(shown.reason), ""),
            cell("User", "", shown.user.as_deref(), ""),
            cell("Client", "", Some(&shown.client), shown.transport),
            cell("Asked for", "", shown.target.as_deref(), ""),
            cell("Detail", "", shown.detail.as_deref(), ""),
        ];
        format!("<tr role=\"row\">{}</tr>", cells.concat())
    };
    status.refusals.iter().map(row).collect()
}

/// A cell with a text, and a smaller one below it.
fn cell(label: &str, classes: &str, text: Option<&str>, small: &str) -> String {
    format!(
        "<td role=\"cell\" class=\"{classes}\" data-label=\"{label}\"><span><bdi>{}</bdi><small>{}</small></span></td>",
        Text(text.unwrap_or("–")),
        Text(small),
    )
}

/// The row of a tunnel. The script writes the same, and a button that ends it.
fn tunnel(row: &Row, has_gateways: bool) -> String {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let number = |name: &str| row.get(name).and_then(Value::as_u64);
    let (id, name) = (text("task_id"), text("name"));
    let rate = |name: &str| number(name).map(|bytes| size(bytes) + "/s");
    let total = |name: &str| size(number(name).unwrap_or_default());
    let opened = text("opened").unwrap_or_default();
    let state = number("parked_seconds").map_or_else(|| "open".to_owned(), |away| format!("parked for {}", age(away)));
    let moved = number("moves").filter(|moves| *moves > 0).map_or_else(String::new, |moves| format!("moved {moves}×"));
    let mut cells = vec![
        cell("User", "", text("user"), ""),
        cell("VPS", "", name.or(id), id.filter(|_| name.is_some()).unwrap_or_default()),
        cell("Runner", "", text("node"), ""),
        cell("Client", "", text("client"), text("transport").unwrap_or_default()),
        format!(
            "<td role=\"cell\" data-label=\"Since\"><span>{}<small>{}</small></span></td>",
            age(number("seconds").unwrap_or_default()),
            time(opened)
        ),
        cell("Up", "number", rate("bytes_up_per_second").as_deref(), &total("bytes_up")),
        cell("Down", "number", rate("bytes_down_per_second").as_deref(), &total("bytes_down")),
        cell("State", "", Some(&state), &moved),
    ];
    if has_gateways {
        cells.push(cell("Gateway", "", text("gateway"), ""));
    }
    format!("<tr role=\"row\">{}</tr>", cells.concat())
}

/// Text from outside in HTML: in an element, or in quotes.
struct Text<'t>(&'t str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in printable(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A time in RFC 3339, for people.
fn time(rfc3339: &str) -> String {
    let seconds = rfc3339.get(..19).unwrap_or(rfc3339).replace('T', " ");
    format!("<time datetime=\"{}\">{} UTC</time>", Text(rfc3339), Text(&seconds))
}

/// A length of time in its two largest units.
fn age(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, ..) => format!("{d} d {h} h"),
    }
}

/// Milliseconds, for people.
fn duration(milliseconds: f64) -> String {
    match milliseconds {
        ..10.0 => format!("{milliseconds:.1} ms"),
        ..1000.0 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.1} s", milliseconds / 1000.0),
    }
}

/// Bytes, for people.
fn size(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 999.5 && unit < 5 {
        size /= 1024.0;
        unit += 1;
    }
    let name = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit];
    if unit == 0 || size >= 9.95 { format!("{size:.0} {name}") } else { format!("{size:.1} {name}") }
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_text() {
        let text = "<script>alert(\"1\")</script>'&amp;\u{202e}\u{200b}\u{1b}[2J";
        let shown = Text(text).to_string();
        assert_eq!(shown, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;amp;[2J");
        let page = filled("{a}{b} {c} { }", &[("a", "{b}".to_owned()), ("b", "2".to_owned())]);
        assert_eq!(page, "{b}2 {c} { }", "what is put in is not looked at again");
    }

    #[test]
    fn numbers_for_people() {
        let sizes = [0, 999, 1000, 10_137, 10_240, 1_048_575, 1 << 40, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 KiB", "9.9 KiB", "10 KiB", "1.0 MiB", "1.0 TiB", "16384 PiB"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 61, 3600, 90_000].map(age), ["0 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]);
        assert_eq!([0.25, 12.4, 1500.0].map(duration), ["0.2 ms", "12 ms", "1.5 s"]);
    }
}
