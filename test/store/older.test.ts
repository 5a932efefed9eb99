import assert from "node:assert/strict";
import { test } from "node:test";
import { openStore } from "../../src/app/store/store.js";
import { createLog } from "../../src/ops/log.js";
import type { EtcdProcess } from "../support/etcd.js";
import { until } from "../support/until.js";
import {
  at,
  base64,
  configured,
  type File,
  marksOf,
  open,
  opened,
  over,
  post,
  refusals,
  startOlder,
  withEtcds,
} from "./configured.js";

// Stores that an older version has made: with a base, and without marks.

const log = createLog("silent");

/** An older store over a, b and c with three keys and no proxy. */
async function withOlderStore(
  timeline: File["timeline"],
  body: (file: File, etcds: EtcdProcess[]) => Promise<void>,
): Promise<void> {
  await withEtcds(4, async (etcds) => {
    const file = over("abc", etcds, timeline);
    const older = await startOlder(file);
    assert.equal(await older.write(), 4);
    older.close();
    await body(file, etcds);
  });
}

/** Raises or takes back an alarm for want of space, as an etcd over its quota does. */
async function alarm(etcd: EtcdProcess, action: "ACTIVATE" | "DEACTIVATE"): Promise<void> {
  const body = JSON.stringify({ action, alarm: "NOSPACE" });
  assert.ok((await fetch(`${etcd.url}/v3/maintenance/alarm`, { method: "POST", body })).ok);
}

test("an older store is marked by the first proxy that opens it, while one of the older version goes on", async () => {
  await withOlderStore(undefined, async (file, etcds) => {
    const older = await startOlder(file);
    const newer = await opened(file);
    try {
      for (const etcd of etcds.slice(0, 3)) {
        assert.deepEqual(await marksOf(etcd), [newer.id.toString(16).padStart(16, "0")]);
      }
      // On the host the mark is one of the log's keys. On the others it takes a revision, at which nothing happens.
      const last = await older.write();
      assert.equal(last, 9);
      await newer.timeline.sync();
      assert.equal(newer.timeline.head, last);
      for (const shard of [0, 1, 2]) {
        assert.equal(newer.timeline.cut(shard), older.timeline.cut(shard));
        for (let revision = 2; revision <= newer.timeline.cut(shard); revision++) {
          assert.equal(
            newer.timeline.toRevision(shard, revision),
            older.timeline.toRevision(shard, revision),
          );
        }
      }
    } finally {
      older.close();
      newer.close();
    }
    assert.equal(await open(file), newer.id);
  });
});

const WRONG: [
  name: string,
  timeline: File["timeline"],
  change: (etcds: EtcdProcess[]) => File,
  reason: RegExp,
][] = [
  [
    "another shard is the host",
    undefined,
    (etcds) => over("abc", etcds, { host: "b" }),
    /:\d+: shard "a" .* holds a timeline, but the timeline host is shard "b" → host: b/,
  ],
  [
    "the endpoints of the host's shard are exchanged",
    undefined,
    ([a, b, c]) => over("abc", [b, a, c]),
    /:\d+: shard "b" .* holds a timeline, but the timeline host is shard "a"/,
  ],
  [
    "the endpoints of two other shards are exchanged",
    undefined,
    ([a, b, c]) => over("abc", [a, c, b]),
    /shard "b" .*: it is the etcd cluster \d+, but the store was made with cluster \d+/,
  ],
  [
    "the host is no shard",
    undefined,
    (etcds) => over("abc", etcds, { endpoints: at(etcds[3]) }),
    /shard "a" .* holds a timeline, but the timeline host is another cluster → endpoints:/,
  ],
  [
    "a name is another",
    { host: "b" },
    (etcds) => over("abq", etcds, { host: "b" }),
    /another shard map: shard q is new → - name: q/,
  ],
  [
    "an empty cluster is where a shard was",
    { host: "b" },
    (etcds) => over("abc", [etcds[0], etcds[1], etcds[3]], { host: "b" }),
    /shard "c" .*: it is the etcd cluster \d+, but the store was made with cluster \d+/,
  ],
];

for (const [name, timeline, change, reason] of WRONG) {
  test(`an older store is not marked with a wrong configuration: ${name}`, async () => {
    await withOlderStore(timeline, async (file, etcds) => {
      assert.match(await refusals(change(etcds), etcds), reason);
      assert.deepEqual((await Promise.all(etcds.map(marksOf))).flat(), []);
      await open(file);
    });
  });
}

test("two timelines over the same shards, as an older version allowed, are refused from both sides", async () => {
  await withOlderStore(undefined, async (_, etcds) => {
    const second = over("abc", etcds, { host: "b" });
    (await startOlder(second)).close();
    for (const file of [over("abc", etcds), second]) {
      assert.match(await refusals(file, etcds), /holds a timeline, .* which holds one as well/);
    }
  });
});

test("a shard of an older store that is away is marked when it is back; then none may be without", async () => {
  await withOlderStore(undefined, async (file, etcds) => {
    await etcds[2].stop();
    const store = await opened(file);
    try {
      assert.equal(store.timeline.log.base.store, undefined);
      // The log's tail tells all proxies of the revision that the host's mark has taken.
      const [mark, tail] = await Promise.all(
        [`mark/${(await marksOf(etcds[0]))[0]}`, "tail"].map(async (name) => {
          const { kvs } = await post(etcds[0], "range", { key: base64(`\0braid/${name}`) });
          return kvs[0].mod_revision;
        }),
      );
      assert.equal(tail, mark);
      await etcds[2].restart();
      await until("the shard is marked", async () => {
        await store.shards
          .at(2)
          .verify()
          .catch(() => {});
        return (await marksOf(etcds[2])).length > 0;
      });
    } finally {
      store.close();
    }
    const next = await opened(file);
    try {
      await until("all marks are on record", () => next.timeline.log.base.store !== undefined);
      assert.equal(next.id, store.id);
    } finally {
      next.close();
    }
    await post(etcds[2], "deleterange", EVERYTHING);
    assert.match(await refusals(file, etcds), /shard "c" .* carries no mark of this store, so it lost data/);
  });
});

test("a shard without space does not keep an older store from being opened, and is marked when it has space", async () => {
  await withOlderStore(undefined, async (file, etcds) => {
    await alarm(etcds[1], "ACTIVATE");
    const id = await open(file);
    const marked = () => Promise.all(etcds.slice(0, 3).map(async (etcd) => (await marksOf(etcd)).length));
    assert.deepEqual(await marked(), [1, 0, 1]);
    await alarm(etcds[1], "DEACTIVATE");
    assert.equal(await open(file), id);
    assert.deepEqual(await marked(), [1, 1, 1]);
  });
});

test("a host without space does not keep an older store from being opened", async () => {
  await withOlderStore(undefined, async (file, etcds) => {
    await alarm(etcds[0], "ACTIVATE");
    const { config } = await configured(file);
    const before = await openStore(config, log);
    assert.equal(before.timeline.head, 4);
    before.close();
    assert.equal(await open(file), before.id, "all proxies go by the same id");
    await alarm(etcds[0], "DEACTIVATE");
    assert.notEqual(await open(file), before.id);
  });
});

const EVERYTHING = { key: "AA==", range_end: "AQ==" };
