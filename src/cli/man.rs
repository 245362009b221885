//! `kohakuriver man`: the manual pages of all programs, from what their `--help` is made from.

use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::CommandLine;
use crate::cli::PROGRAM;
use crate::cli::ui;
use crate::failure::Failure;

/// At the foot of each page.
const PACKAGE: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// Another program of this package, and what its page is made from.
pub enum Manual {
    /// Its definition, and the section of the manual that it belongs to.
    Definition(Box<clap::Command>, &'static str),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
To read a page, or to install all of them:

  kohakuriver man vps create | man -l -
  kohakuriver man kohakuriver-proxy | man -l -
  kohakuriver man --output /usr/local/share/man")]
pub(super) struct Arguments {
    /// Command of this program, or the name of another program of this package
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write all pages to this folder, each in the subfolder of its section
    #[arg(long, short = 'o', value_name = "FOLDER", conflicts_with = "command")]
    output: Option<PathBuf>,
}

/// A page.
struct Page {
    /// Without its section.
    name: String,
    section: &'static str,
    roff: Vec<u8>,
}

pub(super) fn run(arguments: &Arguments, others: &[fn() -> Manual]) -> Result<(), Failure> {
    let pages = pages(others)?;
    if let Some(folder) = &arguments.output {
        for page in &pages {
            let folder = folder.join(format!("man{}", page.section));
            let path = folder.join(format!("{}.{}", page.name, page.section));
            let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, &page.roff));
            written.map_err(|error| {
                Failure::new(format!("cannot write {}", path.display()))
                    .because(&error)
                    .hint("name a folder that you may write to with --output")
            })?;
        }
        ui::remark(&format!("wrote {} pages to {}", pages.len(), folder.display()));
        return Ok(());
    }
    let words = arguments.command.join("-");
    let asked = [words.clone(), format!("{PROGRAM}-{words}"), PROGRAM.to_owned()];
    let wanted = if words.is_empty() { &asked[2..] } else { &asked[..2] };
    let page = wanted.iter().find_map(|name| pages.iter().find(|page| page.name == *name));
    let page = page.ok_or_else(|| {
        Failure::usage(format!("there is no page of `{}`", arguments.command.join(" ")))
            .hint("`kohakuriver --help` lists the commands")
    })?;
    ui::print_bytes(&page.roff)
}

fn pages(others: &[fn() -> Manual]) -> Result<Vec<Page>, Failure> {
    let mut definition = CommandLine::command().disable_help_subcommand(true);
    definition.build();
    let mut pages = Vec::new();
    add(&definition, "1", &mut pages)?;
    for other in others {
        let Manual::Definition(mut definition, section) = other();
        definition.build();
        add(&definition, section, &mut pages)?;
    }
    Ok(pages)
}

fn add(command: &clap::Command, section: &'static str, pages: &mut Vec<Page>) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut roff = Vec::new();
    let page = Man::new(command.clone()).section(section).manual("KohakuRiver over SSH").source(PACKAGE);
    page.render(&mut roff).map_err(|error| Failure::new(format!("cannot make the page of {name}")).because(&error))?;
    // man-pages(7) knows no section EXTRA.
    let roff = String::from_utf8_lossy(&roff).replace("\n.SH EXTRA\n", "\n.SH NOTES\n").into_bytes();
    pages.push(Page { name, section, roff });
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        add(subcommand, section, pages)?;
    }
    Ok(())
}
