//! Verification, search, export and trace, from the tiles and the public key alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shuniu_archive::{
    Checkpoints, LogReader, MemoryCheckpoints, Search, TileError, TileFolder, Tiles, VerifyError, Which,
};
use shuniu_ledger::tile::leaves;
use shuniu_ledger::{
    Acknowledgement, Action, Actor, BootId, Checkpoint, Delivery, Draft, Entry, EntryId, Hash, OffsetRange,
    Outcome, Publication, SubjectKey, SubjectMac, Subjects, Suite, Tiler,
};
use shuniu_model::identifier::Uscc;
use shuniu_model::{GrantId, ItemName, Mode, ResourceName, SystemId, Timestamp, TopicId, ViewDigest};

use crate::sequencer::{sequence, signer};
use crate::support::{World, note, refusal};

const SUITE: Suite = Suite::Sha256Ed25519;

/// A sequenced log with these drafts, in a folder of its own.
async fn log_of(drafts: Vec<Draft>) -> (World, PathBuf) {
    let world = World::new().await;
    let path = world.folder.path().join("tiles");
    let folder = Arc::new(TileFolder::create(&path).unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    let size = drafts.len() as u64;
    world.log.append_all(drafts).await.unwrap();
    sequence(&world.store, &row, &folder, SUITE, size).await.unwrap();
    folder.publish_key(signer(SUITE).verifier()).unwrap();
    (world, path)
}

fn read(path: &Path) -> Result<LogReader, VerifyError> {
    LogReader::open(TileFolder::open(path), signer(SUITE).verifier().clone())
}

fn verify(path: &Path) -> Result<(), VerifyError> {
    let verified = read(path)?.verify_log(&mut |_| {})?;
    verified.chain_failures.into_iter().next().map_or(Ok(()), Err)
}

fn notes(count: usize) -> Vec<Draft> {
    (0..count).map(|number| note(&number.to_string())).collect()
}

/// Makes tiles and a checkpoint of these leaves, as somebody does who has the folder and perhaps the key.
fn forge(path: &Path, leaves: &[Vec<u8>], sign: bool) {
    let folder = TileFolder::open(path);
    std::fs::remove_dir_all(path.join("tile")).unwrap();
    let mut tiler = Tiler::empty(SUITE);
    let mut tiles = Vec::new();
    leaves.iter().for_each(|leaf| tiler.push(leaf, &mut tiles).unwrap());
    tiles.extend(tiler.partial());
    folder.put(&tiles).unwrap();
    if sign {
        let signer = signer(SUITE);
        let origin = signer.verifier().name().to_owned();
        let checkpoint = Checkpoint { origin, size: tiler.size(), root: tiler.root() };
        std::fs::remove_file(path.join("checkpoint")).unwrap();
        folder.publish(&checkpoint.signed(&signer).unwrap()).unwrap();
    }
}

fn all_leaves(path: &Path) -> Vec<Vec<u8>> {
    read(path).unwrap().entries(0).map(|found| found.unwrap().leaf).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn p5_a_whole_log_is_verified_from_its_tiles_and_key() {
    let (_world, path) = log_of(notes(600)).await;
    let mut done = Vec::new();
    let verified = read(&path).unwrap().verify_log(&mut |entries| done.push(entries)).unwrap();
    assert_eq!(verified.checkpoint.size, 600);
    assert_eq!((verified.boots, verified.actions.as_slice()), (1, [(Action::Administered, 600)].as_slice()));
    assert!(verified.chain_failures.is_empty());
    assert_eq!(done, [256, 512, 600]);
    let (first, last) = verified.times.unwrap();
    assert!(first <= last);
}

#[tokio::test]
async fn files_of_the_folder_that_have_no_end_are_not_read() {
    let (_world, path) = log_of(notes(600)).await;
    for name in ["tile/0/000", "tile/0/002.p/88", "tile/entries/000", "tile/entries/002.p/88", "checkpoint"] {
        let file = path.join(name);
        let whole = std::fs::read(&file).unwrap();
        // As long as a file can be, without a block on the disk.
        std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
        let error = verify(&path).unwrap_err();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        assert!(text.contains(name) && text.contains("more than the"), "{name}: {text}");
        std::fs::remove_file(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        let error = verify(&path).unwrap_err();
        let VerifyError::Tile(TileError::Io { source, .. }) = &error else { panic!("{name}: {error}") };
        assert_eq!(source.to_string(), "it is not a file", "{name}");
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, whole).unwrap();
    }
    verify(&path).unwrap();
}

#[tokio::test]
async fn p5_a_changed_byte_anywhere_is_found_and_its_place_named() {
    let (_world, path) = log_of(notes(600)).await;
    let mut tried = 0;
    for file in files(&path.join("tile")) {
        let whole = std::fs::read(&file).unwrap();
        let name = file.strip_prefix(&path).unwrap().to_str().unwrap();
        for at in (0..whole.len()).step_by(whole.len().div_ceil(23)).chain([whole.len() - 1]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&file, bytes).unwrap();
            let error = verify(&path).unwrap_err();
            let (tile, byte) = match &error {
                VerifyError::EntryChanged { tile, byte, expected, found, .. } => {
                    assert_ne!(expected, found);
                    (tile, *byte)
                }
                VerifyError::TileChanged { tile, byte, expected, found } => {
                    assert_ne!(expected, found);
                    (tile, *byte)
                }
                // A length was changed.
                VerifyError::Bundle { tile, byte, .. } => (tile, (*byte).min(at)),
                other => panic!("{name} at {at}: {other}"),
            };
            assert_eq!(tile.to_string(), name, "{error}");
            assert!(byte <= at, "{name} at {at}: {error}");
            if name.starts_with("tile/entries") && !matches!(error, VerifyError::Bundle { .. }) {
                let length: usize = leaves(&whole[byte..]).next().unwrap().unwrap().len();
                assert!(at < byte + 2 + length || whole[byte..].len() < length, "{name} at {at}: {error}");
            }
            tried += 1;
        }
        std::fs::write(&file, &whole[1..]).unwrap();
        assert!(verify(&path).is_err());
        std::fs::write(&file, [whole.as_slice(), &[0, 0]].concat()).unwrap();
        assert!(verify(&path).is_err());
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(verify(&path), Err(VerifyError::Tile(_) | VerifyError::Prove(_))), "{name}");
        std::fs::write(&file, &whole).unwrap();
    }
    assert!(tried > 100);
    verify(&path).unwrap();
}

