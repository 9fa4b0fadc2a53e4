// The program of tests/clients/README.md for node-rdkafka.
'use strict';
const Kafka = require('node-rdkafka');
const { parse, say, sayError, die, records, frame, sayRecord, stopped } = require('./shared');

const a = parse('node-rdkafka');
const common = {
  'client.id': a['client-id'] || 'node-rdkafka', 'bootstrap.servers': a.bootstrap, 'security.protocol': 'ssl',
  'ssl.ca.location': a.ca, 'ssl.certificate.location': a.cert, 'ssl.key.location': a.key,
  ...(process.env.CLIENT_DEBUG ? { debug: process.env.CLIENT_DEBUG, 'log_level': 7 } : {}),
};

function publish() {
  const producer = new Kafka.Producer({ ...common, 'compression.type': a.compression, dr_cb: true, acks: -1 });
  producer.setPollInterval(20);
  const waiting = new Map();
  producer.on('delivery-report', (error, report) => waiting.get(report.opaque)(error, report));
  producer.on('event.error', (error) => sayError(error));
  producer.on('ready', async () => {
    const all = records(a);
    for (let n = 0; n < all.length; n += 1) {
      const record = all[n];
      const value = await frame(a, record.row);
      const headers = Object.entries(record.headers || {}).map(([name, text]) => ({ [name]: text }));
      const [error, report] = await new Promise((resolve) => {
        waiting.set(n, (...outcome) => resolve(outcome));
        producer.produce(a.topic, null, value, record.key, null, n, headers);
      });
      if (error) say('refused', { key: record.key, error: error.message });
      else say('sent', { key: record.key, partition: report.partition, offset: report.offset });
    }
    producer.disconnect(() => process.exit(0));
  });
  producer.connect({}, (error) => { if (error) die(error); });
}

function consumer(more, topicMore) {
  const it = new Kafka.KafkaConsumer(
    { ...common, 'enable.auto.commit': false, 'topic.metadata.refresh.interval.ms': 1000, ...more },
    { 'auto.offset.reset': 'earliest', ...topicMore },
  );
  it.on('event.error', sayError);
  // A refused topic is a warning to this client.
  it.on('warning', sayError);
  it.on('event.log', (log) => process.env.CLIENT_DEBUG && process.stderr.write(`${log.message}\n`));
  return it;
}

function flow(it, after) {
  it.setDefaultConsumeTimeout(200);
  let chain = Promise.resolve();
  it.consume((error, message) => {
    if (error) sayError(error);
    else {
      chain = chain.then(() => sayRecord(a, message.partition, message.offset, message.key, message.value)).then(() => after(message)).catch(die);
    }
  });
  stopped(() => chain.then(() => it.disconnect(() => process.exit(0))));
}

function read() {
  const isolation = a.isolation === 'uncommitted' ? 'read_uncommitted' : 'read_committed';
  const it = consumer({ 'group.id': `read-${process.pid}`, 'isolation.level': isolation });
  it.on('ready', () => it.getMetadata({ topic: a.topic, timeout: 10000 }, (refused, metadata) => {
    if (refused) sayError(refused);
    const topic = metadata && metadata.topics.find(({ name }) => name === a.topic);
    if (!topic || topic.partitions.length === 0) {
      // The client says what is wrong with a topic only to who subscribes to it.
      it.subscribe([a.topic]);
      flow(it, () => {});
      return;
    }
    const all = topic.partitions.map(({ id }) => ({ topic: a.topic, partition: id, offset: 0 }));
    const begin = (from) => {
      it.assign(from);
      flow(it, () => {});
      say('started');
    };
    if (a['from-time'] === undefined) begin(all);
    else {
      it.offsetsForTimes(all.map((one) => ({ ...one, offset: Number(a['from-time']) })), 10000, (error, from) => {
        if (error) die(error);
        else begin(from);
      });
    }
  }));
  it.connect({}, (error) => { if (error) die(error); });
}

function group() {
  const it = consumer({
    'group.id': a.group,
    ...(a.protocol === 'consumer' ? { 'group.protocol': 'consumer' } : {}),
    rebalance_cb(error, partitions) {
      const named = { partitions: partitions.map(({ partition }) => partition) };
      if (error.code === Kafka.CODES.ERRORS.ERR__ASSIGN_PARTITIONS) {
        say('assigned', named);
        if (it.rebalanceProtocol() === 'COOPERATIVE') it.incrementalAssign(partitions);
        else it.assign(partitions);
      } else {
        say('revoked', named);
        if (it.rebalanceProtocol() === 'COOPERATIVE') it.incrementalUnassign(partitions);
        else it.unassign();
      }
    },
  });
  it.on('ready', () => {
    it.subscribe([a.topic]);
    flow(it, (message) => it.commitMessageSync(message));
  });
  it.connect({}, (error) => { if (error) die(error); });
}

({ publish, read, group })[a.command]();
