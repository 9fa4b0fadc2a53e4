//! Avro binary as other writers make it: arrays and maps in several blocks, with and without a size in bytes.

use apache_avro::types::Value;

use crate::avro;
use crate::kinds::{self, Kind};

/// Writes values, choosing the form of each block from a seed.
pub(crate) struct Writer {
    state: u64,
}

impl Writer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed | 1 }
    }

    fn choose(&mut self, of: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % of
    }

    pub(crate) fn put(&mut self, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
        match (kind, value) {
            (Kind::Array(inner), Value::Array(values)) => {
                let elements: Vec<Vec<u8>> = values.iter().map(|value| self.one(inner, value)).collect();
                self.blocks(elements, out);
            }
            (Kind::Map(inner), Value::Map(values)) => {
                let entries = values.iter().map(|(key, value)| {
                    let mut entry = Vec::new();
                    self.put(&Kind::Text, &Value::String(key.clone()), &mut entry);
                    self.put(inner, value, &mut entry);
                    entry
                });
                let entries = entries.collect();
                self.blocks(entries, out);
            }
            (Kind::Union(branches), Value::Union(index, value)) => {
                long(i64::from(*index), out);
                self.put(&branches[*index as usize], value, out);
            }
            (Kind::Record(kinds), Value::Record(fields)) => {
                for (kind, (_, value)) in kinds.iter().zip(fields) {
                    self.put(kind, value, out);
                }
            }
            _ => {
                let text = kinds::json(kind, &mut Vec::new()).to_string();
                out.extend(avro::encode(&apache_avro::Schema::parse_str(&text).unwrap(), value.clone()));
            }
        }
    }

    fn one(&mut self, kind: &Kind, value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(kind, value, &mut out);
        out
    }

    fn blocks(&mut self, mut elements: Vec<Vec<u8>>, out: &mut Vec<u8>) {
        while !elements.is_empty() {
            let count = 1 + self.choose(elements.len() as u64) as usize;
            let block: Vec<Vec<u8>> = elements.drain(..count).collect();
            if self.choose(2) == 0 {
                long(count as i64, out);
            } else {
                long(-(count as i64), out);
                long(block.iter().map(Vec::len).sum::<usize>() as i64, out);
            }
            block.iter().for_each(|element| out.extend(element));
        }
        long(0, out);
    }
}

fn long(value: i64, out: &mut Vec<u8>) {
    out.extend(avro::encode(&apache_avro::Schema::Long, Value::Long(value)));
}
