import assert from "node:assert/strict";
import { test } from "node:test";
import { FRAME_BYTES, planFrames } from "../../src/watch/frames.js";
import { newSeed, random } from "./random.js";

test("frames hold all events in order, end between revisions, and have rising watermarks", () => {
  const seed = newSeed("frames");
  const next = random(seed);
  for (let round = 0; round < 2_000; round++) {
    const count = 1 + next(12);
    const revisions: number[] = [];
    const sizes: number[] = [];
    let revision = 1 + next(5);
    for (let i = 0; i < count; i++) {
      revisions.push(revision);
      revision += next(3);
      sizes.push(next(4) === 0 ? next(2 * FRAME_BYTES) : next(FRAME_BYTES / 2));
    }
    const covered = revisions[count - 1] + next(3);
    const fragment = next(2) === 1;
    const frames = planFrames(revisions, sizes, covered, fragment);
    const bytes = ({ from, to }: { from: number; to: number }) =>
      sizes.slice(from, to).reduce((sum, size) => sum + size, 0);
    let at = 0;
    let watermark = 0;
    let inside = false;
    for (const frame of frames) {
      assert.equal(frame.from, at);
      assert.ok(frame.to > frame.from);
      at = frame.to;
      if (inside) assert.equal(frame.revision, watermark);
      else assert.ok(frame.revision > watermark, `seed ${seed}`);
      watermark = frame.revision;
      const splits = at < count && revisions[at - 1] === revisions[at];
      assert.equal(frame.fragment, splits, `seed ${seed}`);
      if (splits) assert.ok(fragment, `seed ${seed}`);
      inside = splits;
      assert.ok(revisions[frame.to - 1] <= frame.revision);
      if (at < count && !splits) assert.ok(revisions[at] > frame.revision, `seed ${seed}`);
      const alone = fragment
        ? frame.to - frame.from === 1
        : new Set(revisions.slice(frame.from, at)).size === 1;
      assert.ok(bytes(frame) <= FRAME_BYTES || alone, `seed ${seed}`);
    }
    assert.equal(at, count);
    assert.equal(watermark, covered);
  }
});
