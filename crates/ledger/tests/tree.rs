//! The tree held against the tlog_tiles and signed_note crates, and against itself for SM3 and SM2.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its numbers are small"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;

use base64::Engine as _;
use proptest::prelude::*;
use shuniu_ledger::note::{Note, NoteSigner, NoteVerifier};
use shuniu_ledger::proof::{Tree, verify_consistency, verify_inclusion};
use shuniu_ledger::tile::{TileKind, TileName, leaves};
use shuniu_ledger::{Checkpoint, Entry, Hash, OffsetRange, SubjectRun, Suite, Tile, Tiler};
use signed_note::Verifiers as _;
use tlog_tiles::{Error, HashReader};

type Files = BTreeMap<TileName, Vec<u8>>;

/// The oracle's own store of hashes.
#[derive(Default)]
struct Oracle(RefCell<Vec<tlog_tiles::Hash>>);

impl HashReader for Oracle {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, Error> {
        Ok(indexes.iter().map(|index| self.0.borrow()[*index as usize]).collect())
    }
}

impl Oracle {
    fn push(&self, number: u64, leaf: &[u8]) {
        let hashes = tlog_tiles::stored_hashes(number, leaf, self).unwrap();
        self.0.borrow_mut().extend(hashes);
    }
}

fn leaf(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes().repeat((number % 3) as usize + 1)
}

fn keep(files: &mut Files, tiles: Vec<Tile>) {
    for tile in tiles {
        if let Some(before) = files.insert(tile.name, tile.bytes.clone()) {
            assert_eq!(before, tile.bytes, "{} changed", tile.name);
        }
    }
}

/// Every tile of the tree of `size` leaves handed in as in `splits`.
fn grow(suite: Suite, size: u64, mut splits: impl Iterator<Item = u64>) -> (Tiler, Files) {
    let mut tiler = Tiler::empty(suite);
    let mut files = Files::new();
    while tiler.size() < size {
        let until = tiler.size() + splits.next().unwrap_or(size).clamp(1, size - tiler.size());
        let mut full = Vec::new();
        while tiler.size() < until {
            tiler.push(&leaf(tiler.size()), &mut full).unwrap();
        }
        keep(&mut files, full);
        keep(&mut files, tiler.partial());
    }
    (tiler, files)
}

fn tree(suite: Suite, size: u64, files: &Files) -> Tree<impl FnMut(TileName) -> Result<Vec<u8>, Infallible>> {
    Tree::new(suite, size, |name| Ok(files[&name].clone()))
}

fn proof(hashes: &[tlog_tiles::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash(hash.0)).collect()
}

