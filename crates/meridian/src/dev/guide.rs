//! What a person reads when the cluster is ready: where it is, a first write and read to paste, a region to lose.

use super::cluster_file::{ClusterFile, NodeEntry};
use super::folder::DEFAULT_DIR;
use super::plan::DevOptions;
use std::fmt::Write as _;
use std::path::Path;

/// The text for a cluster that was started with `options`. `program` is how the reader calls this binary, and `foreground` says
/// how the cluster is stopped.
#[must_use]
pub fn guide(cluster: &ClusterFile, options: &DevOptions, program: &str, foreground: bool) -> String {
    let dir: &Path = &options.dir;
    let wan = &options.wan_text;
    let mut out = String::new();
    let nodes = cluster.nodes().count();
    // Writing to a string cannot fail.
    _ = writeln!(
        out,
        "Meridian is ready: {} regions, {nodes} nodes, WAN {wan}, in {}\n",
        cluster.regions.len(),
        dir.display()
    );
    endpoints(&mut out, cluster);
    let Some((here, there)) = two_nodes(cluster) else { return out };
    // Commands find the cluster by themselves in the default folder only.
    let unless_default = |flag: String| if dir == Path::new(DEFAULT_DIR) { String::new() } else { flag };
    let at = unless_default(format!(" --endpoint {}", here.1.admin));
    let in_dir = unless_default(format!(" --dir {}", dir.display()));
    let key = &cluster.credentials;
    let (id, secret) = (&key.access_key_id, key.secret_access_key.expose());
    let ((region, node), (far_region, far_node)) = (here, there);
    _ = write!(
        out,
        r#"
A first table, a write here and a read there, with the AWS CLI:

  {program} table create orders --key pk:S --policy active-passive-semi-sync{at}
  export AWS_ACCESS_KEY_ID={id}
  export AWS_SECRET_ACCESS_KEY={secret}
  aws dynamodb put-item --endpoint-url {write} --region {region} \
      --table-name orders --item '{{"pk":{{"S":"1"}},"note":{{"S":"hello"}}}}'
  aws dynamodb get-item --endpoint-url {read} --region {far_region} \
      --table-name orders --key '{{"pk":{{"S":"1"}}}}' --consistent-read

or with boto3:

  import boto3
  table = boto3.resource("dynamodb", endpoint_url="{write}", region_name="{region}",
      aws_access_key_id="{id}",
      aws_secret_access_key="{secret}").Table("orders")
  table.put_item(Item={{"pk": "1", "note": "hello"}})
  print(table.get_item(Key={{"pk": "1"}}, ConsistentRead=True)["Item"])

"#,
        write = node.dynamodb,
        read = far_node.dynamodb,
    );
    _ = if cluster.regions.len() > 1 {
        writeln!(
            out,
            "Look at it, then lose a region under load and read the report:\n\n  {program} status{at}\n  {program} drill region-kill --region {region}{in_dir}\n"
        )
    } else {
        writeln!(out, "Look at it:\n\n  {program} status{at}\n")
    };
    if foreground {
        out.push_str("Ctrl-C stops the cluster; the data stays.\n");
    } else {
        _ = writeln!(out, "Stop it with: {program} dev stop{in_dir}");
    }
    out
}

fn endpoints(out: &mut String, cluster: &ClusterFile) {
    let width = cluster.regions.iter().map(|region| region.name.as_str().len()).max().unwrap_or(0).max(6);
    let name = cluster.nodes().map(|node| node.id.as_str().len()).max().unwrap_or(0).max(4);
    let url = cluster.nodes().map(|node| node.dynamodb.len()).max().unwrap_or(0);
    _ = writeln!(out, "  {:width$}  {:name$}  {:url$}  ADMIN", "REGION", "NODE", "DYNAMODB");
    for region in &cluster.regions {
        for node in &region.nodes {
            _ = writeln!(
                out,
                "  {:width$}  {:name$}  {:url$}  {}",
                region.name, node.id, node.dynamodb, node.admin
            );
        }
    }
}

/// A region's name and a node of it.
type Place<'a> = (&'a str, &'a NodeEntry);

/// The first node, and the first one of another region where there is one.
fn two_nodes(cluster: &ClusterFile) -> Option<(Place<'_>, Place<'_>)> {
    let mut firsts =
        cluster.regions.iter().filter_map(|region| Some((region.name.as_str(), region.nodes.first()?)));
    let here = firsts.next()?;
    Some((here, firsts.next().unwrap_or(here)))
}
