//! Requests: the header, the counts, the decoder.

use bytes::Bytes;
use shuniu_wire::messages::ApiKey;
use shuniu_wire::{RequestHeader, SERVED, decode_request, encode_request, is_api_versions, request_header};

/// Reads the bytes as a frame, and as the body of a served request that the first two bytes choose. What is read must
/// read the same once written again.
pub fn request(input: &[u8]) {
    let mut frame = Bytes::copy_from_slice(input);
    if let Ok(header) = request_header(&mut frame) {
        read(&header, frame);
    }
    let [row, version, body @ ..] = input else { return };
    let served = &SERVED[usize::from(*row) % SERVED.len()];
    let versions = served.max - served.min + 1;
    let header = RequestHeader {
        api_key: served.api as i16,
        api_version: served.min + i16::from(*version) % versions,
        correlation_id: 1,
        client_id: None,
    };
    read(&header, Bytes::copy_from_slice(body));
}

fn read(header: &RequestHeader, body: Bytes) {
    let Ok(request) = decode_request(header, body) else { return };
    assert!(!is_api_versions(header), "ApiVersions is answered without its body");
    let api = ApiKey::try_from(header.api_key).unwrap();
    assert_eq!(request.api(), api);
    let mut again = encode_request(header.api_version, 1, "", &request).unwrap().slice(4..);
    let header = request_header(&mut again).unwrap();
    let read = decode_request(&header, again).unwrap();
    assert_eq!(format!("{read:?}"), format!("{request:?}"));
}
