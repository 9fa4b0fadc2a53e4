//! The connectors that are shipped.

use std::path::Path;

use shuniu_connector::Connector;

#[test]
fn every_shipped_connector_fits_its_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors");
    let mut connectors = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let loaded = Connector::load(&path).map(drop);
        assert!(loaded.is_ok(), "{}: {loaded:?}", path.display());
        connectors += 1;
    }
    assert!(connectors >= 16);
}
