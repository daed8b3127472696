//! `docs/reference/cli.md` lists every command, argument, option and default of the command line, and no other.

use super::page::{Section, first_word, sections};
use super::{none, tree};
use clap::{Arg, Command};

const PAGE: &str = "docs/reference/cli.md";
const COMMON: &str = "Common options";

/// Every command that a person may type, with its words.
fn walk(command: &Command, words: &str) -> Vec<(String, Command)> {
    let mut found = vec![(words.to_owned(), command.clone())];
    let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    found.extend(visible.flat_map(|sub| walk(sub, &format!("{words} {}", sub.get_name()))));
    found
}

/// An argument as the page spells it: `--dir`, or the name of a position in capitals.
fn spelling(arg: &Arg) -> String {
    match arg.get_long() {
        Some(long) => format!("--{long}"),
        None => {
            let names = arg.get_value_names().unwrap_or_default();
            names.first().map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string)
        }
    }
}

fn check_rows(section: &Section<'_>, args: &[&Arg], findings: &mut Vec<String>) {
    let title = section.title;
    for arg in args {
        let name = spelling(arg);
        let Some(row) = section.row(&name) else {
            findings.push(format!("{title}: no row for {name}"));
            continue;
        };
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let flag = !arg.get_action().takes_values();
        if !flag && !defaults.is_empty() && !row.contains(&format!("`{}`", defaults.join(","))) {
            findings.push(format!("{title}: the row of {name} lacks its default, `{}`", defaults.join(",")));
        }
    }
    for (code, _) in section.rows() {
        let name = first_word(code);
        if !args.iter().any(|arg| spelling(arg) == name) {
            findings.push(format!("{title}: there is no {name}"));
        }
    }
}

/// What the page lacks, and what it makes up.
fn findings(root: &Command, text: &str) -> Vec<String> {
    let mut root = root.clone();
    root.build();
    let sections = sections(text);
    let mut findings = Vec::new();
    let own = |arg: &&Arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str());
    let commands = walk(&root, "meridian");
    for (words, command) in &commands {
        let (title, global) = match words.as_str() {
            "meridian" => (COMMON.to_owned(), true),
            words => (format!("`{words}`"), false),
        };
        let args: Vec<&Arg> =
            command.get_arguments().filter(own).filter(|arg| arg.is_global_set() == global).collect();
        match sections.iter().find(|section| section.title == title) {
            Some(section) => check_rows(section, &args, &mut findings),
            None => findings.push(format!("no section {title}")),
        }
    }
    for section in sections.iter().filter(|section| section.title.starts_with("`meridian")) {
        if !commands.iter().any(|(words, _)| section.title == format!("`{words}`")) {
            findings.push(format!("there is no command {}", section.title));
        }
    }
    findings
}

#[test]
fn the_reference_is_the_command_line() {
    none(&findings(&meridian::cli::command(), tree().get(PAGE).unwrap()));
}

#[test]
fn what_the_reference_lacks_or_makes_up_is_found() {
    let root = Command::new("meridian")
        .arg(Arg::new("output").long("output").global(true).default_value("table"))
        .subcommand(Command::new("dev").arg(Arg::new("dir").long("dir").default_value("d")))
        .subcommand(Command::new("go").arg(Arg::new("name")));
    let good = "# Common options\n| `--output F` | `table` |\n## `meridian dev`\n| `--dir DIR` | `d` |\n\
        ## `meridian go`\n| `NAME` | |\n";
    assert_eq!(findings(&root, good), Vec::<String>::new());
    let changed = |from: &str, to: &str| findings(&root, &good.replace(from, to));
    assert_eq!(changed("`d`", "`e`"), ["`meridian dev`: the row of --dir lacks its default, `d`"]);
    assert_eq!(changed("| `NAME` | |\n", ""), ["`meridian go`: no row for NAME"]);
    assert_eq!(
        changed("| `NAME` | |\n", "| `NAME` | |\n| `--old` | |\n"),
        ["`meridian go`: there is no --old"]
    );
    assert_eq!(
        changed("meridian go", "meridian gone"),
        ["no section `meridian go`", "there is no command `meridian gone`"]
    );
}
