//! `kohakuriver completions` in real shells at a terminal, and `kohakuriver man`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::home::Home;
use crate::support::life_host::{LifeHost, vps};
use crate::support::run::{Outcome, Run};
use crate::support::scene::ID;
use crate::support::terminal::Terminal;
use crate::support::tools::{CLI, GATEWAY, HELPER, sh_quote, tool};

/// The programs that have completions.
const PROGRAMS: [&str; 3] = ["kohakuriver", "kohakuriver-proxy", "kohakuriver-gateway"];

/// A shell at a terminal that has loaded our scripts.
fn shell(name: &str, home: &Home, host: &LifeHost) -> Terminal {
    let scripts = PROGRAMS.map(|program| {
        let script = Run::new(CLI, home).args(["completions", name, program]).output();
        script.succeeds().says_nothing();
        (program, script.text())
    });
    let folder = home.join("bin");
    if !folder.exists() {
        fs::create_dir(&folder).unwrap();
        for (name, program) in PROGRAMS.into_iter().zip([CLI, HELPER, GATEWAY]) {
            std::os::unix::fs::symlink(program, folder.join(name)).unwrap();
        }
    }
    let ready = "echo re''ady";
    let command = match name {
        "bash" => {
            let rc = home.write(
                "bashrc",
                format!(
                    "{}\nPS1='> '\nbind 'set enable-bracketed-paste off'\n{ready}\n",
                    scripts.map(|(_, script)| script).join("\n")
                ),
            );
            format!("{} --noprofile --rcfile {} -i", tool("bash").display(), sh_quote(&rc.display().to_string()))
        }
        "zsh" => {
            for (program, script) in scripts {
                home.write(&format!("zsh/functions/_{program}"), script);
            }
            home.write(
                "zsh/.zshrc",
                format!(
                    "fpath=($ZDOTDIR/functions $fpath)\nautoload -U compinit\ncompinit -u -D\nPS1='> '\n\
                     unset zle_bracketed_paste\n{ready}\n"
                ),
            );
            format!("ZDOTDIR={} {} -i", sh_quote(&home.join("zsh").display().to_string()), tool("zsh").display())
        }
        _ => {
            // If the folder is missing, fish fills it from all manual pages, in a process that outlives it.
            fs::create_dir_all(home.join(".local/share/fish/generated_completions")).unwrap();
            for (program, script) in scripts {
                home.write(&format!(".config/fish/completions/{program}.fish"), script);
            }
            home.write(
                ".config/fish/config.fish",
                format!("set fish_greeting\nfunction fish_prompt; echo -n '> '; end\n{ready}\n"),
            );
            format!("{} -i", tool("fish").display())
        }
    };
    let run = Run::new(tool("script"), home)
        .first_on_path(&folder)
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8")
        .on_host(host.peer.address.port())
        .args(["-q", "-E", "always", "-c", &format!("stty cols 120 rows 40; {command}"), "/dev/null"]);
    let mut shell = Terminal::start(run);
    shell.sees("ready");
    shell.sees("> ");
    shell
}

#[test]
fn each_shell_completes_commands_options_and_vpses_without_asking_the_host() {
    for name in ["bash", "zsh", "fish"] {
        let home = Home::new();
        let host = LifeHost::with(vps("running", "docker", 22022));
        host.run(&home, &["vps", "list"]).output().succeeds();
        let mut shell = shell(name, &home, &host);
        host.change(|state| state.requests.clear());
        // A command, a name and an option.
        shell.types("kohakuriver vps stat\ttr\t--js\t\r");
        shell.sees(&format!("\"task_id\": \"{ID}\""));
        let asked: Vec<String> =
            host.change(|state| std::mem::take(&mut state.requests).into_iter().map(|request| request.path).collect());
        let command_asks = ["/api/vps", &format!("/api/status/{ID}"), "/api/nodes"];
        assert_eq!(asked, command_asks, "{name}: the command alone asked");
        // An id.
        shell.types("kohakuriver ssh forget 73\t\r");
        shell.sees(&format!("there is no stored host key of VPS {ID}"));
        assert!(host.change(|state| state.requests.is_empty()), "{name} asked the Host");
        shell.types("exit\r");
        shell.finish();
    }
}

