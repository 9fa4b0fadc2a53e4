"""The program of tests/clients/README.md for confluent-kafka, with its own Avro serialisers on the hub's registry."""

import argparse
import json
import os
import sys
import threading

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["version", "publish", "read", "group"])
    for name in ("bootstrap", "registry", "ca", "cert", "key", "topic", "records", "group", "client-id"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--compression", default="none")
    parser.add_argument("--isolation", default="committed")
    parser.add_argument("--protocol", default="classic")
    parser.add_argument("--from-time", type=int)
    return parser.parse_args()


def say(event, **fields):
    print(json.dumps({"event": event, **fields}, ensure_ascii=False), flush=True)


A = arguments()
FILES = {"ssl.ca.location": A.ca, "ssl.certificate.location": A.cert, "ssl.key.location": A.key}
CONTEXT = SerializationContext(A.topic, MessageField.VALUE)
COMMON = {"client.id": A.client_id or "python", "bootstrap.servers": A.bootstrap, "security.protocol": "ssl", **FILES}
if os.environ.get("CLIENT_DEBUG"):
    COMMON["debug"] = os.environ["CLIENT_DEBUG"]


def publish():
    schemas = SchemaRegistryClient({"url": A.registry, **FILES})
    latest = schemas.get_latest_version(f"{A.topic}-value").schema.schema_str
    serialise = AvroSerializer(schemas, latest, conf={"auto.register.schemas": False, "use.latest.version": True})
    producer = Producer({**COMMON, "compression.type": A.compression})

    def outcome(error, message):
        key = message.key().decode()
        if error is not None:
            say("refused", key=key, error=f"{error.name()}: {error.str()}")
        else:
            say("sent", key=key, partition=message.partition(), offset=message.offset())

    with open(A.records, encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            value = None if record["row"] is None else serialise(record["row"], CONTEXT)
            producer.produce(A.topic, key=record["key"], value=value, headers=record.get("headers"), on_delivery=outcome)
            producer.flush()


def poll(consumer, after):
    deserialise = AvroDeserializer(SchemaRegistryClient({"url": A.registry, **FILES}))
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
    while not stopped.is_set():
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            say("error", error=f"{message.error().name()}: {message.error().str()}")
            continue
        value = message.value()
        row = None if value is None else deserialise(value, CONTEXT)
        say("record", partition=message.partition(), offset=message.offset(), key=message.key().decode(), row=row)
        after(message)
    consumer.close()


def consumer(**more):
    return Consumer({**COMMON, "enable.auto.commit": False, "auto.offset.reset": "earliest",
                     "topic.metadata.refresh.interval.ms": 1000, **more})


def read():
    it = consumer(**{"group.id": f"read-{os.getpid()}", "isolation.level": f"read_{A.isolation}"})
    topic = it.list_topics(A.topic, 10).topics[A.topic]
    if topic.error is not None:
        say("error", error=f"{topic.error.name()}: {topic.error.str()}")
        sys.exit(1)
    partitions = [TopicPartition(A.topic, n, confluent_kafka.OFFSET_BEGINNING) for n in topic.partitions]
    if A.from_time is not None:
        partitions = it.offsets_for_times([TopicPartition(A.topic, one.partition, A.from_time) for one in partitions], 10)
    it.assign(partitions)
    say("started")
    poll(it, lambda _: None)


def group():
    more = {"group.protocol": "consumer"} if A.protocol == "consumer" else {}
    it = consumer(**{"group.id": A.group}, **more)

    def numbers(partitions):
        return [one.partition for one in partitions]

    it.subscribe([A.topic], on_assign=lambda _, all: say("assigned", partitions=numbers(all)),
                 on_revoke=lambda _, all: say("revoked", partitions=numbers(all)))
    poll(it, lambda message: it.commit(message, asynchronous=False))


if A.command == "version":
    say("version", version=confluent_kafka.__version__)
else:
    {"publish": publish, "read": read, "group": group}[A.command]()
