// What the programs of both Node clients have in common: arguments, the schema registry, Avro framed by hand for the
// client that has no serialiser, and the lines that they print. See tests/clients/README.md.
'use strict';
const fs = require('fs');
const https = require('https');
const avro = require('avsc');

function parse(client) {
  const [command, ...rest] = process.argv.slice(2);
  if (command === 'version') {
    say('version', { version: require(`${client}/package.json`).version });
    process.exit(0);
  }
  const a = { command, compression: 'none', isolation: 'committed', protocol: 'classic', schemas: new Map() };
  for (let i = 0; i < rest.length; i += 2) a[rest[i].replace(/^--/, '')] = rest[i + 1];
  return a;
}

function say(event, fields = {}) {
  fs.writeSync(1, JSON.stringify({ event, ...fields }) + '\n');
}

function sayError(error) {
  say('error', { error: String(error && error.message ? error.message : error) });
}

function die(error) {
  sayError(error);
  process.exit(1);
}

function records(a) {
  return fs.readFileSync(a.records, 'utf8').split('\n').filter((line) => line).map((line) => JSON.parse(line));
}

function get(a, path) {
  const files = { ca: fs.readFileSync(a.ca), cert: fs.readFileSync(a.cert), key: fs.readFileSync(a.key) };
  return new Promise((resolve, reject) => {
    https.get(a.registry + path, files, (response) => {
      let body = '';
      response.on('data', (chunk) => { body += chunk; });
      response.on('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(body));
        else reject(new Error(`registry: ${response.statusCode}: ${body}`));
      });
    }).on('error', reject);
  });
}

// Byte 0, schema id, Avro. No row is no value.
async function frame(a, row) {
  if (row === null) return null;
  if (a.serde) return a.serde.frame(row);
  const latest = await get(a, `/subjects/${a.topic}-value/versions/latest`);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(latest.id, 1);
  return Buffer.concat([head, avro.Type.forSchema(JSON.parse(latest.schema)).toBuffer(row)]);
}

async function sayRecord(a, partition, offset, key, value) {
  let row = null;
  if (value !== null && value !== undefined && a.serde) row = await a.serde.row(value);
  else if (value !== null && value !== undefined) {
    const id = value.readUInt32BE(1);
    if (!a.schemas.has(id)) {
      a.schemas.set(id, get(a, `/schemas/ids/${id}`).then((it) => avro.Type.forSchema(JSON.parse(it.schema))));
    }
    row = (await a.schemas.get(id)).fromBuffer(value.subarray(5));
  }
  say('record', { partition, offset: Number(offset), key: key.toString(), row });
}

// Calls back when standard input ends: the program closes its client and ends.
function stopped(then) {
  process.stdin.on('end', then);
  process.stdin.resume();
}

module.exports = { parse, say, sayError, die, records, frame, sayRecord, stopped };
