//! Which settings are in force, and where they came from.

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use crate::settings::{Settings, Source};
use crate::ssh::quote::shell_word;

pub(super) const CHECKS: &[Check] = &[Check { name: "settings", of_vps: false, examine: settings }];

fn settings(case: &mut Case) -> (String, Verdict) {
    let tried = match case.config_file() {
        Some(file) => format!("flags, environment and {}", file.display()),
        None => "flags and environment (there is no config.json)".to_owned(),
    };
    let verdict = match Settings::load(case.flags.clone()) {
        Ok(settings) => {
            let text = describe(&settings);
            case.settings = Some(settings);
            Verdict::Fine(text)
        }
        Err(failure) => {
            let said = failure.render("");
            // Whatever is wrong, taking it away leaves the next best value in force.
            let variable =
                said.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).find(|w| w.starts_with("KOHAKURIVER_"));
            let command = match (variable, case.config_file()) {
                (Some(variable), _) => format!("unset {variable}"),
                (None, Some(file)) if said.contains("config.json") => {
                    let file = shell_word(file.as_os_str()).to_string_lossy().into_owned();
                    format!("mv {file} {file}.broken")
                }
                // It is a flag, so without any.
                (None, _) => format!("kohakuriver doctor {}", case.vps_name()).trim_end().to_owned(),
            };
            let mut verdict = Verdict::wrong(&failure, command.clone());
            if let Verdict::Wrong(wrong) = &mut verdict {
                wrong.command = command;
            }
            verdict
        }
    };
    (tried, verdict)
}

fn describe(settings: &Settings) -> String {
    let from = |source: &Source| match source {
        Source::Default => "by default".to_owned(),
        source => format!("from {source}"),
    };
    let mut text = format!(
        "Host {} ({}), API port {} ({}), SSH proxy port {} ({})",
        settings.host.value,
        from(&settings.host.source),
        settings.port.value,
        from(&settings.port.source),
        settings.ssh_proxy_port.value,
        from(&settings.ssh_proxy_port.source)
    );
    if let Some(proxy) = &settings.proxy {
        text += &format!(", SSH proxy {} ({})", proxy.value, from(&proxy.source));
    }
    text
}
