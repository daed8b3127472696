//! Every package that the workspace is built or tested with may be used under a licence that `deny.toml` allows, comes from a
//! registry that it allows, and is not banned by it. The rules of `cargo deny check licenses bans sources` without having to build
//! cargo-deny first.

use crate::Finding;
use crate::metadata::Metadata;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;
use std::path::Path;

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// Checks all packages against `deny.toml` at `root`.
///
/// # Errors
/// When `deny.toml` is missing or lacks the lists.
pub fn check(metadata: &Metadata, root: &Path) -> Result<Vec<Finding>> {
    let text = fs::read_to_string(root.join("deny.toml")).context("reading deny.toml")?;
    let deny: Deny = toml::from_str(&text).context("reading deny.toml")?;
    let mut findings = Vec::new();
    for package in metadata.packages() {
        let name = format!("{} {}", package.name, package.version);
        match package.license.as_deref() {
            None => findings.push(Finding::new(name, "declares no licence")),
            Some(expression) if !allowed(expression, &deny.licenses.allow) => {
                findings.push(Finding::new(
                    name,
                    format!("its licence is {expression}, which deny.toml does not allow"),
                ));
            }
            Some(_) => {}
        }
        if let Some(ban) = deny.bans.deny.iter().find(|ban| ban.name == package.name) {
            findings.push(Finding::new(&package.name, format!("is banned: {}", ban.reason)));
        }
        if let Some(source) = &package.source
            && !deny.sources.allow_registry.iter().any(|registry| source == &format!("registry+{registry}"))
        {
            findings.push(Finding::new(
                &package.name,
                format!("comes from {source}, which deny.toml does not allow"),
            ));
        }
    }
    Ok(findings)
}

fn allowed(expression: &str, allow: &[String]) -> bool {
    // Old manifests write MIT/Apache-2.0 for a choice.
    let parsed = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX);
    parsed.is_ok_and(|parsed| {
        parsed.evaluate(|requirement| allow.iter().any(|licence| requirement.to_string() == *licence))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_evaluated() {
        let allow = ["MIT".to_owned(), "Unicode-3.0".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
        for (expression, expected) in [
            ("MIT", true),
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("MIT AND GPL-3.0-only", false),
            ("no licence", false),
        ] {
            assert_eq!(allowed(expression, &allow), expected, "{expression}");
        }
    }
}
