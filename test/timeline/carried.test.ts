import assert from "node:assert/strict";
import { test } from "node:test";
import { etcd } from "../../src/status/etcd.js";
import type { HostKey, LogHost } from "../../src/timeline/host.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { mapText, newMaps, noOtherHost } from "../support/maps.js";
import { carry } from "./sim/network.js";

/** A host whose log accepts the first base, but no entries. */
function fullHost(): LogHost {
  const keys = new Map<string, HostKey>();
  let revision = 5;
  return {
    label: "it",
    isConnected: true,
    load: async () => ({ revision, raftTerm: 1, keys: [...keys.values()] }),
    tail: async () => ({ end: revision, revision, raftTerm: 1 }),
    commit: async (_guard, puts) => {
      revision++;
      for (const put of puts) keys.set(put.key, { ...put, createRevision: revision, modRevision: revision });
      return { committed: true, revision, previous: 0, raftTerm: 1 };
    },
    append: (_guard, _key, _entry, done) =>
      setImmediate(() => done(etcd.noSpace(), { committed: false, revision: 0, previous: 0, raftTerm: 0 })),
    carry,
    watch: () => () => {},
  };
}

test("a host revision that cannot be sealed does not fail reads that only need the log's end", async () => {
  const timeline = new SharedTimeline(2, {
    host: fullHost(),
    hostShard: 0,
    hostOf: noOtherHost,
    proxy: "p",
    map: mapText(2),
    maps: newMaps(),
    runtime: systemRuntime,
    genesis: async () => ({ revisions: [5, 5], clusterIds: ["1", "2"] }),
    accept() {},
  });
  await timeline.open();
  try {
    timeline.announceRead(0);
    const end = timeline.beginRead(1);
    const carry = timeline.carryEnd(0);
    assert.ok(carry !== undefined, "the read of the host carries the end");
    const read = new Promise((resolve) => end.whenFolded(resolve));
    // A lease has ended on the host.
    carry(20);
    assert.equal(await read, undefined);
  } finally {
    timeline.close();
  }
});