#[test]
fn roots_tiles_and_proofs_are_those_of_the_oracle() {
    for size in [1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 700, 65_536, 66_100] {
        let oracle = Oracle::default();
        (0..size).for_each(|number| oracle.push(number, &leaf(number)));
        let (tiler, files) = grow(Suite::Sha256Ed25519, size, std::iter::empty());
        let root = tlog_tiles::tree_hash(size, &oracle).unwrap();
        assert_eq!(tiler.root().0, root.0);
        assert_eq!(tree(tiler.suite(), size, &files).root().unwrap().0, root.0);
        let names: Vec<_> = TileName::all(size).collect();
        assert_eq!(names.iter().collect::<Vec<_>>(), {
            let mut held: Vec<_> = files.keys().collect();
            held.sort();
            held
        });
        for theirs in tlog_tiles::Tile::new_tiles(8, 0, size) {
            let name =
                TileName::in_tree(TileKind::Hashes(theirs.level()), theirs.level_index(), size).unwrap();
            assert_eq!(format!("tile/8/{}", &name.to_string()[5..]), theirs.path());
            assert_eq!(name.to_string().parse::<TileName>().unwrap(), name);
            assert_eq!(files[&name], theirs.read_data(&oracle).unwrap());
        }
        for index in [0, 1, size / 3, size / 2, size.saturating_sub(2), size - 1].map(|i| i.min(size - 1)) {
            let theirs = tlog_tiles::prove_record(size, index, &oracle).unwrap();
            let ours = tree(tiler.suite(), size, &files).inclusion(index).unwrap();
            assert_eq!(ours, proof(&theirs));
        }
        for earlier in
            [1, 2, size / 3, size / 2, 256, size - 1, size].into_iter().filter(|n| (1..=size).contains(n))
        {
            let theirs = tlog_tiles::prove_tree(size, earlier, &oracle).unwrap();
            let ours = tree(tiler.suite(), size, &files).consistency(earlier).unwrap();
            assert_eq!(ours, proof(&theirs), "{earlier} of {size}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// P5: tiles are a function of the leaves alone.
    #[test]
    fn p5_tiles_do_not_depend_on_how_the_leaves_were_batched(
        size in 1_u64..1_500,
        splits in proptest::collection::vec(1_u64..400, 1..20),
        sm in any::<bool>(),
    ) {
        let suite = if sm { Suite::Sm3Sm2 } else { Suite::Sha256Ed25519 };
        let (one, whole) = grow(suite, size, std::iter::empty());
        let (other, batched) = grow(suite, size, splits.into_iter());
        prop_assert_eq!(&one, &other);
        for (name, bytes) in &whole {
            prop_assert_eq!(&batched[name], bytes);
        }
        let restored = Tiler::restore(suite, size, |name| Ok::<_, Infallible>(batched[&name].clone())).unwrap();
        prop_assert_eq!(&restored, &one);
    }

    /// P5: a proof holds for its leaf, its trees and its place, and for no other.
    #[test]
    fn p5_proofs_hold_for_what_they_prove_alone(
        size in 1_u64..700,
        index in any::<prop::sample::Index>(),
        earlier in any::<prop::sample::Index>(),
        flipped in any::<prop::sample::Index>(),
        sm in any::<bool>(),
    ) {
        let suite = if sm { Suite::Sm3Sm2 } else { Suite::Sha256Ed25519 };
        let (tiler, files) = grow(suite, size, std::iter::empty());
        let root = tiler.root();
        let index = index.index(size as usize) as u64;
        let hash = suite.leaf_hash(&leaf(index));
        let mut inclusion = tree(suite, size, &files).inclusion(index).unwrap();
        prop_assert_eq!(verify_inclusion(suite, hash, index, size, root, &inclusion), Ok(()));
        prop_assert_eq!(tree(suite, size, &files).leaf_hash(index).unwrap(), hash);
        let other = suite.leaf_hash(b"forged");
        prop_assert!(verify_inclusion(suite, other, index, size, root, &inclusion).is_err());
        if size > 1 {
            prop_assert!(verify_inclusion(suite, hash, (index + 1) % size, size, root, &inclusion).is_err());
            let at = flipped.index(inclusion.len());
            inclusion[at].0[0] ^= 1;
            prop_assert!(verify_inclusion(suite, hash, index, size, root, &inclusion).is_err());
        }

        let earlier = earlier.index(size as usize) as u64 + 1;
        let (before, _) = grow(suite, earlier, std::iter::empty());
        let mut growth = tree(suite, size, &files).consistency(earlier).unwrap();
        prop_assert_eq!(verify_consistency(suite, earlier, before.root(), size, root, &growth), Ok(()));
        prop_assert!(verify_consistency(suite, earlier, other, size, root, &growth).is_err());
        prop_assert!(verify_consistency(suite, earlier, before.root(), size, other, &growth).is_err());
        if !growth.is_empty() {
            let at = flipped.index(growth.len());
            growth[at].0[31] ^= 1;
            prop_assert!(verify_consistency(suite, earlier, before.root(), size, root, &growth).is_err());
        }
    }

    #[test]
    fn p10_no_bytes_panic_what_reads_them(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in ".{0,200}") {
        drop(Entry::from_leaf(&bytes));
        prop_assert!(leaves(&bytes).count() <= bytes.len());
        for text in [text, String::from_utf8_lossy(&bytes).into_owned()] {
            drop(Note::parse(&text));
            drop(NoteVerifier::parse(&text));
            drop(NoteSigner::parse(&text));
            drop(text.parse::<TileName>());
        }
        let bitmap = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let range = format!(r#"{{"partition":0,"first":0,"last":9,"records":3,"bitmap":"{bitmap}"}}"#);
        drop(serde_json::from_str::<OffsetRange>(&range));
        let run = format!(r#"{{"partition":0,"first":0,"deltas":"{bitmap}","macs":"{bitmap}"}}"#);
        drop(serde_json::from_str::<SubjectRun>(&run));
    }

    /// A bitmap that is nearly right is the harder one.
    #[test]
    fn p10_no_changed_range_panics(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let offsets = (0..50).chain(1_000..40_000).chain((90_000..400_000).step_by(3));
        let text = serde_json::to_string(&OffsetRange::of(0, offsets)[0]).unwrap();
        let mut range: serde_json::Value = serde_json::from_str(&text).unwrap();
        let standard = base64::engine::general_purpose::STANDARD;
        let mut bitmap = standard.decode(range["bitmap"].as_str().unwrap()).unwrap();
        for (at, to) in flips {
            let at = at.index(bitmap.len().min(200));
            bitmap[at] = to;
        }
        range["bitmap"] = standard.encode(&bitmap).into();
        if let Ok(range) = serde_json::from_value::<OffsetRange>(range) {
            prop_assert_eq!(range.offsets().count() as u64, range.records());
        }
    }

    #[test]
    fn a_tile_has_one_path(path in "tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,2}[0-9]{3}(.p/[0-9]{1,3})?") {
        if let Ok(name) = path.parse::<TileName>() {
            prop_assert_eq!(name.to_string(), path);
        }
    }
}

#[test]
fn bundles_give_their_leaves_back_and_say_where_they_are_cut() {
    let (_, files) = grow(Suite::Sha256Ed25519, 300, std::iter::empty());
    let name = TileName::in_tree(TileKind::Entries, 1, 300).unwrap();
    assert_eq!(name.to_string(), "tile/entries/001.p/44");
    let bundle = &files[&name];
    let read: Vec<_> = leaves(bundle).map(|leaf| leaf.unwrap().to_vec()).collect();
    assert_eq!(read, (256..300).map(leaf).collect::<Vec<_>>());
    let cut = leaves(&bundle[..bundle.len() - 1]).last().unwrap().unwrap_err();
    assert_eq!(cut.at, bundle.len() - leaf(299).len() - 2);
}

fn checkpoint(suite: Suite) -> Checkpoint {
    Checkpoint { origin: suite.origin("hub.example"), size: 7, root: suite.leaf_hash(b"x") }
}

#[test]
fn a_checkpoint_is_read_by_the_oracle_and_signed_alike() {
    let ours = checkpoint(Suite::Sha256Ed25519);
    let key = NoteSigner::new(Suite::Sha256Ed25519, &ours.origin, &[9; 32]).unwrap();
    let note = ours.signed(&key).unwrap();

    let theirs = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let verifier = signed_note::StandardVerifier::new(&key.verifier().to_string()).unwrap();
    let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    assert!(known.verifier(&ours.origin, u32::from_be_bytes(key.verifier().key_id())).is_ok());
    theirs.verify(&known).unwrap();
    let read =
        tlog_tiles::Checkpoint::new(&ours.origin, ours.size, tlog_tiles::Hash(ours.root.0), "").unwrap();
    assert_eq!(read.to_bytes(), theirs.text());

    let signer = signed_note::StandardSigner::new(&key.private_text()).unwrap();
    let mut signed = signed_note::Note::new(ours.text().as_bytes(), &[]).unwrap();
    signed.add_sigs(&[&signer]).unwrap();
    assert_eq!(signed.to_bytes(), note.as_bytes());
}

#[test]
fn p5_a_checkpoint_is_believed_from_its_own_log_alone() {
    for suite in Suite::ALL {
        let mine = checkpoint(suite);
        let key = NoteSigner::new(suite, &mine.origin, &[9; 32]).unwrap();
        let note = mine.signed(&key).unwrap();
        let verifier = NoteVerifier::parse(&key.verifier().to_string()).unwrap();
        assert_eq!(Checkpoint::verified(&note, &verifier).unwrap(), mine);
        assert_eq!(mine.suite(), Some(suite));
        let again = NoteSigner::parse(&key.private_text()).unwrap();
        assert_eq!(mine.signed(&again).unwrap(), note);
        assert!(!format!("{key:?}").contains(&key.private_text()));

        assert!(Checkpoint::verified(&note.replace("\n7\n", "\n8\n"), &verifier).is_err());
        let stranger = NoteSigner::new(suite, &mine.origin, &[8; 32]).unwrap();
        assert!(Checkpoint::verified(&note, stranger.verifier()).is_err());
        let forged = mine.signed(&stranger).unwrap();
        assert!(Checkpoint::verified(&forged, &verifier).is_err());
        let elsewhere = Checkpoint { origin: suite.origin("other.example"), ..mine.clone() };
        assert!(Checkpoint::verified(&elsewhere.signed(&key).unwrap(), &verifier).is_err());
        assert!(NoteVerifier::parse(&key.verifier().to_string().replace("hub", "bub")).is_err());

        // A witness's line beside the log's own does not disturb it.
        let witnessed = format!("{note}{}", forged.lines().last().unwrap()) + "\n";
        assert_eq!(Note::parse(&witnessed).unwrap().signatures().len(), 2);
        assert_eq!(Checkpoint::verified(&witnessed, &verifier).unwrap(), mine);
    }
}

#[test]
fn sm3_hashes_as_the_standard_says() {
    // GB/T 32905 has the digest of "abc"; a leaf puts a zero byte before it, so the plain digest is taken of the
    // empty tree instead.
    let empty = "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b";
    assert_eq!(Suite::Sm3Sm2.empty_root().to_string(), empty);
}