#[tokio::test]
async fn p5_a_log_rewritten_whole_is_not_the_signed_one() {
    let (_world, path) = log_of(notes(300)).await;
    let mut rewritten = all_leaves(&path);
    rewritten[7] = String::from_utf8(rewritten[7].clone()).unwrap().replace("\"7\"", "\"8\"").into_bytes();
    forge(&path, &rewritten, false);
    assert!(matches!(verify(&path), Err(VerifyError::Root { size: 300, .. })));
}

#[tokio::test]
async fn p5_whoever_holds_the_signing_key_cannot_drop_change_or_reorder_an_entry_unnoticed() {
    let (_world, path) = log_of(notes(300)).await;
    let earlier = TileFolder::open(&path).checkpoint().unwrap().unwrap();
    let honest = all_leaves(&path);

    let mut dropped = honest.clone();
    dropped.drain(100..103);
    dropped.extend(std::iter::repeat_n(honest[299].clone(), 3));
    forge(&path, &dropped, true);
    let error = verify(&path).unwrap_err();
    let boot = BootId([1; 16]).to_string();
    assert!(
        matches!(&error, VerifyError::Missing { boot: of, first: 100, last: 102, index: 100 } if *of == boot),
        "{error}"
    );
    assert!(matches!(read(&path).unwrap().verify_growth(&earlier), Err(VerifyError::Growth { .. })));

    let mut changed = honest.clone();
    let mut entry = Entry::from_leaf(&changed[100]).unwrap();
    entry.draft = note("nothing happened");
    changed[100] = entry.leaf().unwrap();
    forge(&path, &changed, true);
    assert!(matches!(verify(&path), Err(VerifyError::Chain { index: 101, .. })));

    let mut swapped = honest.clone();
    swapped.swap(100, 101);
    forge(&path, &swapped, true);
    assert!(matches!(verify(&path), Err(VerifyError::Missing { first: 100, last: 100, index: 100, .. })));

    let mut added = honest.clone();
    added.insert(101, honest[100].clone());
    forge(&path, &added, true);
    assert!(matches!(verify(&path), Err(VerifyError::Repeated { index: 101, .. })));

    forge(&path, &honest[..200], true);
    assert!(matches!(
        read(&path).unwrap().verify_growth(&earlier),
        Err(VerifyError::Shrunk { from: 300, to: 200 })
    ));

    let garbage = [honest.clone(), vec![b"not an entry".to_vec()]].concat();
    forge(&path, &garbage, true);
    assert!(matches!(verify(&path), Err(VerifyError::Leaf { index: 300, .. })));
}

