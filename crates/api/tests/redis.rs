//! The Redis front as a server: its bounds, what it makes of garbage, and how it forgets.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod support;

use core::time::Duration;
use meridian_api::dynamodb::AuthMode;
use meridian_api::memory::MemoryTables;
use meridian_api::redis::{RedisConfig, serve, sweep};
use meridian_api::{RequestContext, Tables};
use meridian_dynamo::key::{KeyAttribute, KeyKind, TableSchema};
use meridian_dynamo::read::{PageShape, ScanOp};
use meridian_dynamo::table::{Billing, TableDefinition};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;
use support::{ACCESS_KEY_ID, READER_ID, SECRET_ACCESS_KEY, credentials, served_by};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

fn config(auth: AuthMode) -> RedisConfig {
    RedisConfig::new("redis".parse().unwrap(), served_by(), auth)
}

/// A front over fresh tables in memory.
struct Front {
    tables: Arc<MemoryTables>,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Front {
    async fn start(config: RedisConfig) -> Self {
        let tables = Arc::new(MemoryTables::new(served_by(), credentials()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, tables.clone(), config, async move {
            let _ = stopped.await;
        }));
        Self { tables, address, stop, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What commands, one a line, are answered on a connection of their own.
    async fn say(&self, commands: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(commands.as_bytes()).await.unwrap();
        rest(stream).await
    }
}

/// All that is still said on a connection once the client has no more to say.
async fn rest(mut stream: TcpStream) -> String {
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    // A connection that was closed with something unread ends in a reset.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed in the end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn context() -> RequestContext {
    RequestContext { token: None, max_staleness: None, deadline: Instant::now() + PATIENCE }
}

async fn stored(tables: &MemoryTables) -> usize {
    let table = "redis".parse().unwrap();
    let op = ScanOp { table, segment: None, shape: PageShape::default(), start_after: None };
    tables.scan(&context(), op).await.unwrap().value.items.len()
}

#[tokio::test]
async fn expired_keys_are_removed_and_prolonged_ones_stay() {
    /// The clock of the one that sweeps, an hour on.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(3_600)
    }
    let front = Front::start(config(AuthMode::None)).await;
    let said = front
        .say("SET a 1 EX 100\nSET b 1 EX 100\nSET c 1\nHSET d f 1\nEXPIRE d 100\nEXPIRE b 9000\nSET e 1 EX 3000\n")
        .await;
    assert_eq!(said, "+OK\r\n+OK\r\n+OK\r\n:1\r\n:1\r\n:1\r\n+OK\r\n");
    assert_eq!(stored(&front.tables).await, 5);
    let config =
        RedisConfig { clock: later, sweep_after: Duration::from_millis(500), ..config(AuthMode::None) };
    let sweeping = tokio::spawn(sweep(front.tables.clone(), config));
    timeout(PATIENCE, async {
        while stored(&front.tables).await > 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("they are removed");
    sweeping.abort();
    assert_eq!(front.say("EXISTS a\nEXISTS b\nEXISTS c\nEXISTS d\n").await, ":0\r\n:1\r\n:1\r\n:0\r\n");
}

#[tokio::test]
async fn what_many_do_at_once_to_one_key_all_happens() {
    let front = Front::start(config(AuthMode::None)).await;
    let all = (0..40).map(|_| {
        front.say("APPEND text x\nINCR n\nINCRBYFLOAT f 0.1\nHINCRBY h f 2\nZINCRBY z 1 m\nSADD s a\n")
    });
    let answers = futures_util::future::join_all(all).await;
    assert!(answers.iter().all(|answer| !answer.contains('-')), "{answers:?}");
    let said = front.say("STRLEN text\nGET n\nGET f\nHGET h f\nZSCORE z m\nSCARD s\n").await;
    assert_eq!(said, ":40\r\n$2\r\n40\r\n$1\r\n4\r\n$2\r\n80\r\n$2\r\n40\r\n:1\r\n");
}

#[tokio::test]
async fn a_table_with_another_key_is_refused() {
    let front = Front::start(config(AuthMode::None)).await;
    let definition = TableDefinition {
        name: "redis".parse().unwrap(),
        schema: TableSchema { partition: KeyAttribute { name: "pk".into(), kind: KeyKind::S }, sort: None },
        billing: Billing::PayPerRequest,
        class: None,
        deletion_protection: false,
        tags: Default::default(),
    };
    front.tables.create_table(&context(), definition).await.unwrap();
    let said = front.say("PING\nSET a 1\n").await;
    assert!(said.starts_with("+PONG\r\n-ERR the table redis has another key than Redis keys need"), "{said}");
}

#[tokio::test]
async fn a_table_that_was_deleted_is_made_again() {
    let front = Front::start(config(AuthMode::None)).await;
    assert_eq!(front.say("SET a 1\n").await, "+OK\r\n");
    front.tables.delete_table(&context(), &"redis".parse().unwrap()).await.unwrap();
    assert!(front.say("GET a\n").await.starts_with("-TRYAGAIN "));
    assert_eq!(front.say("GET a\n").await, "$-1\r\n");
}

#[tokio::test]
async fn a_crowd_and_the_silent_are_turned_away() {
    let patience = Duration::from_millis(300);
    let front = Front::start(RedisConfig { max_connections: 2, patience, ..config(AuthMode::SigV4) }).await;
    let silent = (front.connect().await, front.connect().await);
    // Both slots are taken once they have been accepted.
    timeout(PATIENCE, async {
        loop {
            let said = front.say("PING\n").await;
            if said.starts_with("-ERR max number of clients reached") {
                break;
            }
        }
    })
    .await
    .expect("the third is refused");
    assert_eq!((rest(silent.0).await, rest(silent.1).await), (String::new(), String::new()));
    let login = format!("AUTH {ACCESS_KEY_ID} {SECRET_ACCESS_KEY}\n");
    timeout(PATIENCE, async { while front.say(&login).await != "+OK\r\n" {} })
        .await
        .expect("there is room again");
    let mut known = front.connect().await;
    known.write_all(login.as_bytes()).await.unwrap();
    let mut answer = [0; 5];
    known.read_exact(&mut answer).await.unwrap();
    tokio::time::sleep(patience * 2).await;
    known.write_all(b"PING\n").await.unwrap();
    assert_eq!(rest(known).await, "+PONG\r\n", "one that has logged in may be silent");
}

#[tokio::test]
async fn half_a_request_is_waited_for_only_so_long() {
    let patience = Duration::from_millis(200);
    let front = Front::start(RedisConfig { patience, ..config(AuthMode::None) }).await;
    let mut stream = front.connect().await;
    stream.write_all(b"*2\r\n$3\r\nGET\r\n").await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed").unwrap();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn large_requests_have_bounded_room() {
    let front = Front::start(RedisConfig { max_request_bytes: 8 << 20, ..config(AuthMode::None) }).await;
    let mut first = front.connect().await;
    first.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$300000\r\n").await.unwrap();
    first.write_all(&vec![b'x'; 200_000]).await.unwrap();
    timeout(PATIENCE, async {
        loop {
            let mut second = front.connect().await;
            let _ = second.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$300000\r\n").await;
            let _ = second.write_all(&vec![b'x'; 200_000]).await;
            let mut answer = [0; 9];
            if timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await.is_ok() {
                assert_eq!(&answer, b"-TRYAGAIN");
                break;
            }
        }
    })
    .await
    .expect("the second is refused while the first has the room");
    first.write_all(&vec![b'x'; 100_000]).await.unwrap();
    first.write_all(b"\r\n").await.unwrap();
    assert_eq!(rest(first).await, "+OK\r\n");
}

#[tokio::test]
async fn a_reader_reads_and_does_nothing_else() {
    let table = "audit-redis".parse().unwrap();
    let front = Front::start(RedisConfig { table, ..config(AuthMode::SigV4) }).await;
    let said =
        front.say(&format!("AUTH {READER_ID} {SECRET_ACCESS_KEY}\nGET a\nSET a 1\nDEL a\nDBSIZE\n")).await;
    let no = |name: &str| format!("-NOPERM this user has no permissions to run the '{name}' command\r\n");
    assert_eq!(said, format!("+OK\r\n$-1\r\n{}{}:0\r\n", no("set"), no("del")));
}

#[tokio::test]
async fn stopping_lets_commands_finish() {
    let front = Front::start(config(AuthMode::None)).await;
    let mut idle = front.connect().await;
    idle.write_all(b"SET a 1\n").await.unwrap();
    let mut answer = [0; 5];
    idle.read_exact(&mut answer).await.unwrap();
    front.stop.send(()).unwrap();
    timeout(PATIENCE, front.server).await.expect("an idle connection does not hold it up").unwrap();
    assert_eq!(rest(idle).await, "");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever comes, there are answers and an end, and the next client is served.
    #[test]
    fn garbage_is_answered_or_closed(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "[*$][0-9]{1,3}\r\n".prop_map(String::into_bytes),
                "(SET|GET|HSET|ZADD|MULTI|EXEC|SCAN|HELLO|AUTH|QUIT)( [a-z0-9(*-]{0,4}){0,5}\r\n".prop_map(String::into_bytes),
            ],
            0..12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let front = Front::start(config(AuthMode::None)).await;
            let mut stream = front.connect().await;
            for piece in &pieces {
                if stream.write_all(piece).await.is_err() {
                    break;
                }
            }
            rest(stream).await;
            assert_eq!(front.say("PING\n").await, "+PONG\r\n");
        });
    }
}
