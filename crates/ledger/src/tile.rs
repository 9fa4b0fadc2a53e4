//! Tiles: how a log lies in files (C2SP tlog-tiles, height 8).

use std::fmt;
use std::str::FromStr;

/// Hashes in a full tile and entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Levels that a tree of 2^64 leaves has.
const LEVELS: u8 = 8;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Leaves, each with its length as two big-endian bytes: an entry bundle.
    Entries,
    /// Hashes of a level: 0 those of the leaves, each level above that of 256 below.
    Hashes(u8),
}

/// The name of a tile; its path is its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileName {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// A text that is no tile's path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile")]
pub struct InvalidTileName;

impl TileName {
    /// The tile of that kind and index in a tree of `size` leaves, as wide as it is there; `None` when the tree does
    /// not reach it.
    #[must_use]
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let level = match kind {
            TileKind::Entries => 0,
            TileKind::Hashes(level) => level,
        };
        let nodes = if level < LEVELS { size >> (8 * u32::from(level)) } else { 0 };
        let start = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = u16::try_from(nodes.saturating_sub(start).min(u64::from(TILE_WIDTH))).ok()?;
        (width > 0).then_some(Self { kind, index, width })
    }

    /// Every tile of a tree of `size` leaves: of each level, entries first, from left to right.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        let kinds = std::iter::once(TileKind::Entries).chain((0..LEVELS).map(TileKind::Hashes));
        kinds.flat_map(move |kind| (0..).map_while(move |index| Self::in_tree(kind, index, size)))
    }

    /// What it holds.
    #[must_use]
    pub fn kind(self) -> TileKind {
        self.kind
    }

    /// Which one of its level, from 0.
    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many entries or hashes it holds, 1 to 256.
    #[must_use]
    pub fn width(self) -> u16 {
        self.width
    }

    /// Whether it is full and so never grows.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile that a partial one grows into.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// The index of the tile's first entry or hash on its level.
    #[must_use]
    pub fn first(self) -> u64 {
        self.index.saturating_mul(u64::from(TILE_WIDTH))
    }
}

impl fmt::Display for TileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("tile/entries")?,
            TileKind::Hashes(level) => write!(f, "tile/{level}")?,
        }
        // Three digits an element; all but the last are marked with an x.
        let mut elements = vec![self.index % 1_000];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            elements.push(rest % 1_000);
            rest /= 1_000;
        }
        for (place, element) in elements.iter().enumerate().rev() {
            let mark = if place > 0 { "x" } else { "" };
            write!(f, "/{mark}{element:03}")?;
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TileName {
    type Err = InvalidTileName;
    fn from_str(path: &str) -> Result<Self, InvalidTileName> {
        let rest = path.strip_prefix("tile/").ok_or(InvalidTileName)?;
        let (kind, rest) = rest.split_once('/').ok_or(InvalidTileName)?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().map_err(|_| InvalidTileName)?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().map_err(|_| InvalidTileName)?),
            None => (rest, TILE_WIDTH),
        };
        let mut number = 0_u64;
        for element in index.split('/') {
            let digits = element.strip_prefix('x').unwrap_or(element);
            let digits: u64 = digits.parse().map_err(|_| InvalidTileName)?;
            number = number.checked_mul(1_000).and_then(|n| n.checked_add(digits)).ok_or(InvalidTileName)?;
        }
        let name = Self { kind, index: number, width };
        // One tile has one path.
        if (1..=TILE_WIDTH).contains(&width) && name.to_string() == path {
            Ok(name)
        } else {
            Err(InvalidTileName)
        }
    }
}

/// A bundle that is not whole leaves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry bundle is cut at byte {at}")]
pub struct BrokenBundle {
    /// The byte where the entry begins that is not whole.
    pub at: usize,
}

/// Appends a leaf to a bundle; false, and nothing appended, when it is longer than 65,535 bytes.
#[must_use]
pub fn put_leaf(leaf: &[u8], bundle: &mut Vec<u8>) -> bool {
    let Ok(length) = u16::try_from(leaf.len()) else { return false };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf);
    true
}

/// The leaves of a bundle.
pub fn leaves(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], BrokenBundle>> {
    let mut rest = bundle;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let taken = rest.split_first_chunk::<2>().and_then(|(length, after)| {
            let length = usize::from(u16::from_be_bytes(*length));
            Some((after.get(..length)?, after.get(length..)?))
        });
        match taken {
            Some((leaf, after)) => {
                rest = after;
                Some(Ok(leaf))
            }
            None => {
                let at = bundle.len() - rest.len();
                rest = &[];
                Some(Err(BrokenBundle { at }))
            }
        }
    })
}
