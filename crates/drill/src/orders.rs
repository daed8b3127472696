//! What a fault is to the cluster's own APIs: the orders that make it, and those that take it back.

use crate::client::{Connection, Endpoint};
use crate::cluster::{ClusterFile, Status, Supervisor, json_call};
use crate::error::DrillError;
use crate::scenario::{FaultKind, Scenario, Scope};
use crate::target::Target;
use http::Method;
use meridian_types::{PolicyName, RegionName};
use serde_json::{Value, json};
use std::time::Duration;

/// How long one order may take; starting a node includes its recovery.
const LIMIT: Duration = Duration::from_secs(20);

/// One request of the supervisor's or a node's API.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    endpoint: Endpoint,
    path: String,
    body: Option<Value>,
}

impl Order {
    /// Gives the order and waits until it was carried out.
    ///
    /// # Errors
    /// [`DrillError::Supervisor`] with what was answered.
    pub async fn give(&self) -> Result<(), DrillError> {
        let mut connection = Connection::new(self.endpoint.clone());
        let answer: Result<Value, String> =
            json_call(&mut connection, Method::POST, &self.path, self.body.as_ref(), LIMIT).await;
        let body = self.body.as_ref().map_or(String::new(), |body| format!(" {body}"));
        let failed = |reason| DrillError::Supervisor { order: format!("{}{body}", self.path), reason };
        answer.map(drop).map_err(failed)
    }
}

/// The orders that make a fault, and those that take it back.
#[derive(Clone, Debug, PartialEq)]
pub struct Orders {
    /// Given in turn; the first that fails ends it.
    pub inject: Vec<Order>,
    /// Given in turn; all of them are.
    pub undo: Vec<Order>,
    /// For a planned move: the region that leads now, and is to lead again.
    pub home: Option<RegionName>,
}

impl Orders {
    /// The orders of `scenario` for `target`. `status` says who leads `policy` now.
    ///
    /// # Errors
    /// [`DrillError::Unfit`] when the cluster cannot have this fault.
    pub fn of(
        scenario: &Scenario,
        target: &Target,
        cluster: &ClusterFile,
        status: &Status,
        policy: &PolicyName,
    ) -> Result<Self, DrillError> {
        let control = Supervisor::of(cluster)?.endpoint().clone();
        let order = |path: String, body: Option<Value>| Order { endpoint: control.clone(), path, body };
        let region = &target.region;
        let action = |word: &str| match scenario.scope {
            Scope::Region => vec![order(format!("/v1/regions/{region}/{word}"), None)],
            Scope::Zone | Scope::Node => {
                target.nodes.iter().map(|node| order(format!("/v1/nodes/{node}/{word}"), None)).collect()
            }
        };
        let links = |changes: Value, both_ways: bool| {
            let ways = [(region.as_str(), "*"), ("*", region.as_str())];
            let link = |(from, to): (&str, &str)| {
                let mut body = changes.clone();
                body["from"] = from.into();
                body["to"] = to.into();
                order("/v1/links".to_owned(), Some(body))
            };
            ways.into_iter().take(if both_ways { 2 } else { 1 }).map(link).collect()
        };
        let pretence = |body: Value| {
            let tell = |node| order(format!("/v1/nodes/{node}/pretence"), Some(body.clone()));
            target.nodes.iter().map(tell).collect()
        };
        let mut home = None;
        let (inject, undo): (Vec<Order>, Vec<Order>) = match scenario.fault {
            FaultKind::Kill => (action("kill"), action("start")),
            FaultKind::Freeze => (action("freeze"), action("thaw")),
            FaultKind::Partition => {
                (links(json!({"block": true}), true), links(json!({"block": false}), true))
            }
            FaultKind::OneWay => {
                (links(json!({"block": true}), false), links(json!({"block": false}), false))
            }
            FaultKind::Slow => {
                let slower = json!({"delay_ms": scenario.delay_ms});
                (links(slower, true), links(json!({"delay_ms": 0}), true))
            }
            FaultKind::DiskFull => (pretence(json!({"disk_full": true})), pretence(json!({}))),
            FaultKind::ClockSkew => {
                let shift = json!({"clock_shift_ms": scenario.skew_s.saturating_mul(1_000)});
                (pretence(shift), pretence(json!({})))
            }
            FaultKind::Service => {
                let app = |word: &str| vec![order(format!("/v1/apps/{region}/{word}"), None)];
                (app("kill"), app("start"))
            }
            FaultKind::Switchover => {
                let unfit = || {
                    DrillError::Unfit(format!(
                        "policy {policy} is led from {region} already, or from nowhere; name another region with --region"
                    ))
                };
                let led_from = status.home_of(policy).filter(|home| home != region).ok_or_else(unfit)?;
                let back = moves(cluster, policy, &led_from);
                home = Some(led_from);
                (moves(cluster, policy, region), back)
            }
        };
        Ok(Self { inject, undo, home })
    }

