//! The `meridian` commands that the documents show, found in their shell code blocks. Whether they parse is for a test of the real
//! command line to say.

use crate::tree::{Tree, line_of};
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// A command in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocCommand {
    /// `file:line` of the code block.
    pub at: String,
    /// The words, the first being `meridian`.
    pub words: Vec<String>,
}

/// Languages of code blocks that a person pastes into a shell.
const SHELL: [&str; 4] = ["sh", "bash", "console", "shell"];
/// How the documents call the binary.
const CALLS: [&str; 3] = ["meridian", "./target/release/meridian", "target/release/meridian"];

/// All commands of all Markdown files.
#[must_use]
pub fn of_documents(tree: &Tree) -> Vec<DocCommand> {
    let mut commands = Vec::new();
    for (path, text) in tree.ending("md") {
        let mut block = None;
        for (event, range) in Parser::new(text).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    let at = line_of(path, text, range.start);
                    block = SHELL.contains(&&*language).then(|| (at, String::new()));
                }
                Event::Text(code) => {
                    if let Some((_, content)) = &mut block {
                        content.push_str(&code);
                    }
                }
                Event::End(TagEnd::CodeBlock) => {
                    if let Some((at, content)) = block.take() {
                        commands.extend(of_block(&content).map(|words| DocCommand { at: at.clone(), words }));
                    }
                }
                _ => {}
            }
        }
    }
    commands
}

/// The `meridian` calls of one code block; lines that end in a backslash go on, a leading `$` is a prompt.
fn of_block(content: &str) -> impl Iterator<Item = Vec<String>> {
    let joined = content.replace("\\\n", " ");
    let lines: Vec<String> = joined.lines().map(str::to_owned).collect();
    lines.into_iter().filter_map(|line| {
        let line = line.trim().trim_start_matches("$ ");
        let mut words = split(line);
        if let Some(rest) = line.strip_prefix("cargo run --release --") {
            words = split(rest);
        } else if words.first().is_some_and(|first| CALLS.contains(&first.as_str())) {
            words.remove(0);
        } else {
            return None;
        }
        words.insert(0, "meridian".to_owned());
        Some(words)
    })
}

/// Splits a line as a shell would, up to a comment, a pipe, a redirection or the next command.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut quoted = false;
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (None, '\'' | '"') => (quote, quoted) = (Some(c), true),
            (None, ' ') => {
                let bare = !std::mem::take(&mut quoted);
                if bare && matches!(word.as_str(), "|" | ">" | "&&" | "&" | ";" | "2>" | "||") {
                    break;
                }
                if bare && word.starts_with('#') {
                    break;
                }
                if !bare || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(c),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_shell_blocks_only() {
        let text = "Words `meridian no`.\n\n```sh\n$ meridian table create orders \\\n  --key 'pk:S, sk:S'  # a comment\nmeridian status | jq .\ncargo run --release -- dev --fresh &\naws s3 ls\n```\n\n```text\nmeridian not this\n```\n";
        let found = of_documents(&Tree::of(&[("a.md", text)]));
        let words: Vec<String> = found.iter().map(|command| command.words.join("|")).collect();
        assert_eq!(
            words,
            ["meridian|table|create|orders|--key|pk:S, sk:S", "meridian|status", "meridian|dev|--fresh"]
        );
        assert!(found.iter().all(|command| command.at == "a.md:3"));
    }
}
