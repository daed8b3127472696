//! Files and functions stay short; the few that are not may only shrink.
//!
//! `xtask/ratchet.toml` lists what is over the limit with its present size. A listed size may be lowered, by [`lower`], and is
//! never raised.

use crate::Finding;
use crate::tree::Tree;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use syn::spanned::Spanned;
use syn::visit::Visit;

/// The most lines of a file.
pub const MAX_FILE: usize = 600;
/// The most lines of a function, from its signature to its closing brace.
pub const MAX_FUNCTION: usize = 100;

const PATH: &str = "xtask/ratchet.toml";
const HEADER: &str =
    "# Files and functions over the limit, with the lines that they may have at most. Only ever lowered.\n";

/// Sizes that are over the limit and tolerated, by `path` and by `path::function`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ratchet {
    /// Lines of a file.
    pub files: BTreeMap<String, usize>,
    /// Lines of a function.
    pub functions: BTreeMap<String, usize>,
}

impl Ratchet {
    /// Reads the ratchet of the workspace at `root`.
    ///
    /// # Errors
    /// When the file is missing or malformed.
    pub fn read(root: &Path) -> Result<Self> {
        let text = fs::read_to_string(root.join(PATH)).with_context(|| format!("reading {PATH}"))?;
        toml::from_str(&text).with_context(|| format!("reading {PATH}"))
    }
}

/// Compares the sizes with the limits and the ratchet.
#[must_use]
pub fn check(tree: &Tree, ratchet: &Ratchet) -> Vec<Finding> {
    let sizes = measure(tree);
    let mut findings = judge(&sizes.files, &ratchet.files, MAX_FILE, "split it by idea");
    findings.extend(judge(
        &sizes.functions,
        &ratchet.functions,
        MAX_FUNCTION,
        "give its steps names of their own",
    ));
    findings
}

/// Lowers every listed size to the present one and drops what is within the limit; answers how many entries changed.
///
/// # Errors
/// When the workspace cannot be read or the ratchet not written.
pub fn lower(root: &Path) -> Result<usize> {
    let sizes = measure(&Tree::read(root)?);
    let old = Ratchet::read(root)?;
    let new = Ratchet {
        files: lowered(&old.files, &sizes.files, MAX_FILE),
        functions: lowered(&old.functions, &sizes.functions, MAX_FUNCTION),
    };
    let changed = |old: &BTreeMap<String, usize>, new: &BTreeMap<String, usize>| {
        old.iter().filter(|(name, size)| new.get(*name) != Some(size)).count()
    };
    let count = changed(&old.files, &new.files) + changed(&old.functions, &new.functions);
    if count > 0 {
        fs::write(root.join(PATH), HEADER.to_owned() + &toml::to_string(&new)?)?;
    }
    Ok(count)
}

fn judge(
    sizes: &BTreeMap<String, usize>,
    listed: &BTreeMap<String, usize>,
    limit: usize,
    advice: &str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, size) in sizes {
        let allowed = listed.get(name).copied().unwrap_or(limit);
        if *size > allowed.max(limit) {
            findings
                .push(Finding::new(name, format!("{size} lines, {} allowed; {advice}", allowed.max(limit))));
        }
    }
    for (name, allowed) in listed {
        let size = sizes.get(name).copied().unwrap_or(0);
        if size < *allowed || size <= limit {
            let what = format!("has {size} lines and {PATH} still allows {allowed}; run `cargo xtask fix`");
            findings.push(Finding::new(name, what));
        }
    }
    findings
}

fn lowered(
    listed: &BTreeMap<String, usize>,
    sizes: &BTreeMap<String, usize>,
    limit: usize,
) -> BTreeMap<String, usize> {
    let still =
        listed.iter().filter_map(|(name, allowed)| Some((name.clone(), (*sizes.get(name)?).min(*allowed))));
    still.filter(|(_, size)| *size > limit).collect()
}

/// The sizes of all files and functions; of functions with one name in one file the longest.
fn measure(tree: &Tree) -> Ratchet {
    let mut sizes = Ratchet::default();
    for (path, text) in tree.ending("rs") {
        sizes.files.insert(path.to_owned(), text.lines().count());
        if let Ok(file) = syn::parse_file(text) {
            Functions { path, sizes: &mut sizes.functions }.visit_file(&file);
        }
    }
    sizes
}

struct Functions<'a> {
    path: &'a str,
    sizes: &'a mut BTreeMap<String, usize>,
}

impl Functions<'_> {
    fn record(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = block.span().end().line.saturating_sub(signature.span().start().line) + 1;
        let size = self.sizes.entry(format!("{}::{}", self.path, signature.ident)).or_default();
        *size = lines.max(*size);
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.record(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.record(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.record(&item.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(lines: usize) -> String {
        format!(
            "//! Words.\nstruct S;\nimpl S {{\n    fn long() {{\n{}    }}\n}}\n",
            "        ();\n".repeat(lines - 2)
        )
    }

    fn allow(name: &str, size: usize) -> Ratchet {
        Ratchet { functions: BTreeMap::from([(name.to_owned(), size)]), ..Ratchet::default() }
    }

    #[test]
    fn long_things_are_found_and_the_ratchet_only_goes_down() {
        let found = |lines: usize, ratchet: &Ratchet| {
            check(&Tree::of(&[("a.rs", &source(lines))]), ratchet)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let none = Ratchet::default();
        assert_eq!(found(MAX_FUNCTION, &none), Vec::<String>::new());
        assert_eq!(
            found(101, &none),
            ["a.rs::long: 101 lines, 100 allowed; give its steps names of their own"]
        );
        let listed = allow("a.rs::long", 120);
        assert_eq!(found(120, &listed), Vec::<String>::new());
        assert_eq!(found(121, &listed).len(), 1, "it grew");
        assert!(found(110, &listed)[0].contains("run `cargo xtask fix`"), "it shrank");
        assert!(found(50, &listed)[0].contains("run `cargo xtask fix`"), "it is short now");
        assert_eq!(found(600, &none).len(), 2, "the file is long as well");
    }

    #[test]
    fn lowering_lowers_and_never_raises() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("xtask")).unwrap();
        let write = |ratchet: &Ratchet| {
            fs::write(folder.path().join(PATH), toml::to_string(ratchet).unwrap()).unwrap();
        };
        for (lines, before, after) in [(110, 120, Some(110)), (130, 120, Some(120)), (90, 120, None)] {
            fs::write(folder.path().join("a.rs"), source(lines)).unwrap();
            write(&allow("a.rs::long", before));
            lower(folder.path()).unwrap();
            let now = Ratchet::read(folder.path()).unwrap().functions.get("a.rs::long").copied();
            assert_eq!(now, after, "{lines}");
        }
    }
}
