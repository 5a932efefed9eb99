import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { after, test } from "node:test";
import { readIntoSharedSlabs } from "../../src/http2/readSlabs.js";
import { adopt } from "../../src/transport/http2/adopt.js";
import { temporaryFolder } from "../support/braid.js";

const CLIENTS = 8;

const accepted: Socket[] = [];
const server = createServer((socket) => accepted.push(socket.on("error", () => {}))).listen(0, "127.0.0.1");
after(() => server.close());

async function pair(): Promise<{ client: Socket; socket: Socket }> {
  if (!server.listening) await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: "127.0.0.1" });
  await Promise.all([once(client, "connect"), once(server, "connection")]);
  return { client, socket: accepted.pop()! };
}

test("each adopted connection reads what its client sent, and holds little more memory than that", async () => {
  const all = [];
  for (let i = 0; i < CLIENTS; i++) {
    const { client, socket } = await pair();
    const first = once(socket, "data");
    client.write("first");
    assert.equal(String((await first)[0]), "first");
    const sent = Array.from({ length: 200 }, (_, i) =>
      randomBytes(1 + ((i * 7919) % (i % 40 === 0 ? 90_000 : 900))),
    );
    const pieces: Buffer[] = [];
    const adopted = adopt(socket, () => readIntoSharedSlabs((piece) => pieces.push(piece) > 0))!;
    all.push({ client, adopted, sent, pieces });
  }
  const ended = all.map(({ adopted }) => once(adopted, "end"));
  for (let i = 0; i < 200; i++) {
    for (const { client, sent } of all) client.write(sent[i]);
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const { client } of all) client.end();
  await Promise.all(ended);
  for (const { pieces, sent } of all) {
    assert.ok(Buffer.concat(pieces).equals(Buffer.concat(sent)), "byte for byte");
  }
  const slabs = new Set(all.flatMap(({ pieces }) => pieces.map(({ buffer }) => buffer)));
  const held = [...slabs].reduce((sum, { byteLength }) => sum + byteLength, 0);
  const expected = all.reduce((sum, { sent }) => sum + Buffer.concat(sent).length, 0);
  assert.ok(held < expected * 1.5 + 64 * 1024, `${held} bytes for ${expected}`);
});

test("the memory of a piece that was not kept is used again", () => {
  const { buffer, callback } = readIntoSharedSlabs((piece) => {
    seen.push(piece);
    return piece[0] === 1;
  }) as { buffer: Buffer; callback: (length: number, buffer: Buffer) => boolean };
  const seen: Buffer[] = [];
  for (const byte of [1, 0, 1, 2]) {
    buffer.fill(byte, 0, 100);
    callback(100, buffer);
  }
  const [kept, dropped, over, next] = seen;
  assert.ok(kept.every((byte) => byte === 1));
  assert.equal(dropped.byteOffset, over.byteOffset);
  assert.equal(next.byteOffset, over.byteOffset + 100);
});

test("an adopted connection and the accepted one close together, whichever end begins", async () => {
  for (const begins of ["client", "accepted", "adopted"] as const) {
    const { client, socket } = await pair();
    const adopted = adopt(socket, () => readIntoSharedSlabs(() => false))!;
    client.on("error", () => {}).resume();
    const closed = [client, socket, adopted].map((each) => once(each, "close"));
    const open = await connections();
    if (begins === "client") client.end();
    else (begins === "accepted" ? socket : adopted).destroy();
    // A socket notices its end only while it is read, as our connections do.
    adopted.on("end", () => adopted.destroySoon());
    await Promise.all(closed);
    assert.equal(await connections(), open - 1, begins);
  }
});

test("an adopted unix socket reads what was sent", async () => {
  const path = join(temporaryFolder(), "socket");
  const local = createServer().listen(path);
  try {
    await once(local, "listening");
    const client = connect(path);
    const [socket] = (await once(local, "connection")) as [Socket];
    const pieces: Buffer[] = [];
    const adopted = adopt(socket, () => readIntoSharedSlabs((piece) => pieces.push(piece) > 0))!;
    client.end("what was sent");
    await once(adopted, "end");
    assert.equal(Buffer.concat(pieces).toString(), "what was sent");
    adopted.destroy();
  } finally {
    local.close();
  }
});

test("a connection that cannot be adopted stays untouched: a closed one, or one that cannot read into given memory", async () => {
  const never = () => assert.fail("nothing is read");
  const gone = await pair();
  gone.client.resetAndDestroy();
  await new Promise((resolve) => gone.socket.resume().once("close", resolve));
  assert.equal(adopt(gone.socket, never), undefined);
  const { client, socket } = await pair();
  Object.assign((socket as unknown as { _handle: object })._handle, { useUserBuffer: undefined });
  assert.equal(adopt(socket, never), undefined);
  client.end("hello");
  const [data] = await once(socket, "data");
  assert.equal(String(data), "hello");
});

const connections = () =>
  new Promise<number>((resolve, reject) =>
    server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  );
