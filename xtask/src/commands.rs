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
/// How they have cargo call it.
const CARGO: [&str; 4] = ["cargo", "run", "--release", "--"];
/// Words of the shell that may stand before a command.
const BEFORE: [&str; 10] = ["if", "then", "else", "until", "while", "do", "!", "time", "exec", "sudo"];
/// Bare words that end a command.
const OPERATORS: [&str; 4] = ["|", "||", "&&", "&"];
/// Bare words before the name of a file.
const REDIRECTIONS: [&str; 5] = [">", ">>", "<", "2>", "2>>"];

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
                        let found = of_block(&content).into_iter();
                        commands.extend(found.map(|words| DocCommand { at: at.clone(), words }));
                    }
                }
                _ => {}
            }
        }
    }
    commands
}

/// The `meridian` calls of one code block; lines that end in a backslash go on, a leading `$` is a prompt.
fn of_block(content: &str) -> Vec<Vec<String>> {
    let joined = content.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.trim().trim_start_matches("$ "));
    lines.flat_map(simple_commands).filter_map(call).collect()
}

/// The words of a simple command, when it calls the binary; the first is then `meridian`.
fn call(mut words: Vec<String>) -> Option<Vec<String>> {
    let assigns = |word: &str| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        })
    };
    let before = words.iter().take_while(|word| BEFORE.contains(&word.as_str()) || assigns(word)).count();
    words.drain(..before);
    if words.len() >= CARGO.len() && words.iter().zip(CARGO).all(|(word, known)| word == known) {
        words.drain(..CARGO.len());
    } else if words.first().is_some_and(|first| CALLS.contains(&first.as_str())) {
        words.remove(0);
    } else {
        return None;
    }
    words.insert(0, "meridian".to_owned());
    Some(words)
}

/// The words that a line collects, and where its quotes stand.
#[derive(Default)]
struct Split {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: String,
    quote: Option<char>,
    quoted: bool,
}

impl Split {
    /// Ends the word; a bare operator ends the command, and what a redirection names is no word. `false` at a comment.
    fn end_word(&mut self) -> bool {
        let bare = !std::mem::take(&mut self.quoted);
        let word = std::mem::take(&mut self.word);
        if bare && OPERATORS.contains(&word.as_str()) {
            self.end_command();
        } else if bare && word.starts_with('#') {
            return false;
        } else if !bare || !word.is_empty() {
            self.words.push(word);
        }
        true
    }

    fn end_command(&mut self) {
        let mut words = std::mem::take(&mut self.words).into_iter();
        let mut command = Vec::new();
        while let Some(word) = words.next() {
            if REDIRECTIONS.contains(&word.as_str()) {
                words.next();
            } else {
                command.push(word);
            }
        }
        self.commands.push(command);
    }
}

/// Splits a line into its simple commands as a shell would, those of substitutions `$(...)` included. What a substitution puts
/// out is not known: in its place stands the text `SUBSTITUTED`.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let mut split = Split::default();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let inner = rest.strip_prefix("$(").filter(|_| split.quote != Some('\''));
        if let Some((inner, behind)) = inner.and_then(closed) {
            split.commands.extend(simple_commands(inner));
            split.word.push_str("SUBSTITUTED");
            rest = behind;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match (split.quote, c) {
            (Some(open), _) if open == c => split.quote = None,
            (None, '\'' | '"') => (split.quote, split.quoted) = (Some(c), true),
            (None, ';') => {
                split.end_word();
                split.end_command();
            }
            (None, ' ') => {
                if !split.end_word() {
                    rest = "";
                }
            }
            _ => split.word.push(c),
        }
    }
    split.end_word();
    split.end_command();
    split.commands.retain(|command| !command.is_empty());
    split.commands
}

/// What stands before the bracket that closes, and what behind it.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
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

    #[test]
    fn a_command_is_found_wherever_a_shell_runs_one() {
        let words = |line: &str| -> Vec<String> {
            of_block(line).iter().map(|command| command[1..].join("|")).collect()
        };
        assert_eq!(
            words("eval \"$(meridian key create app --table 'a b')\""),
            ["key|create|app|--table|a b"]
        );
        assert_eq!(words("until meridian status; do sleep 1; done"), ["status"]);
        assert_eq!(words("cd x && A=1 ./target/release/meridian version 2> log > out"), ["version"]);
        assert_eq!(
            words("echo $(date) | meridian check --config $(pwd)/a.toml & # meridian no"),
            ["check|--config|SUBSTITUTED/a.toml"]
        );
        assert_eq!(words("echo '$(meridian no)' meridian no"), Vec::<String>::new());
        assert_eq!(words("meridian() { ./target/release/meridian \"$@\"; }"), Vec::<String>::new());
        assert_eq!(words("echo \"$(meridian broken"), Vec::<String>::new());
    }
}
