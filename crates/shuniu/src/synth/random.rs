//! One generator for each row.

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, RngExt as _};

/// A number that depends on all three and looks like chance: FNV-1a over the parts, spread by the generator.
pub(super) fn mix(seed: u64, what: &str, index: u64) -> u64 {
    of(seed, what, index).next_u64()
}

/// The generator of one row of one register. Its stream is documented to be the same on every platform.
pub(super) fn of(seed: u64, what: &str, index: u64) -> Xoshiro256PlusPlus {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let parts = seed.to_le_bytes().into_iter().chain(index.to_le_bytes()).chain(what.bytes());
    for byte in parts {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Xoshiro256PlusPlus::seed_from_u64(hash)
}

/// A number below `bound`, which is above zero.
pub(super) fn below(random: &mut Xoshiro256PlusPlus, bound: u32) -> u32 {
    random.random_range(0..bound.max(1))
}

/// Whether something that happens `count` times in 1,000 happens.
pub(super) fn per_mille(random: &mut Xoshiro256PlusPlus, count: u32) -> bool {
    below(random, 1_000) < count
}

/// One of the list, each as likely as the others; the default of the type for an empty list.
pub(super) fn pick<T: Copy + Default>(random: &mut Xoshiro256PlusPlus, list: &[T]) -> T {
    let bound = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let place = usize::try_from(below(random, bound)).unwrap_or_default();
    list.get(place).copied().unwrap_or_default()
}

/// One of the list, each as likely as its weight says.
pub(super) fn weighted<T: Copy + Default>(random: &mut Xoshiro256PlusPlus, list: &[(T, u32)]) -> T {
    let mut left = below(random, list.iter().map(|(_, weight)| *weight).sum());
    for (value, weight) in list {
        if left < *weight {
            return *value;
        }
        left -= weight;
    }
    T::default()
}