#[test]
fn each_shell_completes_the_options_of_the_other_programs() {
    let home = Home::new();
    let host = LifeHost::with(vps("running", "docker", 22022));
    for name in ["bash", "zsh", "fish"] {
        let mut shell = shell(name, &home, &host);
        shell.types("kohakuriver-gateway aud\t--cs\t\x01printf '[%s]' \r");
        shell.sees("[kohakuriver-gateway][audit][--csv]");
        shell.types("kohakuriver-proxy --no-res\t\x01printf '[%s]' \r");
        shell.sees("[kohakuriver-proxy][--no-resume]");
        shell.types("exit\r");
        shell.finish();
    }
    let unknown = Run::new(CLI, &home).args(["completions", "bash", "kohakuriver-gate"]).output();
    unknown.exits(2).prints_nothing().says(&["kohakuriver-gate", "kohakuriver-proxy", "kohakuriver-gateway"]);
}

/// The shell itself replaces the `~`, so it must reach the shell without a quote, and all else with one.
#[test]
fn each_shell_completes_the_path_of_a_key() {
    let home = Home::new();
    let host = LifeHost::with(vps("running", "docker", 22022));
    home.secret(".ssh/id $(id>ran) of mine", "");
    home.secret("key $(id>ran) here", "");
    for name in ["bash", "zsh", "fish"] {
        let mut shell = shell(name, &home, &host);
        // `printf` shows the arguments that the shell passes on.
        shell.types("kohakuriver vps connect --key ~/.ss\tid\t --key ke\t\x01printf '[%s]' \r");
        let (ssh, here) = (home.join(".ssh/id $(id>ran) of mine"), "key $(id>ran) here");
        shell.sees(&format!("[kohakuriver][vps][connect][--key][{}][--key][{here}]", ssh.display()));
        assert!(!home.join("ran").exists(), "{name} ran a name");
        shell.types("exit\r");
        shell.finish();
    }
}

/// Behind the colon is a path there, for which no file here is offered.
#[test]
fn each_shell_completes_what_is_copied() {
    let home = Home::new();
    let host = LifeHost::with(vps("running", "docker", 22022));
    host.run(&home, &["vps", "list"]).output().succeeds();
    // The last two would be read as a file of the VPS and as an option.
    for name in ["data $(id>ran) here", "trainer:file", "-data"] {
        home.write(name, "");
    }
    for name in ["bash", "zsh", "fish"] {
        let mut shell = shell(name, &home, &host);
        shell.types("kohakuriver vps cp da\t ./tr\t tr\tda\t me@tr\t 73\t\x01printf '[%s]' \r");
        shell.sees(&format!(
            "[kohakuriver][vps][cp][data $(id>ran) here][./trainer:file][trainer:da][me@trainer:][{ID}:]"
        ));
        assert!(!home.join("ran").exists(), "{name} ran a name");
        shell.types("exit\r");
        shell.finish();
    }
}

/// The completions after these words.
fn offered(home: &Home, host: &LifeHost, words: &[&str]) -> Outcome {
    host.run(home, &[]).completing(words).output()
}

