//! A resolver as a client's provider runs it: it asks the name servers, says where its client is, and keeps an answer for as long as that
//! may be kept. No longer, and no shorter: what DNS costs in a failover is just that.

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

/// How long one name server may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// The largest answer over UDP.
const MAX_ANSWER: usize = 4_096;

/// Resolves one name for the clients of one network.
#[derive(Debug)]
pub(super) struct Resolver {
    servers: Vec<SocketAddr>,
    /// Whom it asks first: the last one that answered.
    next: usize,
    name: Name,
    network: Ipv4Addr,
    kept: Option<(Instant, Vec<SocketAddr>)>,
}

impl Resolver {
    /// For the HTTP service `host`, whose addresses and ports are found by SRV, and the clients in a /24.
    pub(super) fn new(servers: Vec<SocketAddr>, host: &str, network: Ipv4Addr) -> Result<Self, String> {
        let name = Name::from_ascii(format!("_http._tcp.{host}.")).map_err(|error| error.to_string())?;
        Ok(Self { servers, next: 0, name, network, kept: None })
    }

    /// The endpoints to try, best first.
    pub(super) async fn resolve(&mut self) -> Result<Vec<SocketAddr>, String> {
        if let Some((until, kept)) = &self.kept
            && Instant::now() < *until
        {
            return Ok(kept.clone());
        }
        self.kept = None;
        let mut last = "there is no name server".to_owned();
        for _ in 0..self.servers.len() {
            let Some(server) = self.servers.get(self.next % self.servers.len()).copied() else { break };
            match timeout(PATIENCE, self.ask(server)).await {
                Ok(Ok((ttl_s, found))) if !found.is_empty() => {
                    let until = Instant::now() + Duration::from_secs(ttl_s.into());
                    self.kept = Some((until, found.clone()));
                    return Ok(found);
                }
                Ok(Ok(_)) => last = format!("{server} knows no endpoint"),
                Ok(Err(reason)) => last = format!("{server}: {reason}"),
                Err(_) => last = format!("{server} does not answer"),
            }
            self.next = self.next.wrapping_add(1);
        }
        Err(last)
    }

    async fn ask(&self, server: SocketAddr) -> Result<(u32, Vec<SocketAddr>), String> {
        let said = |error: std::io::Error| error.to_string();
        let mut question = Message::query();
        let mut edns = Edns::new();
        edns.set_max_payload(u16::try_from(MAX_ANSWER).unwrap_or(u16::MAX));
        let subnet = ClientSubnet::new(IpAddr::V4(self.network), 24, 0);
        edns.options_mut().insert(EdnsOption::Subnet(subnet));
        question.add_query(Query::query(self.name.clone(), RecordType::SRV)).set_edns(edns);
        let bytes = question.to_vec().map_err(|error| error.to_string())?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.map_err(said)?;
        socket.connect(server).await.map_err(said)?;
        socket.send(&bytes).await.map_err(said)?;
        let mut buffer = vec![0; MAX_ANSWER];
        loop {
            let length = socket.recv(&mut buffer).await.map_err(said)?;
            let answer = buffer.get(..length).map(Message::from_vec);
            if let Some(Ok(answer)) = answer
                && answer.id == question.id
            {
                return Ok(endpoints(&answer));
            }
        }
    }
}

/// The endpoints of an answer, by priority, and for how many seconds they may be kept.
fn endpoints(answer: &Message) -> (u32, Vec<SocketAddr>) {
    let mut addresses: BTreeMap<Name, Vec<IpAddr>> = BTreeMap::new();
    for record in answer.additionals.iter().chain(&answer.answers) {
        let address = match &record.data {
            RData::A(a) => IpAddr::V4(a.0),
            RData::AAAA(a) => IpAddr::V6(a.0),
            _ => continue,
        };
        addresses.entry(record.name.clone()).or_default().push(address);
    }
    let mut ttl_s = u32::MAX;
    let mut found = Vec::new();
    for record in &answer.answers {
        if let RData::SRV(srv) = &record.data {
            ttl_s = ttl_s.min(record.ttl);
            let of_target = addresses.get(&srv.target).into_iter().flatten();
            found.extend(of_target.map(|address| (srv.priority, SocketAddr::new(*address, srv.port))));
        }
    }
    found.sort_unstable();
    (ttl_s, found.into_iter().map(|(_, endpoint)| endpoint).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{A, SRV};

    #[test]
    fn an_answer_gives_endpoints_by_priority_for_the_shortest_time() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let mut answer = Message::query();
        for (priority, target, ttl) in [(20, "b.x.", 60), (10, "a.x.", 5), (30, "unknown.x.", 9)] {
            let srv = RData::SRV(SRV::new(priority, 1, 80 + priority, name(target)));
            answer.add_answer(Record::from_rdata(name("_http._tcp.x."), ttl, srv));
        }
        for (target, last) in [("a.x.", 1), ("b.x.", 2)] {
            let address = RData::A(A(Ipv4Addr::new(192, 0, 2, last)));
            answer.add_additional(Record::from_rdata(name(target), 60, address));
        }
        let expected: Vec<SocketAddr> =
            ["192.0.2.1:90", "192.0.2.2:100"].map(|text| text.parse().unwrap()).into();
        assert_eq!(endpoints(&answer), (5, expected));
    }
}
