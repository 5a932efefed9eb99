import assert from "node:assert/strict";
import { test } from "node:test";
import { Slabs } from "../../src/turn/slabs.js";

test("pieces do not share memory, and kept pieces hold little more than their size", () => {
  const { allocate } = new Slabs();
  const pieces: Buffer[] = [];
  let kept = 0;
  for (let n = 0; n < 5_000; n++) {
    // Other allocations of the process.
    Buffer.allocUnsafe(3_000);
    const piece = allocate(n % 500 === 0 ? 100_000 + n : n % 400);
    piece.fill(n);
    kept += piece.length;
    pieces.push(piece);
  }
  for (const [n, piece] of pieces.entries()) assert.ok(piece.every((byte) => byte === (n & 0xff)));
  const memory = [...new Set(pieces.map(({ buffer }) => buffer))];
  const held = memory.reduce((sum, { byteLength }) => sum + byteLength, 0);
  assert.ok(held < kept * 1.1 + 65_536, `${held} bytes are held for ${kept}`);
});
