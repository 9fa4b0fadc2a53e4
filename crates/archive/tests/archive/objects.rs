//! Tiles in an object store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuniu_archive::{
    Checkpoints, LogReader, MemoryCheckpoints, ObjectOptions, ObjectStart, SequencerError, TileError,
    TileObjects, Tiles, VerifyError,
};
use shuniu_ledger::Suite;
use shuniu_ledger::tile::{TileKind, TileName};
use shuniu_store::{Database, DatabaseSettings, Store};

use crate::object_server::ObjectServer;
use crate::postgres::Postgres;
use crate::sequencer::{Crashing, append, check, sequence, signer};
use crate::support::{World, until};

const SUITE: Suite = Suite::Sha256Ed25519;

/// An object store on this machine.
pub(crate) struct Server(ObjectServer);

impl Server {
    pub(crate) async fn start() -> Self {
        Self(ObjectServer::start().await)
    }

    pub(crate) fn options(&self) -> ObjectOptions {
        ObjectOptions {
            endpoint: format!("http://{}", self.0.address),
            region: "cn-west".to_owned(),
            bucket: "tiles".to_owned(),
            prefix: "hub/audit".to_owned(),
            key_id: "hub".to_owned(),
            secret: "geheim".to_owned(),
            authority: None,
        }
    }

