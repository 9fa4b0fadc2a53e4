//! The walk over a request body that makes it safe to decode: every length and count fits the bytes that are left.

use super::FrameError;
use super::layout::{Field, Kind, Layout};

/// Tagged fields that no version knows are kept by the decoder, each in a map: more than this is nobody's.
const TAGGED_FIELDS_MAX: u32 = 16;

/// Elements of all arrays, and tagged fields, in one body. An element of three bytes takes a hundred and more once
/// decoded, so bytes alone are no bound on memory.
pub(super) const ELEMENTS_MAX: usize = 1 << 15;

/// Checks a body against its layout. After `Ok`, decoding allocates little more than the body and consumes all of it.
pub(super) fn check(layout: &Layout, version: i16, body: &[u8]) -> Result<(), FrameError> {
    let mut cursor = Cursor::new(layout.name, body);
    cursor.refused_tags = layout.refused_tags;
    cursor.whole(layout, version)
}

/// Elements of one response of a broker of the hub's own cluster. Metadata of many topics has one for each replica.
const RESPONSE_ELEMENTS_MAX: usize = 1 << 20;

/// As [`check`], for a response.
pub(super) fn check_response(layout: &Layout, version: i16, body: &[u8]) -> Result<(), FrameError> {
    let mut cursor = Cursor::new(layout.name, body);
    cursor.elements_left = RESPONSE_ELEMENTS_MAX;
    cursor.whole(layout, version)
}

/// Checks the header before a response's body, which stays unread.
pub(super) fn check_response_header(version: i16, frame: &[u8]) -> Result<(), FrameError> {
    let mut cursor = Cursor::new("header", frame);
    cursor.take("correlation_id", 4)?;
    if version >= 1 { cursor.tagged_fields(&[], 0) } else { Ok(()) }
}

