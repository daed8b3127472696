//! Links between documents lead somewhere.

use crate::Finding;
use crate::tree::{Tree, line_of};
use pulldown_cmark::{Event, Parser, Tag};
use std::path::{Component, Path};

/// Checks the relative links of every Markdown file against the files that exist.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let exists = |path: &str| {
        let folder = format!("{path}/");
        path.is_empty()
            || tree.get(path).is_some()
            || tree.files().any(|(known, _)| known.starts_with(&folder))
    };
    let mut findings = Vec::new();
    for (path, text) in tree.ending("md") {
        for (event, range) in Parser::new(text).into_offset_iter() {
            let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else {
                continue;
            };
            let target = dest_url.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let resolved = resolve(path, target);
            if !resolved.as_deref().is_some_and(|to| exists(to) || is_licence(to)) {
                findings.push(Finding::new(
                    line_of(path, text, range.start),
                    format!("links to {target}, which is not there"),
                ));
            }
        }
    }
    findings
}

/// Licence texts have no ending and are not among the text files.
fn is_licence(path: &str) -> bool {
    path.starts_with("LICENSE-")
}

/// The path that `target` means in the document `from`; `None` when it leads out of the workspace.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    for component in folder.join(target).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_from_where_they_stand() {
        let text = "[a](../README.md#top) [b](other.md) [c](https://example.org/x) [d](#here) [e](../LICENSE-MIT)\n\n[f](gone.md) [g](../../up.md) [h](../docs)";
        let tree = Tree::of(&[("docs/a.md", text), ("docs/other.md", ""), ("README.md", "")]);
        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "docs/a.md:3: links to gone.md, which is not there",
                "docs/a.md:3: links to ../../up.md, which is not there"
            ]
        );
    }
}
