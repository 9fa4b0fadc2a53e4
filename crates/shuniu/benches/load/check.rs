//! A checksum over a table: the sum of a hash of each row, whatever their order. What the rows should be is made here from
//! the register, without the hub's or the sink's code.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use jiff::ToSpan as _;
use jiff::civil::date;
use shuniu_tests::register::{ETHNIC, HUKOU_DIVISION, Person};

fn hash(row: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(row);
    hasher.finish()
}

/// Of the rows in a file that COPY wrote.
pub(crate) fn of_file(path: &Path) -> u64 {
    let mut lines = BufReader::with_capacity(1 << 20, File::open(path).unwrap());
    let (mut sum, mut line) = (0_u64, Vec::new());
    while lines.read_until(b'\n', &mut line).unwrap() > 0 {
        sum = sum.wrapping_add(hash(line.trim_ascii_end()));
        line.clear();
    }
    sum
}

/// Of what the consumer should hold.
pub(crate) fn expected(people: usize) -> u64 {
    (0..people).map(|n| hash(row(&Person::new(n)).as_bytes())).fold(0, u64::wrapping_add)
}

/// A person as COPY writes the row: the sink's own two columns, then the eight items of the view, the name masked.
fn row(person: &Person) -> String {
    let mut name = person.name.chars();
    let masked: String = name.next().into_iter().chain(name.map(|_| '*')).collect();
    let born = date(1970, 1, 1) + person.birth_date.days();
    let address = person.live_addr.replace('\\', r"\\");
    let id_no = &person.id_no;
    let items = [
        id_no,
        id_no,
        &masked,
        person.sex,
        ETHNIC,
        &born.to_string(),
        HUKOU_DIVISION,
        &person.live_division,
        &address,
    ];
    let [key, rest @ ..] = items;
    format!("{key}\t1\t{}", rest.join("\t"))
}