    /// Takes the fault back.
    ///
    /// # Errors
    /// The first error; all orders were given.
    pub async fn take_back(&self) -> Result<(), DrillError> {
        let mut outcome = Ok(());
        for order in &self.undo {
            let given = order.give().await;
            outcome = outcome.and(given);
        }
        outcome
    }
}

/// The order to move a policy's leadership, given to a node of the region that is to lead.
fn moves(cluster: &ClusterFile, policy: &PolicyName, to: &RegionName) -> Vec<Order> {
    let region = cluster.regions.iter().find(|region| region.name == *to);
    let node = region.and_then(|region| region.nodes.first());
    let order = |endpoint: &Endpoint| Order {
        endpoint: endpoint.clone(),
        path: "/v1/switchover".to_owned(),
        body: Some(json!({"to": to, "policy": policy})),
    };
    node.map(|node| order(&node.admin)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_drill_has_orders_and_others_to_take_them_back() {
        let nodes = |name: &str| {
            json!([{"id": format!("{name}-a-0"), "zone": "a", "dynamodb": "http://127.0.0.1:1",
                "admin": format!("http://{name}:2")}])
        };
        let regions: Vec<Value> =
            ["one", "two"].map(|name| json!({"name": name, "nodes": nodes(name)})).to_vec();
        let file = json!({"regions": regions, "supervisor": {"control": "http://127.0.0.1:3"}});
        let cluster: ClusterFile = serde_json::from_value(file).unwrap();
        let policy = PolicyName::new("p").unwrap();
        let status = json!({"groups": [{"id": 1, "leader_region": "two", "policy": "p"}]});
        let status: Status = serde_json::from_value(status).unwrap();
        let of = |name: &str, region: &str| {
            let scenario = Scenario::built_in(name).unwrap();
            let region = RegionName::new(region).unwrap();
            let target = Target::choose(&cluster, &region, scenario.scope, &status, &policy).unwrap();
            Orders::of(&scenario, &target, &cluster, &status, &policy)
        };
        let said = |orders: &[Order]| {
            let say = |order: &Order| {
                let body = order.body.as_ref().map_or(String::new(), Value::to_string);
                format!("{}{}{body}", order.endpoint.authority(), order.path)
            };
            orders.iter().map(say).collect::<Vec<_>>()
        };
        for name in Scenario::names() {
            let orders = of(name, "one").unwrap();
            assert!(!orders.inject.is_empty() && !orders.undo.is_empty(), "{name}");
            assert_eq!(orders.inject.len(), orders.undo.len(), "{name}");
            assert!(orders.inject.iter().zip(&orders.undo).all(|(one, other)| one != other), "{name}");
        }
        assert_eq!(said(&of("node-kill", "one").unwrap().inject), ["127.0.0.1:3/v1/nodes/one-a-0/kill"]);
        let expected = [
            r#"127.0.0.1:3/v1/links{"block":true,"from":"one","to":"*"}"#,
            r#"127.0.0.1:3/v1/links{"block":true,"from":"*","to":"one"}"#,
        ];
        assert_eq!(said(&of("region-partition", "one").unwrap().inject), expected);
        assert_eq!(said(&of("region-oneway", "one").unwrap().inject), expected[..1]);
        let back = said(&of("switchover", "one").unwrap().undo);
        assert_eq!(back, [r#"two:2/v1/switchover{"policy":"p","to":"two"}"#]);
        let error = of("switchover", "two").unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
}
