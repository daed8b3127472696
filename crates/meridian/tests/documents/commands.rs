//! Every `meridian` command in a shell block of a document is one that the command line takes.

use super::{none, tree};
use clap::error::ErrorKind;
use xtask::commands::of_documents;
use xtask::tree::Tree;

/// The commands that the command line refuses, with the place and its words.
fn refused(tree: &Tree) -> Vec<String> {
    let mut refused = Vec::new();
    for command in of_documents(tree) {
        let Err(error) = meridian::cli::command().try_get_matches_from(&command.words) else { continue };
        if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            refused.push(format!("{}: {}\n{error}", command.at, command.words.join(" ")));
        }
    }
    refused
}

#[test]
fn every_command_in_the_documents_parses() {
    let tree = tree();
    let count = of_documents(&tree).len();
    assert!(count >= 40, "only {count} commands were found: are they looked for where they are?");
    none(&refused(&tree));
}

#[test]
fn a_command_that_is_wrong_is_found() {
    let text = "```sh\nmeridian status\nmeridian dev --help\nmeridian dev --region a\nmeridian teleport --to a\n\
        meridian table create orders --key pk\nmeridian check\n```\n";
    let refused = refused(&Tree::of(&[("docs/a.md", text)]));
    let expected = [
        "docs/a.md:1: meridian dev --region a\nerror: unexpected argument '--region'",
        "docs/a.md:1: meridian teleport --to a\nerror: unrecognized subcommand 'teleport'",
        "docs/a.md:1: meridian table create orders --key pk\nerror: invalid value 'pk'",
        "docs/a.md:1: meridian check\nerror: the following required arguments",
    ];
    assert_eq!(refused.len(), expected.len(), "{refused:?}");
    for (found, start) in refused.iter().zip(expected) {
        assert!(found.starts_with(start), "{found}");
    }
}
