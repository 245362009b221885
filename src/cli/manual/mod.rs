//! `kohakuriver man`: the manual pages of all programs, made from the definitions that `--help` is made from.

mod blocks;
mod page;
mod reference;
mod roff;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::other::OtherProgram;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use page::{Page, listed, name};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  kohakuriver man vps create | man -l -
  kohakuriver man kohakuriver-proxy | man -l -
  kohakuriver man --output /usr/local/share/man")]
pub(crate) struct Arguments {
    /// Command of this program, or another program of this package
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write all pages to this folder, in one subfolder per section
    #[arg(long, short = 'o', value_name = "FOLDER", conflicts_with = "command")]
    output: Option<PathBuf>,
}

/// Prints a page, or writes all of them; `definition` is this program's command line.
pub(super) fn run(
    definition: clap::Command,
    arguments: &Arguments,
    others: &[fn() -> OtherProgram],
) -> Result<(), Failure> {
    let pages = pages(definition, others);
    match &arguments.output {
        Some(folder) => write(&pages, folder),
        None => print(&pages, &arguments.command),
    }
}

fn write(pages: &[Page], folder: &Path) -> Result<(), Failure> {
    for page in pages {
        let folder = folder.join(format!("man{}", page.section));
        let path = folder.join(format!("{}.{}", page.name, page.section));
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, &page.roff));
        written.map_err(|error| {
            Failure::new(format!("cannot write {}", path.display()))
                .because(&error)
                .hint("give --output a folder that you may write to")
        })?;
    }
    ui::remark(&format!("wrote {} pages to {}", pages.len(), folder.display()));
    Ok(())
}

/// Prints the page of `command`, which may leave out this program's name.
fn print(pages: &[Page], command: &[String]) -> Result<(), Failure> {
    let words = command.join("-");
    let asked = [words.clone(), format!("{PROGRAM}-{words}"), PROGRAM.to_owned()];
    let wanted = if words.is_empty() { &asked[2..] } else { &asked[..2] };
    let page = wanted.iter().find_map(|name| pages.iter().find(|page| page.name == *name));
    let page = page.ok_or_else(|| {
        Failure::usage(format!("there is no manual page for `{}`", command.join(" ")))
            .hint("`kohakuriver --help` lists the commands")
    })?;
    ui::print(&page.roff)
}

fn pages(definition: clap::Command, others: &[fn() -> OtherProgram]) -> Vec<Page> {
    let ours = OtherProgram { definition: definition.disable_help_subcommand(true), section: "1" };
    let mut pages = Vec::new();
    for OtherProgram { mut definition, section } in std::iter::once(ours).chain(others.iter().map(|other| other())) {
        definition.build();
        add(&definition, section, &[], &mut pages);
    }
    pages
}

fn add(command: &clap::Command, section: &'static str, ancestors: &[String], pages: &mut Vec<Page>) {
    pages.push(Page::of(command, section, ancestors));
    let ancestors = [ancestors, &[name(command)]].concat();
    listed(command).for_each(|command| add(command, section, &ancestors, pages));
}
