//! Decision records are numbered without gaps, and each says its number and title.

use crate::Finding;
use crate::tree::Tree;

const FOLDER: &str = "docs/decisions/";
const TEMPLATE: &str = "template.md";
/// What a record tells, in this order.
const SECTIONS: [&str; 4] = ["Status", "Context", "Decision", "Consequences"];

/// Checks `docs/decisions`.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let records = tree.ending("md").filter_map(|(path, text)| Some((path, path.strip_prefix(FOLDER)?, text)));
    for (expected, (path, name, text)) in (1u32..).zip(records.filter(|(_, name, _)| *name != TEMPLATE)) {
        let number = name.get(..4).and_then(|digits| digits.parse::<u32>().ok());
        if number != Some(expected) || name.get(4..5) != Some("-") {
            findings.push(Finding::new(
                path,
                format!("should be number {expected:04}: `{expected:04}-title.md`, no gaps, no twins"),
            ));
            break;
        }
        if !text.starts_with(&format!("# {expected:04} ")) {
            findings.push(Finding::new(path, format!("should begin with `# {expected:04} ` and the title")));
        }
        let mut rest = text;
        for section in SECTIONS {
            match rest.split_once(&format!("\n## {section}\n")) {
                Some((_, after)) => rest = after,
                None => {
                    findings
                        .push(Finding::new(path, format!("lacks `## {section}`, or has it out of order")));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "\n## Status\nx\n## Context\nx\n## Decision\nx\n## Consequences\nx\n";

    #[test]
    fn gaps_twins_and_missing_sections_are_found() {
        let one = format!("# 0001 One\n{BODY}");
        let three = format!("# 0003 Three\n{BODY}");
        let bare = "# 0002 Two\n\n## Context\nx\n";
        let found = |files: &[(&str, &str)]| {
            check(&Tree::of(files)).iter().map(|finding| finding.at.clone()).collect::<Vec<_>>()
        };
        let (first, second, third) =
            ("docs/decisions/0001-one.md", "docs/decisions/0002-two.md", "docs/decisions/0003-three.md");
        assert_eq!(found(&[(first, &one), ("docs/decisions/template.md", "")]), Vec::<String>::new());
        assert_eq!(found(&[(first, &one), (third, &three)]), [third]);
        assert_eq!(found(&[(first, &one), (second, bare)]), [second; 3]);
        assert_eq!(
            found(&[(first, &one), ("docs/decisions/0001-twin.md", &one)]),
            ["docs/decisions/0001-twin.md"]
        );
    }
}
