//! Injects a fault and makes sure that it is undone: by the drill's own order, or when the drill ends in any other way.

use crate::error::DrillError;
use crate::orders::Orders;

/// A fault that is in force. Dropping it undoes it, so that an early error, a panic or Ctrl-C leaves nothing behind.
#[derive(Debug)]
pub struct Fault {
    orders: Orders,
    undone: bool,
}

impl Fault {
    /// Puts the fault in force.
    ///
    /// # Errors
    /// [`DrillError::Supervisor`]; whatever part of the fault took effect is undone.
    pub async fn inject(orders: Orders) -> Result<Self, DrillError> {
        // Made before the order goes out: should the order fail half-way, or this future be dropped, it is undone too.
        let fault = Self { orders, undone: false };
        for order in &fault.orders.inject {
            order.give().await?;
        }
        Ok(fault)
    }

    /// Undoes the fault.
    ///
    /// # Errors
    /// [`DrillError::Supervisor`] after a second try failed too.
    pub async fn undo(mut self) -> Result<(), DrillError> {
        let undoing = self.orders.take_back().await;
        // On an error dropping tries once more, with a connection of its own.
        self.undone = undoing.is_ok();
        undoing
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if self.undone {
            return;
        }
        let orders = self.orders.clone();
        // A thread with a runtime of its own: the drill's may be the one that is ending.
        let undoing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .map_err(|error| error.to_string())
                .and_then(|runtime| runtime.block_on(orders.take_back()).map_err(|error| error.to_string()))
        });
        if let Ok(Err(reason)) = undoing.join() {
            tracing::error!(%reason, "the fault could not be undone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ClusterFile, Status};
    use crate::scenario::Scenario;
    use crate::target::Target;
    use meridian_types::{PolicyName, RegionName};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    /// A supervisor, on a thread of its own as it is a process of its own, that notes its orders and refuses those that
    /// contain `refused`.
    fn supervisor(refused: &'static str) -> (ClusterFile, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let control = format!("http://{}", listener.local_addr().unwrap());
        let orders = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&orders);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut buffer = vec![0; 4096];
                let read = stream.read(&mut buffer).unwrap();
                let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                let order = text.split(' ').nth(1).unwrap().to_owned();
                let status = if order.contains(refused) { "500 No" } else { "200 OK" };
                noted.lock().unwrap().push(order);
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let node = r#"{"id":"n","zone":"a","dynamodb":"http://127.0.0.1:1","admin":"http://127.0.0.1:2"}"#;
        let text = format!(
            r#"{{"regions":[{{"name":"eu-west-1","nodes":[{node}]}}],"supervisor":{{"control":"{control}"}}}}"#
        );
        (serde_json::from_str(&text).unwrap(), orders)
    }

    fn orders_of(cluster: &ClusterFile, drill: &str) -> Orders {
        let (region, policy) = (RegionName::new("eu-west-1").unwrap(), PolicyName::new("p").unwrap());
        let (scenario, status) = (Scenario::built_in(drill).unwrap(), Status::default());
        let target = Target::choose(cluster, &region, scenario.scope, &status, &policy).unwrap();
        Orders::of(&scenario, &target, cluster, &status, &policy).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn undoing_is_ordered_once() {
        let (cluster, orders) = supervisor("nothing");
        Fault::inject(orders_of(&cluster, "region-kill")).await.unwrap().undo().await.unwrap();
        assert_eq!(*orders.lock().unwrap(), ["/v1/regions/eu-west-1/kill", "/v1/regions/eu-west-1/start"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_undoes_the_fault() {
        let (cluster, orders) = supervisor("nothing");
        let task = tokio::spawn(async move {
            let _fault = Fault::inject(orders_of(&cluster, "region-freeze")).await.unwrap();
            panic!("on purpose");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(*orders.lock().unwrap(), ["/v1/regions/eu-west-1/freeze", "/v1/regions/eu-west-1/thaw"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_fault_that_was_refused_is_undone_too_since_a_part_may_have_taken_effect() {
        let (cluster, orders) = supervisor("freeze");
        let error = Fault::inject(orders_of(&cluster, "region-freeze")).await.unwrap_err();
        assert!(error.to_string().contains("eu-west-1/freeze"), "{error}");
        assert_eq!(orders.lock().unwrap().last().unwrap(), "/v1/regions/eu-west-1/thaw");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_undoing_that_was_refused_is_tried_again() {
        let (cluster, orders) = supervisor("start");
        let fault = Fault::inject(orders_of(&cluster, "region-kill")).await.unwrap();
        assert!(fault.undo().await.is_err());
        assert_eq!(orders.lock().unwrap().iter().filter(|order| order.ends_with("start")).count(), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_part_is_undone_although_one_is_refused() {
        let (cluster, orders) = supervisor("nodes");
        let fault = Fault::inject(orders_of(&cluster, "region-partition")).await.unwrap();
        fault.undo().await.unwrap();
        assert_eq!(*orders.lock().unwrap(), ["/v1/links"; 4]);
        assert!(Fault::inject(orders_of(&cluster, "disk-full")).await.is_err());
        assert_eq!(orders.lock().unwrap()[4..], ["/v1/nodes/n/pretence"; 2]);
    }
}
