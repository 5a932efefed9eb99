import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { ScaleReport } from "../../bench/scale/report.js";
import { temporaryFolder } from "../support/braid.js";
import { bench } from "./program.js";

test("a short run measures one etcd, one shard and two, each held to its share", async (t) => {
  const dir = temporaryFolder();
  const output = join(dir, "scale.json");
  const { code, stdout, stderr } = await bench(
    ...["--scale", "--shards", "1,2", "--writers", "32", "--values", "256", "--workers", "1"],
    ...[
      "--watchers",
      "2",
      "--share",
      "10",
      "--rounds",
      "1",
      "--slice",
      "1000",
      "--dir",
      dir,
      "--output",
      output,
    ],
  );
  if (code === 3) {
    assert.match(stderr, /the etcds cannot be held to a share of a core/);
    t.skip(stderr.trim());
    return;
  }
  assert.equal(code, 0, `${stdout}${stderr}`);
  const { figures }: ScaleReport = JSON.parse(readFileSync(output, "utf8"));
  assert.deepEqual(
    figures.map(({ shards, writers, watchers }) => [shards, writers, watchers]),
    [
      [0, 32, 0],
      [0, 16, 0],
      [0, 32, 2],
      [1, 32, 0],
      [1, 32, 2],
      [2, 32, 0],
      [2, 32, 2],
    ],
  );
  for (const f of figures) {
    const what = JSON.stringify(f);
    assert.ok(f.putsPerSecond > 0 && f.p99Ms >= f.p50Ms && f.errors === 0, what);
    // A group may use what it has left from the period before, at most.
    assert.ok(f.cpu.shards < 0.12 * Math.max(1, f.shards) && f.cpu.host < 0.12, what);
    assert.equal(f.appendsPerSecond > 0 && f.cpu.host > 0, f.shards > 0, what);
    assert.equal(f.eventsPerSecond > 0, f.watchers > 0, what);
  }
  assert.match(stdout, /^32 +\| 256 +\| 2 shards +\|/m);
});
