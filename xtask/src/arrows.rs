//! Which crate may use which: the house that data walks through in one direction. Also keeps the pure crates pure.

use crate::Finding;
use crate::metadata::Metadata;
use crate::tree::Tree;

/// Each crate with the crates of the workspace that it may be built with; arrows only point to lines above.
const ARROWS: [(&str, &[&str]); 15] = [
    ("types", &[]),
    ("placement", &["types"]),
    ("steering", &["types"]),
    ("dynamo", &["types"]),
    ("merge", &["types", "dynamo"]),
    ("history", &["types"]),
    ("plan", &["types"]),
    ("store", &["types"]),
    ("replication", &["types", "placement", "store"]),
    ("api", &["types", "dynamo"]),
    ("anycast", &[]),
    ("dns", &["types", "steering"]),
    ("edge", &["types", "steering"]),
    ("drill", &["types", "history"]),
    ("sim", &["types", "merge", "placement", "dynamo", "history", "store", "replication", "api", "drill"]),
];
/// Crates that decide and do nothing else.
const PURE: [&str; 7] = ["types", "merge", "placement", "steering", "dynamo", "history", "plan"];
/// What brings a clock, a socket, a disk, threads or ambient randomness.
const IMPURE: [&str; 14] = [
    "tokio",
    "async-std",
    "mio",
    "socket2",
    "hyper",
    "tonic",
    "openraft",
    "fjall",
    "chrono",
    "time",
    "getrandom",
    "rand",
    "rayon",
    "tempfile",
];
const PREFIX: &str = "meridian-";

/// Checks the manifests of all members, and the headers of the pure ones.
#[must_use]
pub fn check(metadata: &Metadata, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in metadata.members() {
        let Some(name) = package.name.strip_prefix(PREFIX) else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            findings.push(Finding::new(
                &package.name,
                "a crate that xtask/src/arrows.rs does not know; give it its arrows",
            ));
            continue;
        };
        let own = package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        for used in own.filter_map(|dependency| dependency.name.strip_prefix(PREFIX)) {
            if !allowed.contains(&used) {
                let what = format!("must not depend on {PREFIX}{used}; it may use {allowed:?}");
                findings.push(Finding::new(&package.name, what));
            }
        }
        if PURE.contains(&name) {
            let built_with = metadata.built_with(package);
            for impure in IMPURE.iter().filter(|impure| built_with.contains(*impure)) {
                findings.push(Finding::new(
                    &package.name,
                    format!("is pure and must not be built with {impure}"),
                ));
            }
            let header = format!("crates/{name}/src/lib.rs");
            if !tree.get(&header).is_some_and(|text| text.lines().any(|line| line == "#![no_std]")) {
                findings.push(Finding::new(header, "the crate is pure: it needs `#![no_std]`"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_arrows_itself_only_points_up() {
        for (index, (name, allowed)) in ARROWS.iter().enumerate() {
            for used in *allowed {
                let above = ARROWS.iter().take(index).any(|(known, _)| known == used);
                assert!(above, "{name} -> {used}");
            }
        }
        for (name, allowed) in ARROWS.iter().filter(|(name, _)| PURE.contains(name)) {
            assert!(allowed.iter().all(|used| PURE.contains(used)), "{name}");
        }
    }

    fn metadata(manifest: &str) -> Metadata {
        serde_json::from_str(manifest).unwrap()
    }

    #[test]
    fn a_wrong_arrow_an_impure_build_and_a_missing_header_are_found() {
        let package = |id: &str, dependencies: &str| {
            format!(
                r#"{{"id":"{id}","name":"{id}","version":"1","license":"MIT","source":null,"dependencies":[{dependencies}]}}"#
            )
        };
        let text = format!(
            r#"{{"packages":[{},{},{}],"workspace_members":["meridian-placement","meridian-odd"],
                "resolve":{{"nodes":[
                  {{"id":"meridian-placement","deps":[{{"pkg":"middle","dep_kinds":[{{"kind":null}}]}}]}},
                  {{"id":"middle","deps":[{{"pkg":"rand","dep_kinds":[{{"kind":null}}]}}]}}]}}}}"#,
            package(
                "meridian-placement",
                r#"{"name":"meridian-store","kind":null},{"name":"meridian-drill","kind":"dev"}"#
            ),
            package("meridian-odd", ""),
            package("rand", ""),
        );
        let tree = Tree::of(&[("crates/placement/src/lib.rs", "//! Words.\n")]);
        let found: Vec<String> = check(&metadata(&text), &tree).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("must not depend on meridian-store"));
        assert!(found[1].contains("must not be built with rand"));
        assert!(found[2].contains("`#![no_std]`"));
        assert!(found[3].contains("meridian-odd"));
    }
}
