import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { Outbox } from "../../src/http2/outbox.js";
import { FRAME_HEADER_BYTES, FrameType } from "../../src/http2/protocol.js";
import { lendUntilSent } from "../../src/turn/buffers.js";

/** A socket that takes all bytes at once. */
class Sink {
  writableLength = 0;
  readonly destroyed = false;
  readonly writableEnded = false;
  writes = 0;
  /** Whether it keeps the bytes instead. */
  stuck = false;
  bytes = Buffer.alloc(0);

  write(bytes: Uint8Array): void {
    this.writes++;
    if (this.stuck) this.writableLength += bytes.length;
    this.bytes = Buffer.concat([this.bytes, bytes]);
  }

  cork(): void {}
  uncork(): void {}
}

function open(): { sink: Sink; outbox: Outbox } {
  const sink = new Sink();
  return { sink, outbox: new Outbox(sink as unknown as Socket) };
}

/** Returns the DATA frame of one message. */
function dataFrame(streamId: number, parts: readonly Uint8Array[]): Buffer {
  const message = Buffer.concat(parts);
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + 5);
  bytes.writeUIntBE(message.length + 5, 0, 3);
  bytes[3] = FrameType.DATA;
  bytes.writeUInt32BE(streamId, 5);
  bytes.writeUInt32BE(message.length, FRAME_HEADER_BYTES + 1);
  return Buffer.concat([bytes, message]);
}

test("messages of all sizes are framed completely and in order", async () => {
  const { sink, outbox } = open();
  const expected: Buffer[] = [];
  for (const sizes of [
    [],
    [0],
    [3, 300],
    [2, 4_096],
    [9, 8, 1],
    [5_000],
    [4_000, 90, 7],
    [1, 70_000, 2],
    [4_096],
  ]) {
    for (const id of [1, 0x01020305]) {
      const parts = sizes.map((size, n) => Buffer.alloc(size, id + 17 * n + size));
      outbox.message(
        0,
        id,
        parts,
        sizes.reduce((sum, size) => sum + size, 0),
      );
      expected.push(dataFrame(id, parts));
    }
  }
  await turn();
  assert.ok(sink.bytes.equals(Buffer.concat(expected)));
});

test("with many connections, the first ones send before the turn ends", async () => {
  const all = Array.from({ length: 300 }, open);
  const body = Buffer.alloc(200, "x");
  for (const round of [1, 3]) {
    all.forEach(({ outbox }, n) => {
      outbox.message(0, round, [Buffer.from([n]), body], 201);
    });
  }
  const waiting = all.filter(({ outbox }) => outbox.backlog > 0);
  assert.ok(waiting.length <= 64, `${waiting.length} connections hold memory`);
  await turn();
  all.forEach(({ sink }, n) => {
    const expected = [1, 3].map((id) => dataFrame(id, [Buffer.from([n]), body]));
    assert.ok(sink.bytes.equals(Buffer.concat(expected)), `connection ${n}`);
  });
});

test("few connections write once per turn", async () => {
  const all = Array.from({ length: 20 }, open);
  for (let id = 1; id < 20; id += 2)
    for (const { outbox } of all) outbox.message(0, id, [Buffer.alloc(100)], 100);
  assert.equal(all[0].sink.writes, 0);
  await turn();
  assert.deepEqual(
    all.map(({ sink }) => sink.writes),
    all.map(() => 1),
  );
});

test("much data for one connection is sent before the turn ends if the system takes it", async () => {
  const all = Array.from({ length: 100 }, open);
  const part = Buffer.alloc(4_000, "y");
  for (const { outbox } of all) {
    for (let i = 0; i < 1_000; i++) {
      if (outbox.full) outbox.relieve();
      assert.ok(!outbox.full);
      outbox.message(0, 1, [part], part.length);
    }
    assert.ok(outbox.backlog <= 300_000);
  }
  await turn();
  const expected = Buffer.concat(Array<Buffer>(1_000).fill(dataFrame(1, [part])));
  for (const { sink } of all) assert.ok(sink.bytes.equals(expected));
});

test("a connection takes no more data when the system takes none", () => {
  const { sink, outbox } = open();
  sink.stuck = true;
  const part = Buffer.alloc(4_000);
  let sent = 0;
  for (; !outbox.full && sent < 1_000; sent++) {
    outbox.message(0, 1, [part], part.length);
    if (outbox.full) outbox.relieve();
  }
  assert.ok(sent < 70, `${sent} messages`);
});

test("the memory of a large message is reused only once the system has taken it", async () => {
  const { sink, outbox } = open();
  const message = (): { memory: ArrayBufferLike; put(): void } => {
    const bytes = lendUntilSent(300_000);
    return {
      memory: bytes.buffer,
      put: () => {
        for (let at = 0; at < bytes.length; at += 16_384) outbox.piece(bytes.subarray(at, at + 16_384));
        outbox.flush();
      },
    };
  };
  const isFree = ({ memory }: { memory: ArrayBufferLike }): boolean => {
    const next = lendUntilSent(300_000);
    const free = next.buffer === memory;
    // Released at once, so that the check changes nothing.
    const other = open();
    other.outbox.piece(next);
    other.outbox.flush();
    return free;
  };
  sink.stuck = true;
  const first = message();
  first.put();
  const second = message();
  second.put();
  assert.ok(!isFree(first) && !isFree(second));
  // The system has taken the first part and a byte of the second.
  sink.writableLength = 299_999;
  outbox.taken();
  assert.ok(isFree(first));
  sink.writableLength = 0;
  outbox.taken();
  assert.ok(isFree(second));
});
