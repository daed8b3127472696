//! No file names a place on one person's machine.

use crate::Finding;
use crate::tree::Tree;

/// Beginnings of paths that exist on one machine only. Written in two parts so that this file does not find itself.
const MACHINE: [&str; 5] = [
    concat!("/wor", "k/"),
    concat!("/roo", "t/"),
    concat!("/hom", "e/"),
    concat!("/Use", "rs/"),
    concat!("/tmp/tar", "get"),
];

/// Checks every text file.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files() {
        for (number, line) in (1..).zip(text.lines()) {
            // A path begins a word: `a/work/b` is none.
            let begins = |at: usize| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}'))
            };
            for machine in MACHINE {
                if line.match_indices(machine).any(|(at, _)| begins(at)) {
                    findings.push(Finding::new(
                        format!("{path}:{number}"),
                        format!("names a path of one machine: {machine}"),
                    ));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_path_is_found_and_a_relative_one_is_not() {
        let bad = format!("see {}main for more", MACHINE[0]);
        let good = format!("see shared{}main or ./tmp/file", MACHINE[0]);
        assert_eq!(check(&Tree::of(&[("a.md", &bad)])).len(), 1);
        assert_eq!(check(&Tree::of(&[("a.md", &good)])), vec![]);
    }
}