#[tokio::test]
async fn p5_one_entry_is_proved_by_index_or_id() {
    let (_world, path) = log_of(notes(300)).await;
    let log = read(&path).unwrap();
    for index in [0, 255, 256, 299] {
        let included = log.verify_entry(Which::Index(index)).unwrap();
        let id = EntryId { boot: BootId([1; 16]), sequence: index };
        assert_eq!((included.found.index, included.found.entry.id), (index, id));
        let same = log.verify_entry(Which::Id(id)).unwrap();
        assert_eq!((same.hash, same.proof), (included.hash, included.proof));
    }
    let none = EntryId { boot: BootId([9; 16]), sequence: 0 };
    for which in [Which::Index(300), Which::Id(none)] {
        assert!(matches!(log.verify_entry(which), Err(VerifyError::NoSuchEntry { size: 300, .. })));
    }
    let file = path.join("tile/entries/001.p/44");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(log.verify_entry(Which::Index(299)).is_err());
}

#[tokio::test]
async fn p5_growth_between_two_checkpoints_is_proved_also_when_partial_tiles_are_gone() {
    let world = World::new().await;
    let path = world.folder.path().join("tiles");
    let folder = Arc::new(TileFolder::create(&path).unwrap());
    let row: Arc<dyn Checkpoints> = Arc::new(MemoryCheckpoints::default());
    let mut shown = Vec::new();
    for size in [40, 200, 256, 300, 700] {
        let before = shown.len();
        let size_before = [0, 40, 200, 256, 300][before];
        world.log.append_all(notes(size - size_before)).await.unwrap();
        sequence(&world.store, &row, &folder, SUITE, size as u64).await.unwrap();
        shown.push(folder.checkpoint().unwrap().unwrap());
    }
    assert!(!path.join("tile/entries/000.p").exists());
    for later in 0..shown.len() {
        let key = signer(SUITE).verifier().clone();
        let log = LogReader::under(TileFolder::open(&path), key, &shown[later]).unwrap();
        assert!(log.verify_log(&mut |_| {}).unwrap().chain_failures.is_empty());
        for earlier in &shown[..=later] {
            log.verify_growth(earlier).unwrap();
        }
    }
    let stranger =
        Checkpoint { origin: signer(SUITE).verifier().name().to_owned(), size: 40, root: Hash([9; 32]) };
    let forged = stranger.signed(&signer(SUITE)).unwrap();
    let error = read(&path).unwrap().verify_growth(&forged).unwrap_err();
    assert!(matches!(error, VerifyError::Growth { from: 40, to: 700, .. }), "{error}");
}

#[tokio::test]
async fn a_folder_without_a_checkpoint_or_of_another_key_is_refused() {
    let (world, path) = log_of(notes(3)).await;
    let stranger =
        shuniu_ledger::note::NoteSigner::new(SUITE, signer(SUITE).verifier().name(), &[8; 32]).unwrap();
    let opened = LogReader::open(TileFolder::open(&path), stranger.verifier().clone());
    assert!(matches!(opened, Err(VerifyError::Checkpoint(_))));
    let empty = world.folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(matches!(read(&empty), Err(VerifyError::NoCheckpoint)));
}

fn hall() -> Actor {
    let organisation = Uscc::parse("11100000000013338W").unwrap();
    Actor::system(Some(organisation), SystemId::parse("hall-yuzhong").unwrap(), "0a")
}

fn population() -> ResourceName {
    ResourceName::parse("population").unwrap()
}

fn published(first: i64, subjects: &[(i64, SubjectMac)]) -> Draft {
    let mut listed = Subjects::new(2026);
    subjects.iter().for_each(|(offset, mac)| listed.push(0, *offset, *mac));
    let publication = Publication {
        resource: population(),
        topic: TopicId([5; 16]),
        schemas: vec![1],
        ranges: OffsetRange::dense(0, first, first + 9).into_iter().collect(),
        subjects: listed,
        bytes: 10,
        sha256: [1; 32],
    };
    Draft::published(hall(), publication)
}

fn delivered(grant: &str, topic: u8, offsets: &[i64]) -> Draft {
    let delivery = Delivery {
        resource: population(),
        topic: TopicId([topic; 16]),
        grant: GrantId::parse(grant).unwrap(),
        view: ViewDigest([3; 32]),
        mode: Mode::Subscribe,
        schemas: vec![2],
        items: vec![ItemName::parse("id_no").unwrap()],
        ranges: OffsetRange::of(0, offsets.iter().copied()),
        bytes: 5,
        sha256: [4; 32],
        purpose: "registration".to_owned(),
    };
    Draft::delivered(hall(), delivery)
}

