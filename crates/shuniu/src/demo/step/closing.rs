//! The end: the score, and a hub to play with.

use super::super::DemoError;
use super::super::stage::Stage;

pub(in crate::demo) async fn run(mut stage: Stage, once: bool) -> Result<Vec<String>, DemoError> {
    let hub = stage.hub.take();
    if once {
        stage.narrator.step("The end");
        let ended = match hub {
            Some(hub) => hub.stop().await,
            None => false,
        };
        stage.narrator.check(ended, "the hub ended by itself when it was asked to");
        return Ok(stage.narrator.finish());
    }
    stage.narrator.step("Your turn");
    lines(&stage);
    let broken = stage.narrator.finish();
    if let Some(mut hub) = hub {
        // Whichever comes first: the person has seen enough, or the hub has ended.
        tokio::select! {
            _ = tokio::signal::ctrl_c() => { hub.stop().await; }
            _ = hub.wait() => {}
        }
    }
    Ok(broken)
}

/// Lines to paste: the hub is still there.
fn lines(stage: &Stage) {
    let say = |line: String| stage.narrator.say(line);
    let ca = stage.home.ca();
    let (ca, key) = (ca.display(), ca.join("systems/hall-yuzhong").display().to_string());
    let (kafka, api) = (stage.doors.kafka, stage.doors.api);
    say("The hub goes on until you press Ctrl-C. As hall-yuzhong, with kcat (Debian's will do):".to_owned());
    say(String::new());
    say(format!("kcat -b localhost:{kafka} -X security.protocol=ssl -X ssl.ca.location={ca}/ca.pem \\"));
    say(format!("     -X ssl.certificate.location={key}.pem -X ssl.key.location={key}.key \\"));
    say("     -C -t population -o beginning -c 3 -f '%k at offset %o: %S bytes\\n'".to_owned());
    say(String::new());
    say("and with Python (pip install 'confluent-kafka[avro,schemaregistry]'):".to_owned());
    say(String::new());
    for line in [
        "from confluent_kafka import DeserializingConsumer".to_owned(),
        "from confluent_kafka.schema_registry import SchemaRegistryClient".to_owned(),
        "from confluent_kafka.schema_registry.avro import AvroDeserializer".to_owned(),
        format!("keys = {{'ssl.ca.location': '{ca}/ca.pem', 'ssl.certificate.location': '{key}.pem', 'ssl.key.location': '{key}.key'}}"),
        format!("registry = SchemaRegistryClient({{'url': 'https://localhost:{api}/registry', **keys}})"),
        format!("consumer = DeserializingConsumer({{'bootstrap.servers': 'localhost:{kafka}', 'security.protocol': 'ssl', **keys,"),
        "    'group.id': 'play', 'auto.offset.reset': 'earliest', 'value.deserializer': AvroDeserializer(registry)})".to_owned(),
        "consumer.subscribe(['population'])".to_owned(),
        "for _ in range(5): print(consumer.poll(10).value())".to_owned(),
    ] {
        say(line);
    }
    say(String::new());
    say(format!(
        "Everything is in {}; `shuniu demo` empties it when it starts again.",
        stage.home.path("").display()
    ));
}
