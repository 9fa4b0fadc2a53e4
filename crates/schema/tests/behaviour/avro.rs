//! apache-avro, as the tests use it.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

/// Encodes a value of the schema.
pub(crate) fn encode(schema: &apache_avro::Schema, value: Value) -> Vec<u8> {
    GenericDatumWriter::builder(schema).build().unwrap().write_value_to_vec(value).unwrap()
}

/// Decodes one value and demands that nothing follows.
pub(crate) fn decode(schema: &apache_avro::Schema, bytes: &[u8]) -> Value {
    let mut rest = bytes;
    let value = GenericDatumReader::builder(schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "bytes follow the value");
    value
}

/// Decodes one value; `None` when it cannot or when something follows.
pub(crate) fn try_decode(schema: &apache_avro::Schema, bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = GenericDatumReader::builder(schema).build().unwrap().read_value(&mut rest).ok()?;
    rest.is_empty().then_some(value)
}

/// Decodes what was written with one schema as the other.
pub(crate) fn resolve(writer: &apache_avro::Schema, reader: &apache_avro::Schema, bytes: &[u8]) -> Value {
    let mut rest = bytes;
    let builder = GenericDatumReader::builder(writer).reader_schema(reader);
    builder.build().unwrap().read_value(&mut rest).unwrap()
}
