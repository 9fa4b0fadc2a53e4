// The program of tests/clients/README.md for kafkajs, with its own Avro serialiser on the hub's registry.
'use strict';
const fs = require('fs');
const https = require('https');
const { SchemaRegistry } = require('@kafkajs/confluent-schema-registry');
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs');
const { parse, say, sayError, die, records, frame, sayRecord, stopped } = require('./shared');

// The client itself has none and gzip alone.
if (process.env.KAFKAJS_PLUGINS) {
  CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');
  CompressionCodecs[CompressionTypes.LZ4] = new (require('kafkajs-lz4'))().codec;
}
const compressions = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4 };

const a = parse('kafkajs');
const ssl = { ca: [fs.readFileSync(a.ca)], cert: fs.readFileSync(a.cert), key: fs.readFileSync(a.key) };
const registry = new SchemaRegistry({ host: a.registry, agent: new https.Agent(ssl) });
a.serde = {
  frame: async (row) => registry.encode(await registry.getLatestSchemaId(`${a.topic}-value`), row),
  row: (value) => registry.decode(value),
};
const kafka = new Kafka({
  clientId: a['client-id'] || 'kafkajs',
  brokers: a.bootstrap.split(','),
  ssl,
  retry: { retries: 3 },
  logLevel: process.env.CLIENT_DEBUG ? logLevel.DEBUG : logLevel.ERROR,
  // Standard output is for the lines of the contract.
  logCreator: () => ({ log }) => process.stderr.write(`${log.message} ${log.error || ''}\n`),
});

async function publish() {
  const producer = kafka.producer();
  await producer.connect();
  for (const record of records(a)) {
    try {
      const value = await frame(a, record.row);
      const [sent] = await producer.send({
        topic: a.topic, acks: -1, compression: compressions[a.compression],
        messages: [{ key: record.key, value, headers: record.headers || {} }],
      });
      say('sent', { key: record.key, partition: sent.partition, offset: Number(sent.baseOffset) });
    } catch (error) {
      say('refused', { key: record.key, error: String(error.message) });
    }
  }
  await producer.disconnect();
}

// kafkajs reads in groups alone: without a group of its own, a reader takes one that nobody else has.
async function consume(own) {
  const consumer = kafka.consumer({
    groupId: own ? `read-${process.pid}-${Date.now()}` : a.group,
    readUncommitted: a.isolation === 'uncommitted',
    rebalanceTimeout: 10000, sessionTimeout: 10000, heartbeatInterval: 500,
  });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => say('assigned', { partitions: payload.memberAssignment[a.topic] || [] }));
  consumer.on(consumer.events.REBALANCING, () => say('revoked'));
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    sayError(payload.error);
    if (!payload.restart) process.exit(1);
  });
  stopped(async () => {
    await consumer.disconnect();
    process.exit(0);
  });
  let from = [];
  if (a['from-time'] !== undefined) {
    const admin = kafka.admin();
    await admin.connect();
    from = await admin.fetchTopicOffsetsByTimestamp(a.topic, Number(a['from-time']));
    await admin.disconnect();
  }
  await consumer.connect();
  await consumer.subscribe({ topic: a.topic, fromBeginning: true });
  await consumer.run({
    autoCommit: !own, autoCommitThreshold: 1,
    eachMessage: async ({ partition, message }) => sayRecord(a, partition, message.offset, message.key, message.value),
  });
  for (const { partition, offset } of from) consumer.seek({ topic: a.topic, partition, offset });
  if (own) say('started');
}

const commands = { publish, read: () => consume(true), group: () => consume(false) };
commands[a.command]().catch(die);