fn acknowledged(grant: &str, first: i64, last: i64) -> Draft {
    let acknowledgement = Acknowledgement {
        resource: population(),
        topic: TopicId([5; 16]),
        grant: GrantId::parse(grant).unwrap(),
        group: "g".to_owned(),
        ranges: OffsetRange::dense(0, first, last).into_iter().collect(),
    };
    Draft::acknowledged(hall(), acknowledgement)
}

#[tokio::test]
async fn a_trace_names_each_delivery_that_covers_the_subject_and_no_other() {
    let key = SubjectKey::new(2026, &[3; 32]);
    let (wanted, other) = (key.mac(b"11010519491231002X"), key.mac(b"440524188001010014"));
    let drafts = vec![
        // Read by a consumer before its publication is on the log.
        delivered("early", 5, &[12]),
        published(0, &[(1, other), (4, wanted)]),
        published(10, &[(12, wanted), (13, other)]),
        delivered("all", 5, &(0..20).collect::<Vec<_>>()),
        delivered("others", 5, &[1, 3, 5, 13]),
        delivered("one", 5, &[3, 4, 5]),
        // The same offsets of a topic that was made anew.
        delivered("anew", 6, &[4, 12]),
        acknowledged("all", 0, 10),
        acknowledged("one", 0, 3),
        acknowledged("all", 11, 19),
    ];
    let (_world, path) = log_of(drafts).await;
    let trace = read(&path).unwrap().trace(&[wanted]).unwrap();
    assert_eq!(trace.places.iter().map(|place| place.offset).collect::<Vec<_>>(), [4, 12]);
    assert_eq!(trace.named.iter().map(|found| found.index).collect::<Vec<_>>(), [1, 2]);
    let told: Vec<_> = trace
        .deliveries
        .iter()
        .map(|delivery| {
            let grant = delivery.found.entry.draft.grant.as_ref().unwrap().to_string();
            (grant, delivery.places.len(), delivery.is_acknowledged())
        })
        .collect();
    let expected = [("early", 1, false), ("all", 2, true), ("one", 1, false)];
    assert_eq!(told, expected.map(|(grant, places, acknowledged)| (grant.to_owned(), places, acknowledged)));
    assert!(read(&path).unwrap().trace(&[key.mac(b"nobody")]).unwrap().deliveries.is_empty());
}

#[tokio::test]
async fn a_search_finds_what_is_asked_for_and_an_export_hands_the_leaves_out_as_they_are() {
    let key = SubjectKey::new(2026, &[3; 32]);
    let drafts = vec![
        published(0, &[(1, key.mac(b"a"))]),
        delivered("one", 5, &[1]),
        delivered("two", 5, &[1]),
        refusal("fetch population", 1),
        note("other"),
    ];
    let (_world, path) = log_of(drafts).await;
    let log = read(&path).unwrap();
    let find = |search: Search| log.search(&search).map(|found| found.unwrap().index).collect::<Vec<_>>();
    let all = || log.entries(0).map(|found| found.unwrap());
    let organisation = Uscc::parse("11100000000013338W").ok();
    assert_eq!(find(Search { organisation, ..Search::default() }), [0, 1, 2]);
    assert_eq!(find(Search { system: SystemId::parse("other").ok(), ..Search::default() }), [] as [u64; 0]);
    assert_eq!(find(Search { resource: Some(population()), ..Search::default() }), [0, 1, 2]);
    assert_eq!(find(Search { grant: GrantId::parse("two").ok(), ..Search::default() }), [2]);
    assert_eq!(find(Search { action: Some(Action::Delivered), ..Search::default() }), [1, 2]);
    assert_eq!(find(Search { outcome: Some(Outcome::Refused), ..Search::default() }), [3]);
    assert_eq!(find(Search { subject: vec![key.mac(b"a")], ..Search::default() }), [0]);
    let times: Vec<Timestamp> = all().map(|found| found.entry.time).collect();
    let until = Some(times[4].plus_micros(1));
    assert_eq!(find(Search { until, ..Search::default() }).len(), 5);
    assert_eq!(find(Search { from: until, ..Search::default() }).len(), 0);

    let mut out = Vec::new();
    let search = Search { action: Some(Action::Delivered), ..Search::default() };
    assert_eq!(log.export(&search, &mut out).unwrap(), 2);
    let lines: Vec<_> = std::str::from_utf8(&out).unwrap().lines().collect();
    let second = all().nth(2).unwrap();
    assert_eq!(lines[1], format!("{{\"index\":2,\"entry\":{}}}", String::from_utf8(second.leaf).unwrap()));
    assert_eq!(log.entries(3).map(|found| found.unwrap().index).collect::<Vec<_>>(), [3, 4]);
}
