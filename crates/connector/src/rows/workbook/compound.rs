//! The compound file (MS-CFB) around an old workbook: its stream out of what a department delivers, and a new one around what is read of it.
//!
//! A chain of sectors may run in a circle and a table may name one sector a thousand times. Here nothing is longer than the file is.

/// What a compound file breaks.
pub(super) type Broken = &'static str;

const SIGNATURE: [u8; 8] = *b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";
/// Numbers from here on name no sector.
const SECTORS_END: u32 = 0xFFFF_FFFA;
const FAT_SECTOR: u32 = 0xFFFF_FFFD;
const CHAIN_END: u32 = 0xFFFF_FFFE;
const FREE: u32 = 0xFFFF_FFFF;
const MINI_SECTOR_BYTES: usize = 64;
/// A shorter stream stands in the mini stream.
const MINI_STREAM_BYTES: usize = 4_096;
const ENTRY_BYTES: usize = 128;
/// Sectors of the table of sectors that the header names; the others stand in sectors of their own.
const FATS_OF_HEADER: usize = 109;

/// The workbook's stream.
pub(super) fn workbook(file: &[u8]) -> Result<Vec<u8>, Broken> {
    let header = file.get(..512).filter(|header| header.starts_with(&SIGNATURE));
    let header = header.ok_or("it does not begin as an old workbook does")?;
    let sector_bytes = match u16_at(header, 30) {
        Some(9) => 512,
        Some(12) => 4_096,
        _ => return Err("its sectors have an unknown size"),
    };
    let mut sectors =
        Sectors { data: file.get(sector_bytes..).unwrap_or_default(), sector_bytes, next: Vec::new() };
    sectors.next = table(&sectors, header)?;
    let directory = sectors.chain(start(header, 48), usize::MAX)?;
    let entries = || directory.chunks_exact(ENTRY_BYTES);
    let named = |name: &str| entries().find(|entry| is_named(entry, name));
    let entry = named("workbook").or_else(|| named("book")).ok_or("it holds no workbook")?;
    // The upper half is of files with large sectors, and none is so long.
    let bytes = |entry: &[u8]| u32_at(entry, 120).map_or(0, |bytes| bytes as usize);
    if bytes(entry) >= MINI_STREAM_BYTES {
        return sectors.chain(start(entry, 116), bytes(entry));
    }
    let root = entries().next().unwrap_or_default();
    let mini_stream = sectors.chain(start(root, 116), bytes(root))?;
    let next = sectors.chain(start(header, 60), usize::MAX)?;
    let mini =
        Sectors { data: &mini_stream, sector_bytes: MINI_SECTOR_BYTES, next: numbers(&next).collect() };
    mini.chain(start(entry, 116), bytes(entry))
}

/// A compound file that holds this stream alone.
pub(super) fn wrap(mut stream: Vec<u8>) -> Result<Vec<u8>, Broken> {
    const SECTOR_BYTES: usize = 4_096;
    stream.resize(stream.len().max(MINI_STREAM_BYTES).next_multiple_of(SECTOR_BYTES), 0);
    let stream_sectors = stream.len() / SECTOR_BYTES;
    // One more for the directory, and one for each sector of the table itself.
    let fats = (stream_sectors + 1).div_ceil(SECTOR_BYTES / 4 - 1);
    if fats > FATS_OF_HEADER {
        return Err("it is too long");
    }
    let number = |number: usize| u32::try_from(number).map_err(|_| "it is too long");
    let mut file = Vec::with_capacity((2 + fats) * SECTOR_BYTES + stream.len());
    file.extend(SIGNATURE);
    file.resize(24, 0);
    // Minor and major version, byte order, sizes of sectors and mini sectors as powers of two.
    for half in [0x3e_u16, 4, 0xfffe, 12, 6] {
        file.extend(half.to_le_bytes());
    }
    file.resize(40, 0);
    let directory = number(fats)?;
    for word in [1, directory, directory, 0, 4_096, CHAIN_END, 0, CHAIN_END, 0] {
        file.extend(word.to_le_bytes());
    }
    for at in 0..FATS_OF_HEADER {
        file.extend(if at < fats { number(at)? } else { FREE }.to_le_bytes());
    }
    file.resize(SECTOR_BYTES, 0);

    let mut table = vec![FAT_SECTOR; fats];
    table.push(CHAIN_END);
    let first = fats + 1;
    for at in 1..stream_sectors {
        table.push(number(first + at)?);
    }
    table.push(CHAIN_END);
    table.resize(fats * SECTOR_BYTES / 4, FREE);
    file.extend(table.iter().flat_map(|number| number.to_le_bytes()));

    for (name, kind, child, start, bytes) in
        [("Root Entry", 5_u8, 1, 0, 0), ("Workbook", 2, FREE, number(first)?, stream.len() as u64)]
    {
        let begin = file.len();
        file.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
        file.resize(begin + 64, 0);
        file.extend(u16::try_from(2 * name.len() + 2).unwrap_or_default().to_le_bytes());
        file.extend([kind, 1]);
        file.extend([FREE, FREE, child].iter().flat_map(|number| number.to_le_bytes()));
        file.resize(begin + 116, 0);
        file.extend(start.to_le_bytes());
        file.extend(bytes.to_le_bytes());
    }
    file.resize((2 + fats) * SECTOR_BYTES, 0);
    file.append(&mut stream);
    Ok(file)
}

