import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamTable } from "../../src/http2/streamTable.js";
import { randomOf } from "./support.js";

test("holds what a Map would hold, after random additions and removals", () => {
  const random = randomOf();
  const table = new StreamTable<{ readonly id: number }>();
  const expected = new Map<number, { readonly id: number }>();
  let last = 1;
  for (let step = 0; step < 20_000; step++) {
    // In waves, so that the table grows and empties. Ids that collide are as likely as neighbours.
    const growing = Math.floor(step / 3_000) % 2 === 0;
    if (random.below(10) < (growing ? 7 : 2)) {
      last += random.below(2) === 0 ? 2 : 2 << random.below(12);
      const stream = { id: last };
      table.add(stream);
      expected.set(stream.id, stream);
    } else {
      const id = [...expected.keys()][random.below(expected.size)] ?? last;
      const stream = expected.get(id) ?? { id };
      table.delete(stream);
      expected.delete(id);
    }
    const probe = 1 + 2 * random.below(last);
    assert.equal(table.get(probe), expected.get(probe));
    assert.equal(table.size, expected.size);
    if (step % 500 !== 0) continue;
    for (const [id, stream] of expected) assert.equal(table.get(id), stream);
    assert.deepEqual(
      [...table].map(({ id }) => id).sort((a, b) => a - b),
      [...expected.keys()],
    );
  }
});

test("each stream may be deleted during the iteration", () => {
  const table = new StreamTable<{ readonly id: number }>();
  for (let id = 1; id < 100; id += 2) table.add({ id });
  let visited = 0;
  for (const stream of table) {
    visited++;
    table.delete(stream);
  }
  assert.equal(visited, 50);
  assert.equal(table.size, 0);
});

test("ids chosen far apart do not collide", () => {
  let looks = 0;
  const table = new StreamTable<{ readonly id: number }>();
  for (const step of [2 ** 16, 2 ** 17]) {
    const ids = Array.from({ length: 9_000 }, (_, n) => 1 + n * step);
    const streams = ids.map((id) => ({
      get id() {
        looks++;
        return id;
      },
    }));
    for (const stream of streams) table.add(stream);
    looks = 0;
    for (const id of ids) assert.equal(table.get(id)?.id, id);
    assert.ok(looks < 20 * ids.length, `${looks} looks for ${ids.length} ids`);
    for (const stream of streams) table.delete(stream);
    assert.equal(table.size, 0);
  }
});