    pub(crate) async fn create(&self) -> Result<TileObjects, ObjectStart> {
        let options = self.options();
        blocking(move || TileObjects::create(&options)).await
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.file("hub/audit").join(name)
    }
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn verified(tiles: Arc<TileObjects>) -> Result<u64, VerifyError> {
    blocking(move || {
        let log = LogReader::open(tiles, signer(SUITE).verifier().clone())?;
        let verified = log.verify_log(&mut |_| {})?;
        assert!(verified.chain_failures.is_empty());
        Ok(verified.checkpoint.size)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_tiles_in_an_object_store_are_the_topic_and_a_changed_byte_is_found() {
    let (world, server) = (World::new().await, Server::start().await);
    let tiles = Arc::new(server.create().await.unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    for size in [40, 300, 520] {
        let before = row.current().await.unwrap().map_or(0, |row| row.tree_size as usize);
        append(&world, before..size).await;
        sequence(&world.store, &row, &tiles, SUITE, size as u64).await.unwrap();
        let (tiles, store) = (Arc::clone(&tiles), Arc::clone(&world.store));
        assert_eq!(blocking(move || check(&tiles, &store, SUITE).size).await, size as u64);
    }
    assert_eq!(verified(Arc::clone(&tiles)).await.unwrap(), 520);
    // Partial tiles of full ones are gone, and still can be read out of those.
    assert!(server.file("tile/entries/000").exists());
    assert!(
        !server.file("tile/entries/000.p").exists()
            || server.file("tile/entries/000.p").read_dir().unwrap().count() == 0
    );
    let partial = TileName::in_tree(TileKind::Entries, 0, 40).unwrap();
    let reader = Arc::clone(&tiles);
    assert!(blocking(move || reader.read(partial)).await.is_ok());

    let mut bytes = std::fs::read(server.file("tile/entries/000")).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(server.file("tile/entries/000"), bytes).unwrap();
    let error = verified(tiles).await.unwrap_err();
    assert!(matches!(error, VerifyError::EntryChanged { .. } | VerifyError::Bundle { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_other_bytes_in_the_object_store_stop_the_sequencer() {
    let (world, server) = (World::new().await, Server::start().await);
    let tiles = Arc::new(server.create().await.unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    std::fs::create_dir_all(server.file("tile/0/000.p")).unwrap();
    std::fs::write(server.file("tile/0/000.p/3"), [9; 96]).unwrap();
    append(&world, 0..3).await;
    let error = sequence(&world.store, &row, &tiles, SUITE, 3).await.unwrap_err();
    assert!(matches!(error, SequencerError::Tiles(TileError::Different { at: 0, .. })), "{error}");
    assert_eq!(std::fs::read(server.file("tile/0/000.p/3")).unwrap(), [9; 96]);
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_a_store_that_writes_over_what_is_there_is_refused_at_the_start() {
    let server = Server::start().await;
    drop(server.create().await.unwrap());
    server.0.passes_over_conditions.store(true, Ordering::SeqCst);
    let error = server.create().await.unwrap_err();
    assert!(matches!(error, ObjectStart::Unconditional { condition: "If-None-Match" }), "{error:?}");
    // The trial leaves nothing behind.
    assert_eq!(server.file("").read_dir().map_or(0, Iterator::count), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_a_plain_address_elsewhere_are_refused() {
    let server = Server::start().await;
    let with = async |change: fn(&mut ObjectOptions)| {
        let mut options = server.options();
        change(&mut options);
        blocking(move || TileObjects::create(&options)).await.unwrap_err()
    };
    let error = with(|options| options.secret = "falsch".to_owned()).await;
    assert!(matches!(error, ObjectStart::Trial(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("falsch"), "{error:?}");
    let error = with(|options| options.endpoint = "http://store.example".to_owned()).await;
    assert!(matches!(error, ObjectStart::Endpoint { .. }), "{error:?}");
    let error = with(|options| options.authority = Some(b"none".to_vec())).await;
    assert!(matches!(error, ObjectStart::Authority { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_certificate_is_checked_against_the_authority_that_was_given() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let server = Server(ObjectServer::start_with(Some(Arc::new(config).into())).await);
    let with = async |name: &str, authority: Option<String>| {
        let endpoint = format!("https://{name}:{}", server.0.address.port());
        let authority = authority.map(String::into_bytes);
        let options = ObjectOptions { endpoint, authority, ..server.options() };
        blocking(move || TileObjects::create(&options)).await
    };
    with("localhost", Some(made.cert.pem())).await.unwrap();
    let stranger = with("localhost", None).await.unwrap_err();
    assert!(format!("{stranger:?}").contains("UnknownIssuer"), "{stranger:?}");
    let other_name = with("127.0.0.1", Some(made.cert.pem())).await.unwrap_err();
    assert!(format!("{other_name:?}").contains("NotValidForName"), "{other_name:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_checkpoints_shown_at_once_the_latest_stays() {
    let server = Server::start().await;
    let tiles = [Arc::new(server.create().await.unwrap()), Arc::new(server.create().await.unwrap())];
    let showing = (0..20_u64).map(|turn| {
        let tiles = Arc::clone(&tiles[turn as usize % 2]);
        // 7 and 20 have no common divisor: every size once, in no order.
        blocking(move || tiles.publish(&format!("log\n{}\nroot\n", turn * 7 % 20)).unwrap())
    });
    for shown in showing.map(tokio::spawn).collect::<Vec<_>>() {
        shown.await.unwrap();
    }
    let [one, _] = tiles;
    assert_eq!(blocking(move || one.checkpoint()).await.unwrap().unwrap(), "log\n19\nroot\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_sequencers_that_race_and_die_in_mid_round_make_one_log_on_postgresql_and_s3() {
    let Some(postgres) = Postgres::start() else {
        eprintln!("left out: PostgreSQL is not installed here");
        return;
    };
    const EACH: usize = 40;
    const ROUNDS: usize = 12;
    let (world, server) = (World::new().await, Server::start().await);
    let database = Database::postgres(&postgres.database("race"), DatabaseSettings::default()).unwrap();
    Store::migrate(database.clone()).await.unwrap();
    let size = (EACH * ROUNDS) as u64;
    let writing = async {
        for round in 0..ROUNDS {
            append(&world, round * EACH..(round + 1) * EACH).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Each replica has its own connections to both. The third fails at its twelfth step and at every later one: it dies
    // between tiles, row and checkpoint, and the others go on.
    let replica = async || {
        let row: Arc<dyn Checkpoints> = Arc::new(Store::open(database.clone()).await.unwrap());
        (row, Arc::new(server.create().await.unwrap()))
    };
    let ((row_one, one), (row_two, two), (row_three, three)) =
        (replica().await, replica().await, replica().await);
    let left = Arc::new(AtomicUsize::new(12));
    let dying = Arc::new(Crashing { inner: three, left: Arc::clone(&left) });
    let store = Arc::clone(&world.store);
    let died = tokio::spawn(async move { sequence(&store, &row_three, &dying, SUITE, size + 1).await });
    let ((), first, second) = tokio::join!(
        writing,
        sequence(&world.store, &row_one, &one, SUITE, size),
        sequence(&world.store, &row_two, &two, SUITE, size),
    );
    first.unwrap();
    second.unwrap();
    died.abort();
    assert_eq!(left.load(Ordering::SeqCst), 0, "it has died");
    let held = row_two.current().await.unwrap().unwrap();
    assert_eq!((held.tree_size, held.next_offset), (size, size as i64));
    let shown = Arc::clone(&two);
    until("the last is shown", || {
        tokio::task::block_in_place(|| check(&shown, &world.store, SUITE).size == size)
    })
    .await;
    // The database dies under a sequencer, and it goes on when that is back.
    let going_on = {
        let (store, row) = (Arc::clone(&world.store), Arc::clone(&row_one));
        let tiles = Arc::clone(&one);
        tokio::spawn(async move { sequence(&store, &row, &tiles, SUITE, size + 5).await })
    };
    tokio::task::block_in_place(|| postgres.kill());
    append(&world, 0..5).await;
    tokio::task::block_in_place(|| postgres.restart());
    going_on.await.unwrap().unwrap();
    assert_eq!(verified(two).await.unwrap(), size + 5);
}
