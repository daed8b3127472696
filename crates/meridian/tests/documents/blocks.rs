//! TOML blocks in the documents are files that the binary reads: a node's configuration, a policy, a scenario, a WAN.

use super::page::code_blocks;
use super::{none, tree};
use meridian::config::NodeConfig;
use meridian::wan::WanModel;
use meridian_drill::Scenario;
use meridian_types::Policy;
use std::path::Path;
use toml::{Table, Value};
use xtask::tree::Tree;

/// Why the block is not what it looks like, if it is not.
fn problem(block: &str) -> Result<(), String> {
    let table: Table = toml::from_str(block).map_err(|error| error.to_string())?;
    if table.contains_key("node") {
        let parsed = NodeConfig::parse(Path::new("node.toml"), block, std::iter::empty());
        parsed.map(drop).map_err(|error| error.to_string())
    } else if table.contains_key("fault") {
        Scenario::parse(block).map(drop).map_err(|error| error.to_string())
    } else if table.contains_key("pair") {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(file.path(), block).unwrap();
        WanModel::read(file.path().to_str().unwrap()).map(drop).map_err(|error| error.to_string())
    } else if let Some(Value::Array(policies)) = table.get("policy") {
        let mut parsed = policies.iter().map(|policy| policy.clone().try_into::<Policy>().map(drop));
        parsed.find(Result::is_err).unwrap_or(Ok(())).map_err(|error| error.to_string())
    } else {
        Err("neither a configuration, a policy, a scenario nor a WAN".to_owned())
    }
}

fn problems(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.ending("md") {
        for block in code_blocks(text, "toml") {
            found.extend(problem(&block).err().map(|problem| format!("{path}: {problem}\n{block}")));
        }
    }
    found
}

#[test]
fn every_toml_block_is_a_file_that_is_read() {
    none(&problems(&tree()));
}

#[test]
fn a_block_that_is_none_is_found() {
    let block = |text: &str| problems(&Tree::of(&[("a.md", &format!("```toml\n{text}\n```\n"))]));
    assert!(block("name = 'x'\nfault = 'kill'").is_empty());
    for (text, words) in [
        ("x = 1", "neither a configuration"),
        ("[node]\nid = 'a'", "missing field"),
        ("name = 'x'\nfault = 'flood'", "unknown variant `flood`"),
        ("[[pair]]\nregions = ['a', 'b']\nrtt = 5", "invalid type"),
        ("[[policy]]\nname = 'p'", "missing field `pattern`"),
    ] {
        let found = block(text);
        assert!(found.len() == 1 && found[0].contains(words), "{text}: {found:?}");
    }
}
