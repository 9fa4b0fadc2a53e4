"""The program of tests/clients/README.md for Debian's kcat: turns the contract into kcat's options and kcat's lines into
the contract's. kcat has no Avro serialiser: values are framed here, with fastavro."""

import io
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.request

import fastavro

COMMAND, REST = sys.argv[1], sys.argv[2:]
A = {"compression": "none", "isolation": "committed"} | {
    name.removeprefix("--"): value for name, value in zip(REST[::2], REST[1::2])}


def say(event, **fields):
    print(json.dumps({"event": event, **fields}, ensure_ascii=False), flush=True)


def get(path):
    context = ssl.create_default_context(cafile=A["ca"])
    context.load_cert_chain(A["cert"], A["key"])
    with urllib.request.urlopen(A["registry"] + path, context=context, timeout=10) as answer:
        return json.load(answer)


def kcat(*more):
    files = {"ssl.ca.location": A["ca"], "ssl.certificate.location": A["cert"], "ssl.key.location": A["key"]}
    settings = {"client.id": A.get("client-id", "kcat"), "security.protocol": "ssl", "topic.metadata.refresh.interval.ms": "1000", **files}
    options = [word for name, value in settings.items() for word in ("-X", f"{name}={value}")]
    if os.environ.get("CLIENT_DEBUG"):
        options += ["-d", os.environ["CLIENT_DEBUG"]]
    # The test runner puts its own librdkafka before Debian's.
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    return ["kcat", "-b", A["bootstrap"], *options, *more], environment


def publish():
    latest = get(f"/subjects/{A['topic']}-value/versions/latest")
    schema = fastavro.parse_schema(json.loads(latest["schema"]))
    with open(A["records"], encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            framed = io.BytesIO()
            if record["row"] is not None:
                framed.write(b"\0" + latest["id"].to_bytes(4, "big"))
                fastavro.schemaless_writer(framed, schema, record["row"])
            headers = [word for name, text in record.get("headers", {}).items() for word in ("-H", f"{name}={text}")]
            with tempfile.NamedTemporaryFile() as value:
                value.write(framed.getvalue())
                value.flush()
                words, environment = kcat("-P", "-t", A["topic"], "-k", record["key"], "-X", f"compression.codec={A['compression']}",
                                          *headers, value.name)
                sent = None
                # kcat makes a deletion of a line with a key and nothing behind it (-Z).
                if record["row"] is None:
                    words, environment = kcat("-P", "-t", A["topic"], "-K", ":", "-Z", *headers)
                    sent = record["key"] + ":\n"
                ended = subprocess.run(words, env=environment, capture_output=True, text=True, input=sent)
            if ended.returncode == 0 and "failed" not in ended.stderr:
                say("sent", key=record["key"])
            else:
                say("refused", key=record["key"], error=ended.stderr.strip())


SCHEMAS = {}


def row(value):
    if value is None:
        return None
    number = int.from_bytes(value[1:5], "big")
    if number not in SCHEMAS:
        SCHEMAS[number] = fastavro.parse_schema(json.loads(get(f"/schemas/ids/{number}")["schema"]))
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), SCHEMAS[number])


def exactly(stream, length):
    return stream.read(length) if length > 0 else b""


def records(stream):
    """Of `-f '%p %o %K %S\\n%k%s\\n'`: a line of numbers, then key and value as bytes. A value of length -1 is none."""
    for line in stream:
        if not line.startswith(b"@"):
            continue
        partition, offset, key, value = map(int, line[1:].split())
        name = exactly(stream, key).decode()
        body = exactly(stream, value)
        stream.read(1)
        say("record", partition=partition, offset=offset, key=name, row=None if value < 0 else row(body))


def errors(stream):
    for line in map(str.strip, stream):
        assigned = re.search(r"rebalanced \(memberid .*\): (assigned|revoked): ?(.*)", line)
        if assigned:
            numbers = [int(number) for number in re.findall(r"\[(\d+)\]", assigned[2])]
            say(assigned[1], partitions=numbers)
        elif "ERROR" in line:
            say("error", error=line)
        else:
            print(line, file=sys.stderr)


def run(*more):
    words, environment = kcat(*more, "-u", "-f", "@%p %o %K %S\n%k%s\n")
    process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    # An interrupt lets kcat commit and leave its group.
    threading.Thread(target=lambda: (sys.stdin.read(), process.terminate()), daemon=True).start()
    said = threading.Thread(target=errors, args=(io.TextIOWrapper(process.stderr),), daemon=True)
    said.start()
    records(process.stdout)
    process.wait()
    said.join()
    sys.exit(process.returncode if process.returncode > 0 else 0)


def read():
    begin = f"s@{A['from-time']}" if "from-time" in A else "beginning"
    run("-C", "-t", A["topic"], "-o", begin, "-X", f"isolation.level=read_{A['isolation']}")


def group():
    run("-G", A["group"], "-X", "auto.offset.reset=earliest", "-X", "auto.commit.interval.ms=100", A["topic"])


if COMMAND == "version":
    told = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout
    say("version", version=re.search(r"librdkafka ([0-9.]+)", told)[1])
else:
    {"publish": publish, "read": read, "group": group}[COMMAND]()
