import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import {
  at,
  configured,
  type File,
  marksOf,
  open,
  over,
  refusals,
  revisions,
  startOlder,
  withEtcds,
} from "../store/configured.js";
import { braid, temporaryFolder } from "../support/braid.js";
import type { EtcdProcess } from "../support/etcd.js";
import { startRestored, toolOption } from "./support.js";

const folder = temporaryFolder();
const hex = (id: bigint) => id.toString(16).padStart(16, "0");

/** Where the timeline is, and what the clusters are called. */
const PLACES: [name: string, clusters: string[], fileOf: (etcds: readonly EtcdProcess[]) => File][] = [
  ["a shard is the host", ["a", "b", "c"], (etcds) => over("abc", etcds, { host: "b" })],
  [
    "the host is no shard",
    ["a", "b", "_timeline"],
    (etcds) => over("ab", etcds, { endpoints: at(etcds[2]) }),
  ],
];

for (const [place, clusters, fileOf] of PLACES) {
  for (const version of ["this", "an older"]) {
    test(`a store of ${version} version is restored as another store; ${place}`, async () => {
      await withEtcds(3, async (etcds) => {
        const file = fileOf(etcds);
        const older = await startOlder(file);
        await older.write();
        older.close();
        const id = version === "this" ? await open(file) : undefined;
        const [saved, out] = ["saved", "restored"].map((name) => join(folder, `${name} ${place} ${version}`));
        const { path } = await configured(file);
        const save = await braid("snapshot", "save", saved, "--config", path);
        assert.equal(save.code, 0, save.stderr);
        const restore = await braid("snapshot", "restore", saved, "--data", out, ...toolOption());
        assert.equal(restore.code, 0, restore.stderr);
        const restored = await startRestored(out, clusters);
        try {
          for (const each of restored) {
            const [mark, ...others] = await marksOf(each);
            assert.match(mark, /^[0-9a-f]{16}$/);
            assert.deepEqual(others, []);
          }
          const before = await revisions(restored);
          const newId = await open(fileOf(restored));
          assert.notEqual(newId, id);
          assert.deepEqual(await marksOf(restored[0]), [hex(newId)]);
          // Opened as they were restored: they need no mark any more. The host's own log goes on.
          const host = clusters.indexOf("b") === 1 && place.startsWith("a") ? 1 : 2;
          assert.deepEqual((await revisions(restored)).toSpliced(host, 1), before.toSpliced(host, 1));
          for (const i of [0, 1, 2]) {
            const reason =
              /belongs to another store|the store was made with cluster|is on shard|holds a timeline/;
            assert.match(await refusals(fileOf(restored.with(i, etcds[i])), [...restored, ...etcds]), reason);
            assert.match(await refusals(fileOf(etcds.with(i, restored[i])), [...restored, ...etcds]), reason);
          }
          if (id !== undefined) assert.equal(await open(file), id);
        } finally {
          await Promise.all(restored.map((each) => each.remove()));
        }
      });
    });
  }
}

test("where there is no store none is saved, and none is made by trying", async () => {
  await withEtcds(2, async (etcds) => {
    const { path } = await configured(over("ab", etcds));
    for (const args of [
      ["snapshot", "save", join(folder, "nothing")],
      ["adopt", "a"],
    ]) {
      const { code, stderr } = await braid(...args, "--config", path);
      assert.equal(code, 1);
      assert.match(stderr, /holds no timeline: there is no store on these clusters/);
    }
    assert.deepEqual(await revisions(etcds), [1, 1]);
  });
});
