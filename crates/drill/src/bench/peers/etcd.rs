//! etcd: three members on loopback, over its own gRPC API, asked at the leader.

use super::super::BenchError;
use super::super::system::{Access, System};
use http::uri::PathAndQuery;
use prost::Message;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

const NAME: &str = "etcd";
const HINT: &str = "install it with `apt-get install etcd-server`, or leave it out of the peers";
const READY_LIMIT: Duration = Duration::from_secs(30);
const MEMBERS: usize = 3;

/// Starts three members with empty folders.
pub(in super::super) async fn start() -> Result<System, BenchError> {
    let error = |error: std::io::Error| BenchError::system(NAME, error);
    let folder = tempfile::tempdir().map_err(error)?;
    let ports = super::free_ports::<{ MEMBERS * 2 }>().map_err(error)?;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let (clients, peers) = ports.split_at(MEMBERS);
    let members: Vec<String> =
        peers.iter().enumerate().map(|(index, port)| format!("m{index}={}", url(*port))).collect();
    let mut children = Vec::new();
    for index in 0..MEMBERS {
        let (client, peer) = (url(clients[index]), url(peers[index]));
        let options = [
            ("name", format!("m{index}")),
            ("data-dir", folder.path().join(format!("m{index}")).display().to_string()),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer),
            ("initial-cluster", members.join(",")),
            ("initial-cluster-state", "new".to_owned()),
            ("logger", "zap".to_owned()),
            ("log-level", "error".to_owned()),
        ];
        let arguments: Vec<String> =
            options.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        children.push(super::spawn(NAME, &arguments, HINT)?);
    }
    let endpoints: Vec<String> = clients.iter().map(|port| url(*port)).collect();
    let endpoint = find_leader(&endpoints).await?;
    Ok(System {
        name: NAME.to_owned(),
        durability: "three members on this machine: in the log, synced, of two of the three".to_owned(),
        access: Access::Etcd { endpoint },
        _keep: Some(Box::new((children, folder))),
    })
}

/// The endpoint of the leader: asked anywhere else, etcd forwards, which would cost it a hop that nobody has to pay.
async fn find_leader(endpoints: &[String]) -> Result<String, BenchError> {
    let end = Instant::now() + READY_LIMIT;
    let mut last = String::new();
    while Instant::now() < end {
        for endpoint in endpoints {
            let asked = async {
                let mut client = EtcdClient::connect(endpoint).await?;
                client
                    .call::<_, StatusResponse>(
                        "/etcdserverpb.Maintenance/Status",
                        StatusRequest {},
                        READY_LIMIT,
                    )
                    .await
            };
            match asked.await {
                Ok(StatusResponse { header: Some(header), leader })
                    if leader != 0 && header.member_id == leader =>
                {
                    return Ok(endpoint.clone());
                }
                Ok(_) => "no member is the leader".clone_into(&mut last),
                Err(reason) => last = reason,
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err(BenchError::system(NAME, last))
}

/// One connection to one member.
#[derive(Debug)]
pub(in super::super) struct EtcdClient {
    grpc: Grpc<Channel>,
}

impl EtcdClient {
    /// Connects.
    pub(in super::super) async fn connect(endpoint: &str) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| error.to_string())?;
        let channel = endpoint.tcp_nodelay(true).connect().await.map_err(|error| error.to_string())?;
        Ok(Self { grpc: Grpc::new(channel) })
    }

    pub(in super::super) async fn put(
        &mut self,
        key: &str,
        value: &str,
        limit: Duration,
    ) -> Result<(), String> {
        let request = PutRequest { key: key.as_bytes().to_vec(), value: value.as_bytes().to_vec() };
        self.call::<_, PutResponse>("/etcdserverpb.KV/Put", request, limit).await.map(|_| ())
    }

    /// A linearizable read; says whether the key is there.
    pub(in super::super) async fn get(&mut self, key: &str, limit: Duration) -> Result<bool, String> {
        let request = RangeRequest { key: key.as_bytes().to_vec() };
        let answer: RangeResponse = self.call("/etcdserverpb.KV/Range", request, limit).await?;
        Ok(answer.kvs.first().is_some_and(|pair| !pair.value.is_empty()))
    }

    async fn call<Q, A>(&mut self, path: &'static str, request: Q, limit: Duration) -> Result<A, String>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let calling = async {
            self.grpc.ready().await.map_err(|error| error.to_string())?;
            let codec = ProstCodec::<Q, A>::default();
            let answer = self.grpc.unary(Request::new(request), PathAndQuery::from_static(path), codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| status.to_string())
        };
        timeout(limit, calling).await.map_err(|_| "the deadline passed".to_owned())?
    }
}

// The messages of etcd's v3 API, as far as they are used here. Fields that are left out are skipped on decoding.
// Source: api/etcdserverpb/rpc.proto of etcd 3.4.

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}
