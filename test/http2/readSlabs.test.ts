import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { readIntoSlabs } from "../../src/http2/readSlabs.js";

test("a socket reads into slabs, where kept pieces stay unchanged and take little more than their bytes", async () => {
  const sent = Array.from({ length: 400 }, (_, i) =>
    randomBytes(1 + ((i * 7919) % (i % 40 === 0 ? 200_000 : 900))),
  );
  const server = createServer(async (peer) => {
    for (const piece of sent) {
      if (!peer.write(piece)) await once(peer, "drain");
      await new Promise((resolve) => setImmediate(resolve));
    }
    peer.end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const pieces: Buffer[] = [];
  const socket: Socket = connect({
    port: (server.address() as AddressInfo).port,
    host: "127.0.0.1",
    onread: readIntoSlabs((piece) => pieces.push(piece) > 0),
  });
  await once(socket, "end");
  socket.destroy();
  server.close();
  const expected = Buffer.concat(sent);
  assert.ok(Buffer.concat(pieces).equals(expected), "byte for byte, also of what was read first");
  const slabs = new Set(pieces.map(({ buffer }) => buffer));
  const bytes = [...slabs].reduce((sum, { byteLength }) => sum + byteLength, 0);
  assert.ok(bytes < expected.length * 1.2 + 256 * 1024, `${bytes} bytes for ${expected.length}`);
});

test("pieces that are no longer used are overwritten", () => {
  const slabs = readIntoSlabs((piece) => piece[0] === 1) as {
    buffer: () => Buffer;
    callback: (length: number, buffer: Buffer) => boolean;
  };
  const { buffer, callback } = slabs;
  const read = (byte: number) => {
    const room = buffer();
    room.fill(byte, 0, 100);
    callback(100, room);
    return room.subarray(0, 100);
  };
  const dropped = read(0);
  const kept = read(1);
  const next = read(2);
  assert.equal(kept.byteOffset, dropped.byteOffset);
  assert.equal(next.byteOffset, kept.byteOffset + 100);
  assert.ok(kept.every((byte) => byte === 1));

  // Nor does a read that fills a whole slab use it up, if no piece is kept.
  const whole = readIntoSlabs(() => false) as typeof slabs;
  const first = whole.buffer();
  whole.callback(first.length, first);
  assert.equal(whole.buffer().buffer, first.buffer);
  assert.equal(whole.buffer().length, first.length);

  // A read that fills the rest of the slab means that more is waiting, so the next one gets a whole slab.
  const rest = buffer();
  rest[0] = 0;
  callback(rest.length, rest);
  assert.ok(buffer().length > rest.length);
});