/// Which sector follows which. As many entries as the file has sectors are enough, however many are claimed.
fn table(sectors: &Sectors<'_>, header: &[u8]) -> Result<Vec<u32>, Broken> {
    let count = sectors.count();
    let mut ids: Vec<u32> = numbers(header.get(76..).unwrap_or_default()).collect();
    let mut following = start(header, 68);
    let mut passed = 0;
    while following < SECTORS_END {
        passed += 1;
        if passed > count {
            return Err("its tables of sectors run in a circle");
        }
        ids.extend(numbers(sectors.sector(following)?));
        following = ids.pop().unwrap_or(CHAIN_END);
        // More would name sectors twice.
        if ids.len() > count + FATS_OF_HEADER {
            return Err("its tables of sectors name more sectors than it has");
        }
    }
    let mut table = Vec::new();
    for id in ids.into_iter().filter(|id| *id < SECTORS_END) {
        if table.len() >= count {
            break;
        }
        table.extend(numbers(sectors.sector(id)?));
    }
    Ok(table)
}

struct Sectors<'a> {
    /// From the first sector on.
    data: &'a [u8],
    sector_bytes: usize,
    /// The sector after each.
    next: Vec<u32>,
}

impl Sectors<'_> {
    fn count(&self) -> usize {
        self.data.len().div_ceil(self.sector_bytes)
    }

    /// The last one may be cut short.
    fn sector(&self, id: u32) -> Result<&[u8], Broken> {
        let begin = (id as usize).saturating_mul(self.sector_bytes);
        let rest = self.data.get(begin..).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or("it names a sector behind its end")?;
        Ok(rest.get(..self.sector_bytes).unwrap_or(rest))
    }

    /// At most `bytes` of a chain.
    fn chain(&self, first: u32, bytes: usize) -> Result<Vec<u8>, Broken> {
        let (mut found, mut id, mut passed) = (Vec::new(), first, 0);
        while id != CHAIN_END && found.len() < bytes {
            passed += 1;
            if passed > self.count() {
                return Err("its sectors run in a circle");
            }
            found.extend_from_slice(self.sector(id)?);
            id = *self.next.get(id as usize).ok_or("it names a sector behind its end")?;
        }
        found.truncate(bytes);
        Ok(found)
    }
}

fn is_named(entry: &[u8], name: &str) -> bool {
    let units = entry.get(..64).unwrap_or_default().chunks_exact(2);
    let found = units.map(|unit| u16_at(unit, 0).unwrap_or_default()).take_while(|unit| *unit != 0);
    char::decode_utf16(found).map(|c| c.unwrap_or('\0').to_ascii_lowercase()).eq(name.chars())
}

/// Where a chain begins.
fn start(bytes: &[u8], at: usize) -> u32 {
    u32_at(bytes, at).unwrap_or(CHAIN_END)
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).filter_map(|four| u32_at(four, 0))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_le_bytes(*two))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}
