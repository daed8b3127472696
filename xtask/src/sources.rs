//! Habits of a Rust file: it says what it is, and holds nothing unfinished and nothing unsafe.

use crate::Finding;
use crate::tree::Tree;
use proc_macro2::{TokenStream, TokenTree};

/// Macros that mark unfinished work or debugging.
const BANNED_MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Checks every Rust file.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending("rs") {
        if !text.starts_with("//! ") {
            findings.push(Finding::new(path, "start with `//!`: say what lives here and what does not"));
        }
        match text.parse::<TokenStream>() {
            Ok(tokens) => banned(path, tokens, &mut findings),
            Err(error) => findings.push(Finding::new(path, format!("does not parse: {error}"))),
        }
    }
    findings
}

/// Looks at tokens, so that words in comments and strings are not taken for code.
fn banned(path: &str, tokens: TokenStream, findings: &mut Vec<Finding>) {
    let mut last = None;
    for token in tokens {
        match &token {
            TokenTree::Group(group) => banned(path, group.stream(), findings),
            TokenTree::Ident(ident) if ident == "unsafe" => {
                findings.push(Finding::new(at(path, ident.span()), "`unsafe` has no place here"));
            }
            TokenTree::Punct(punct) if punct.as_char() == '!' => {
                if let Some(TokenTree::Ident(ident)) = &last
                    && BANNED_MACROS.iter().any(|name| ident == name)
                {
                    findings
                        .push(Finding::new(at(path, ident.span()), format!("`{ident}!` is not for commits")));
                }
            }
            _ => {}
        }
        last = Some(token);
    }
}

fn at(path: &str, span: proc_macro2::Span) -> String {
    format!("{path}:{}", span.start().line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_judged_and_words_are_not() {
        let good = "//! Says `todo!()` and unsafe.\nfn f() { let _ = \"dbg!\"; let todo = !true; }\n";
        assert_eq!(check(&Tree::of(&[("a.rs", good)])), vec![]);
        for (bad, expected) in [
            ("fn f() {}\n", "start with `//!`"),
            ("//! Words.\nfn f() { todo!() }\n", "a.rs:2: `todo!`"),
            ("//! Words.\n\nfn f() { if true { dbg!(1); } }\n", "a.rs:3: `dbg!`"),
            ("//! Words.\nunsafe fn f() {}\n", "a.rs:2: `unsafe`"),
            ("//! Words.\nfn f( {\n", "does not parse"),
        ] {
            let found = check(&Tree::of(&[("a.rs", bad)]));
            assert_eq!(found.len(), 1, "{bad}");
            assert!(found[0].to_string().contains(expected), "{}", found[0]);
        }
    }
}
