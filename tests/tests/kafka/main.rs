//! The hub's record store on a real Apache Kafka.

use shuniu_tests::{KAFKA_3, Kafka};

#[test]
fn a_cluster_loses_a_broker_and_gets_it_back() {
    let kafka = Kafka::start(3);
    kafka.kill(2);
    kafka.restart(2);
    let kafka = Kafka::start_version(KAFKA_3, 1);
    kafka.pause(1);
    kafka.resume(1);
    assert_eq!(kafka.ids().count(), 1);
}