#[test]
fn commands_values_and_vpses_are_offered() {
    let home = Home::new();
    let host = LifeHost::with(vps("running", "docker", 22022));
    let lines = |words: &[&str]| {
        let outcome = offered(&home, &host, words);
        outcome.succeeds().says_nothing();
        outcome.text().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // No VPS was listed yet.
    assert!(lines(&["vps", "connect", "t"]).is_empty());
    host.run(&home, &["ssh", "config", "--write"]).output().succeeds();
    host.change(|state| state.requests.clear());
    for verb in [
        ["vps", "connect"],
        ["vps", "status"],
        ["vps", "stop"],
        ["vps", "restart"],
        ["vps", "pause"],
        ["vps", "resume"],
        ["ssh", "forget"],
    ] {
        assert_eq!(lines(&[verb[0], verb[1], "t"]), ["trainer"], "{verb:?}");
        assert_eq!(lines(&[verb[0], verb[1], "7"]), [ID], "{verb:?}");
    }
    assert_eq!(lines(&["vps", "cp", "t"]), ["trainer:"]);
    assert_eq!(lines(&["completions", "f"]), ["fish"]);
    assert_eq!(lines(&["node", "list", "--status", ""]), ["online", "offline"]);
    let groups = lines(&[""]);
    assert!(groups.iter().any(|word| word == "vps") && groups.iter().any(|word| word == "auth"), "{groups:?}");
    assert!(!lines(&["ssh", ""]).iter().any(|word| word == "host-key"), "a hidden command is offered");
    assert!(host.change(|state| state.requests.is_empty()));
    // Another Host has other VPSes.
    let other = LifeHost::start(22022);
    assert!(offered(&home, &other, &["vps", "connect", "t"]).text().is_empty());
}

#[test]
fn completion_does_not_wait_for_an_unreachable_host() {
    let home = Home::new();
    let run = Run::new(CLI, &home).env("KOHAKURIVER_HOST", "192.0.2.1");
    let outcome = run.completing(&["vps", "connect", "t"]).output();
    outcome.succeeds().prints_nothing();
    assert!(outcome.took < Duration::from_secs(5), "{outcome}");
}

#[test]
fn every_option_of_the_help_is_in_the_manual_page() {
    let home = Home::new();
    let outcome = Run::new(CLI, &home).args(["man", "--output", "man"]).output();
    outcome.succeeds().prints_nothing().says(&["wrote "]);
    let pages: Vec<_> = ["man1", "man8"]
        .iter()
        .flat_map(|section| fs::read_dir(home.join("man").join(section)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in &pages {
        let name = page.file_stem().unwrap().to_str().unwrap();
        // groff accepts it without a warning, also for a terminal without UTF-8.
        for device in ["-Tutf8", "-Tascii"] {
            let mut groff = Command::new(tool("groff"));
            let output = groff.args(["-Kutf8", "-man", "-ww", "-z", device]).arg(page).output().unwrap();
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{name}, {device}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let text = fs::read_to_string(page).unwrap().replace("\\-", "-");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"] {
            assert!(text.contains(&format!("\n.SH {section}\n")), "{name} lacks {section}");
        }
        // A group only lists its commands.
        let is_group = text.contains("\n.SH COMMANDS\n");
        assert!(is_group || text.contains("\n.SH EXAMPLES\n"), "{name} lacks EXAMPLES");
        let lines = text.lines().filter(|line| !line.starts_with('.'));
        assert!(lines.clone().count() > 10 && lines.clone().all(|line| !line.trim().is_empty()), "{name}");
        let (program, command) = match name {
            "kohakuriver-proxy" => (crate::support::tools::HELPER, ""),
            name if name.starts_with("kohakuriver-gateway") => {
                (crate::support::tools::GATEWAY, name.strip_prefix("kohakuriver-gateway").unwrap())
            }
            name => (CLI, name.strip_prefix("kohakuriver").unwrap()),
        };
        let words: Vec<&str> = command_words(command);
        let help = Run::new(program, &home).args(words).arg("--help").output();
        help.succeeds();
        let options: Vec<String> = help
            .text()
            .lines()
            .filter(|line| line[..line.len().min(7)].contains('-') && line.trim_start().starts_with('-'))
            .filter_map(|line| line.split([' ', ',', '=']).find(|word| word.starts_with("--")).map(str::to_owned))
            .collect();
        assert!(options.contains(&"--help".to_owned()), "{name}: {options:?}\n{}", help.text());
        for option in options {
            // Each has its own paragraph.
            let begins = |line: &str| line.starts_with("\\fB-") && line.contains(&option);
            assert!(text.lines().any(begins), "{name} lacks {option}");
        }
    }
    // A single page, with or without the program's name.
    for (words, title) in [
        (&["man"][..], ".TH kohakuriver 1"),
        (&["man", "vps", "create"], ".TH kohakuriver-vps-create 1"),
        (&["man", "kohakuriver-proxy"], ".TH kohakuriver-proxy 1"),
        (&["man", "kohakuriver-gateway"], ".TH kohakuriver-gateway 8"),
        (&["man", "kohakuriver-gateway", "cert"], ".TH kohakuriver-gateway-cert 8"),
        (&["man", "kohakuriver-gateway", "audit"], ".TH kohakuriver-gateway-audit 8"),
    ] {
        let page = Run::new(CLI, &home).args(words).output();
        page.succeeds().check(page.text().contains(title), title);
    }
    // Each that logs in stores the host key of a VPS.
    for verb in ["connect", "cp", "forward", "restart"] {
        let page = Run::new(CLI, &home).args(["man", "vps", verb]).output();
        page.check(page.text().contains("\nKOHAKURIVER_KNOWN_HOSTS\n"), verb);
    }
    Run::new(CLI, &home).args(["man", "vps", "fly"]).output().exits(2).says(&["there is no manual page for `vps fly`"]);
    // All of this works with unreadable settings.
    home.write(".config/kohakuriver/config.json", json!([]).to_string());
    Run::new(CLI, &home).arg("man").output().succeeds();
    Run::new(CLI, &home).args(["completions", "bash"]).output().succeeds();
    let path = Run::new(CLI, &home).args(["config", "path"]).output();
    path.succeeds().prints(&format!("{}\n", home.join(".config/kohakuriver/config.json").display()));
    Run::new(CLI, &home).args(["config", "show"]).output().exits(2);
}

/// The words in `-vps-create`. No command with a page has a dash in its name.
fn command_words(name: &str) -> Vec<&str> {
    name.split('-').filter(|word| !word.is_empty()).collect()
}