/// What is left of a body.
pub(super) struct Cursor<'a> {
    api: &'static str,
    rest: &'a [u8],
    elements_left: usize,
    refused_tags: &'static [u32],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(api: &'static str, bytes: &'a [u8]) -> Self {
        Self { api, rest: bytes, elements_left: ELEMENTS_MAX, refused_tags: &[] }
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// A nullable string with a length of two bytes.
    pub(super) fn string(
        &mut self,
        field: &'static str,
        bytes_max: usize,
    ) -> Result<Option<&'a [u8]>, FrameError> {
        let length = i64::from(i16::from_be_bytes(self.take_array(field)?));
        self.sized(field, length, bytes_max)
    }

    /// The tagged fields at the end of a flexible structure.
    pub(super) fn tagged_fields(&mut self, known: &[Field], version: i16) -> Result<(), FrameError> {
        const FIELD: &str = "tagged fields";
        let count = self.unsigned_varint(FIELD)?;
        if count > TAGGED_FIELDS_MAX {
            return Err(self.count(FIELD, i64::from(count)));
        }
        self.spend(FIELD, i64::from(count))?;
        for _ in 0..count {
            let tag = self.unsigned_varint(FIELD)?;
            // The decoder keeps the number as an i32, and a negative one would be lost when it is written again.
            if self.refused_tags.contains(&tag) || i32::try_from(tag).is_err() {
                return Err(FrameError::Tag { api: self.api, tag });
            }
            let size = self.unsigned_varint(FIELD)?;
            let before = self.rest.len();
            match known.iter().find(|field| field.tag == Some(tag) && field.is_in(version)) {
                // The decoder reads a field that it knows by its own lengths: they must come to the stated size.
                Some(field) => {
                    self.field(field, version, true)?;
                    if usize::try_from(size).ok() != Some(before - self.rest.len()) {
                        return Err(self.count(field.name, i64::from(size)));
                    }
                }
                None => drop(self.sized(FIELD, i64::from(size), usize::MAX)?),
            }
        }
        Ok(())
    }

    /// A body and nothing behind it.
    fn whole(&mut self, layout: &Layout, version: i16) -> Result<(), FrameError> {
        self.fields(layout.fields, version, version >= layout.flexible_from)?;
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(FrameError::Trailing { api: layout.name, bytes: self.rest.len() })
    }

    fn fields(&mut self, fields: &[Field], version: i16, flexible: bool) -> Result<(), FrameError> {
        for field in fields.iter().filter(|field| field.tag.is_none() && field.is_in(version)) {
            self.field(field, version, flexible)?;
        }
        if flexible { self.tagged_fields(fields, version) } else { Ok(()) }
    }

    fn field(&mut self, field: &Field, version: i16, flexible: bool) -> Result<(), FrameError> {
        let name = field.name;
        match field.kind {
            Kind::Fixed(bytes) => self.take(name, bytes).map(drop),
            Kind::String { nullable } => {
                let length = if flexible {
                    i64::from(self.unsigned_varint(name)?) - 1
                } else {
                    i64::from(i16::from_be_bytes(self.take_array(name)?))
                };
                self.length_allowed(name, length, nullable)?;
                self.sized(name, length, usize::MAX).map(drop)
            }
            Kind::Bytes { nullable } => {
                let length = self.array_length(name, flexible)?;
                self.length_allowed(name, length, nullable)?;
                self.sized(name, length, usize::MAX).map(drop)
            }
            Kind::Struct(fields) => self.fields(fields, version, flexible),
            Kind::StructOrNull(fields) => match i8::from_be_bytes(self.take_array(name)?) {
                1 => self.fields(fields, version, flexible),
                -1 => Ok(()),
                other => Err(self.count(name, other.into())),
            },
            Kind::Array { nullable, of } => {
                let count = self.array_length(name, flexible)?;
                self.length_allowed(name, count, nullable)?;
                self.elements_fit(name, count, of.bytes_min(version, flexible))?;
                self.spend(name, count)?;
                for _ in 0..count.max(0) {
                    match of {
                        super::layout::Element::Fixed(bytes) => drop(self.take(name, bytes)?),
                        super::layout::Element::String => {
                            let kind = Kind::String { nullable: false };
                            let element = Field { name, from: 0, to: i16::MAX, kind, tag: None };
                            self.field(&element, version, flexible)?;
                        }
                        super::layout::Element::Struct(fields) => self.fields(fields, version, flexible)?,
                    }
                }
                Ok(())
            }
        }
    }

    /// A null is allowed only where the field can be null.
    fn length_allowed(&self, field: &'static str, length: i64, nullable: bool) -> Result<(), FrameError> {
        if length >= 0 || (length == -1 && nullable) { Ok(()) } else { Err(self.count(field, length)) }
    }

    fn elements_fit(&self, field: &'static str, count: i64, bytes_min: usize) -> Result<(), FrameError> {
        let fits = usize::try_from(count.max(0))
            .ok()
            .and_then(|count| count.checked_mul(bytes_min))
            .is_some_and(|bytes| bytes <= self.rest.len());
        if fits { Ok(()) } else { Err(self.count(field, count)) }
    }

    /// Takes elements out of what the body may have in all.
    fn spend(&mut self, field: &'static str, count: i64) -> Result<(), FrameError> {
        let left = usize::try_from(count.max(0)).ok().and_then(|count| self.elements_left.checked_sub(count));
        self.elements_left = left.ok_or(self.count(field, count))?;
        Ok(())
    }

    fn array_length(&mut self, field: &'static str, flexible: bool) -> Result<i64, FrameError> {
        if flexible {
            return Ok(i64::from(self.unsigned_varint(field)?) - 1);
        }
        Ok(i64::from(i32::from_be_bytes(self.take_array(field)?)))
    }

    fn sized(
        &mut self,
        field: &'static str,
        length: i64,
        bytes_max: usize,
    ) -> Result<Option<&'a [u8]>, FrameError> {
        if length == -1 {
            return Ok(None);
        }
        let claimed = usize::try_from(length)
            .ok()
            .filter(|claimed| *claimed <= bytes_max && *claimed <= self.rest.len());
        let claimed = claimed.ok_or(self.count(field, length))?;
        self.take(field, claimed).map(Some)
    }

    fn take(&mut self, field: &'static str, bytes: usize) -> Result<&'a [u8], FrameError> {
        let (head, rest) =
            self.rest.split_at_checked(bytes).ok_or(FrameError::Cut { api: self.api, field })?;
        self.rest = rest;
        Ok(head)
    }

    fn take_array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FrameError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(FrameError::Cut { api: self.api, field })?;
        self.rest = rest;
        Ok(*head)
    }

    /// An unsigned varint of at most five bytes.
    fn unsigned_varint(&mut self, field: &'static str) -> Result<u32, FrameError> {
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take_array(field)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value)
                    .map_err(|_| self.count(field, i64::try_from(value).unwrap_or(i64::MAX)));
            }
        }
        Err(FrameError::Cut { api: self.api, field })
    }

    fn count(&self, field: &'static str, claimed: i64) -> FrameError {
        FrameError::Count { api: self.api, field, claimed }
    }
}
