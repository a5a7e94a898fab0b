// Real iroh as an echo server or its client; speaks the lines of peer.cc. Run it in a network namespace only: its
// port mapper sends multicast on whatever network it finds.
//
//   iroh.js serve --bind IP:PORT --alpn A [--retry]
//   iroh.js connect --id KEY --addr IP:PORT --alpn A [--bind IP:PORT] [--bytes N] [--datagrams N] [--pings N]
const { Endpoint, EndpointAddr, EndpointId, presetMinimal, RelayMode } = require('@number0/iroh');

const bytes = text => Array.from(Buffer.from(text));
const hex = array => Buffer.from(array).toString('hex');
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const say = (...words) => console.log(words.join(' '));

const [mode, ...rest] = process.argv.slice(2);
const options = {};
for (let i = 0; i < rest.length; i++) {
  const name = rest[i].slice(2);
  options[name] = i + 1 < rest.length && !rest[i + 1].startsWith('--') ? rest[++i] : true;
}

async function bind() {
  const builder = Endpoint.builder();
  presetMinimal(builder);
  builder.relayMode(RelayMode.disabled());
  builder.bindAddr(options.bind || '127.0.0.1:0');
  if (mode === 'serve') builder.alpns([bytes(options.alpn)]);
  const endpoint = await builder.bind();
  say('ID', hex(endpoint.id().toBytes()));
  say('ADDR', endpoint.boundSockets()[0]);
  return endpoint;
}

async function echoStream({ send, recv }) {
  let total = 0;
  try {
    for (;;) {
      const data = await recv.read(65536);
      if (!data || data.length === 0) break;
      total += data.length;
      await send.writeAll(data);
    }
    await send.finish();
    say('STREAM echoed', total);
  } catch (error) {
    say('STREAM', error.message);
  }
}

async function echoDatagrams(connection) {
  try {
    for (;;) connection.sendDatagram(await connection.readDatagram());
  } catch {
    // the connection ended
  }
}

async function serveOne(incoming) {
  try {
    if (options.retry && !(await incoming.remoteAddrValidated())) {
      say('RETRY');
      await incoming.retry();
      return;
    }
    const connection = await (await incoming.accept()).connect();
    say('ACCEPTED', hex(connection.remoteId().toBytes()), Buffer.from(connection.alpn()).toString());
    connection.closed().then(reason => say('CLOSED', reason));
    echoDatagrams(connection);
    for (;;) echoStream(await connection.acceptBi());
  } catch (error) {
    say('ENDED', error.message);
  }
}

async function serve(endpoint) {
  for (;;) {
    const incoming = await endpoint.acceptNext();
    if (!incoming) return;
    serveOne(incoming);
  }
}

async function echoBytes(connection, size) {
  const { send, recv } = await connection.openBi();
  const sent = Buffer.alloc(size);
  for (let i = 0; i < size; i++) sent[i] = ((i * 31) >> 4) & 255;
  const writing = (async () => {
    for (let at = 0; at < size; at += 16384) await send.writeAll(Array.from(sent.subarray(at, at + 16384)));
    await send.finish();
  })();
  const got = Buffer.from(await recv.readToEnd(size + 1));
  await writing;
  if (!got.equals(sent)) throw new Error(`echo of ${size} bytes: ${got.length} came back, or others`);
  say('ECHO', got.length);
}

async function echoSomeDatagrams(connection, count) {
  for (let number = 0; number < count; number++) {
    const text = `datagram ${number}`;
    connection.sendDatagram(bytes(text));
    const answer = Buffer.from(await connection.readDatagram()).toString();
    if (answer !== text) throw new Error(`datagram: sent ${text}, got ${answer}`);
  }
  say('DATAGRAMS', count, 'max', connection.maxDatagramSize());
}

async function ping(connection, count) {
  const { send, recv } = await connection.openBi();
  for (let number = 0; number < count; number++) {
    const text = `ping ${String(number).padStart(5, '0')}`;
    await send.writeAll(bytes(text));
    const answer = Buffer.from(await recv.readExact(text.length)).toString();
    if (answer !== text) throw new Error(`sent ${text}, got ${answer}`);
    if (number % 10 === 0) say('PING', number);
    await sleep(100);
  }
  await send.finish();
  say('PINGS', count);
}

async function connect(endpoint) {
  const id = EndpointId.fromBytes(Array.from(Buffer.from(options.id, 'hex')));
  const connection = await endpoint.connect(new EndpointAddr(id, null, options.addr.split(',')), bytes(options.alpn));
  say('CONNECTED', hex(connection.remoteId().toBytes()), Buffer.from(connection.alpn()).toString());
  connection.closed().then(reason => say('CLOSED', reason));
  if (options.bytes) await echoBytes(connection, Number(options.bytes));
  if (options.datagrams) await echoSomeDatagrams(connection, Number(options.datagrams));
  if (options.pings) await ping(connection, Number(options.pings));
  say('OK');
  connection.close(7n, bytes('bye'));
  await endpoint.close();
}

(async () => {
  const endpoint = await bind();
  await (mode === 'serve' ? serve(endpoint) : connect(endpoint));
  process.exit(0);
})().catch(error => {
  say('ERROR', error.message.split('\n\nStack')[0]);  // without iroh's backtrace
  process.exit(1);
});
