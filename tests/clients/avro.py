"""Publishes and consumes with confluent-kafka's own Avro serialisers. Arguments: bootstrap, registry, folder of
certificates. Writes one JSON line for each consumed record."""

import json
import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

BOOTSTRAP, REGISTRY, FOLDER = sys.argv[1:4]
CONTEXT = SerializationContext("population", MessageField.VALUE)
PARTITIONS = 4


def files(system):
    return {
        "ssl.ca.location": f"{FOLDER}/ca.pem",
        "ssl.certificate.location": f"{FOLDER}/systems/{system}.pem",
        "ssl.key.location": f"{FOLDER}/systems/{system}.key",
    }


def client(system):
    return {"bootstrap.servers": BOOTSTRAP, "security.protocol": "ssl", **files(system)}


def registry(system):
    return SchemaRegistryClient({"url": REGISTRY, **files(system)})


def citizen(n):
    body = f"50010319800101{n:03}"
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    return body + "10X98765432"[sum(int(c) * w for c, w in zip(body, weights)) % 11]


def publish():
    schemas = registry("population-register")
    latest = schemas.get_latest_version("population-value").schema.schema_str
    serialise = AvroSerializer(schemas, latest, conf={"auto.register.schemas": False})
    names = [field["name"] for field in json.loads(latest)["fields"]]
    producer = Producer({**client("population-register"), "enable.idempotence": True, "compression.type": "gzip"})
    outcomes = []

    def row(n, division):
        return dict.fromkeys(names) | {"id_no": citizen(n), "name": "欧阳修", "sex": "1", "live_division": division}

    def send(key, value, before):
        framed = None if value is None else serialise(value, CONTEXT)
        headers = {"before": b"" if before is None else serialise(before, CONTEXT)}
        producer.produce("population", key=key, value=framed, headers=headers,
                         on_delivery=lambda error, _: outcomes.append(error))
        producer.flush(20)

    for n in range(4):
        send(citizen(n), row(n, "500103"), None)
    send(citizen(1), row(1, "500105"), row(1, "500103"))
    send(citizen(2), None, row(2, "500103"))
    send("not-the-key", row(3, "500103"), row(3, "500103"))
    assert outcomes[:-1] == [None] * 6, outcomes
    assert outcomes[-1].name() == "INVALID_RECORD", outcomes


def consume(system):
    deserialise = AvroDeserializer(registry(system))
    consumer = Consumer({**client(system), "group.id": "avro", "auto.offset.reset": "earliest",
                         "enable.partition.eof": True})
    consumer.subscribe(["population"])
    ended = set()
    while len(ended) < PARTITIONS:
        message = consumer.poll(20)
        assert message is not None, "the end of the topic was not reached"
        if message.error():
            assert message.error().name() == "_PARTITION_EOF", message.error()
            ended.add(message.partition())
            continue
        value = message.value()
        print(json.dumps({"system": system, "key": message.key().decode(),
                          "value": None if value is None else deserialise(value, CONTEXT)}, ensure_ascii=False))
    consumer.close()


publish()
for name in ("hall-yuzhong", "hall-jiangbei", "bank-supervisor"):
    consume(name)
