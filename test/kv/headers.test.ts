import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { EtcdHost } from "../../src/timeline/etcdHost.js";
import type { HostChange } from "../../src/timeline/host.js";
import { CompareResult, CompareTarget } from "../../src/wire/messages.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { text } from "./model.js";
import { type Ask, between, key, openPlain, openProxy, put, type TestProxy } from "./pair.js";

/*
 * Headers of responses without a new revision, through a proxy that does not know the newest entries yet because its watch
 * of the timeline log is held back. Keys: "a" first shard, "b" second, "c" third.
 */

const NEVER = {
  target: CompareTarget.VERSION,
  result: CompareResult.EQUAL,
  key: Buffer.from("b"),
  version: 99,
} as const;

interface Headed {
  readonly header?: { readonly revision: number } | undefined;
}

const HOST_KEY = "get of the host shard's key";

/** Name of a request → the request. Each response has a header. */
const ANSWERS: Readonly<Record<string, (ask: Ask) => Promise<Headed>>> = {
  [HOST_KEY]: (ask) => ask("range", key("a")),
  get: (ask) => ask("range", key("b")),
  "get of no key": (ask) => ask("range", key("b/none")),
  "get at an old revision": (ask) => ask("range", { ...key("b"), revision: 2 }),
  "range of one shard": (ask) => ask("range", between("b", "c")),
  count: (ask) => ask("range", { ...between("b", "c"), countOnly: true }),
  "scan of all shards": (ask) => ask("range", between("a", "d")),
  "scan without the host shard": (ask) => ask("range", between("b", "d")),
  "sorted scan": (ask) => ask("range", { ...between("b", "d"), sortTarget: 2, sortOrder: 2 }),
  "read-only transaction": (ask) => ask("txn", { success: [{ kind: "range", request: key("b") }] }),
  "read-only transaction over shards": (ask) =>
    ask("txn", {
      success: [
        { kind: "range", request: key("b") },
        { kind: "range", request: key("c") },
      ],
    }),
  "transaction that wrote nothing": (ask) =>
    ask("txn", { compare: [NEVER], success: [{ kind: "put", request: put("b") }] }),
  "deletion of nothing": (ask) => ask("deleteRange", key("b/none")),
  "deletion of nothing on several shards": (ask) => ask("deleteRange", between("b/x", "c/x")),
  "lease grant": (ask) => ask("grant", { id: 0n, ttl: 60 }),
  "lease revocation without keys": async (ask) => {
    const { id } = await ask("grant", { id: 0n, ttl: 60 });
    return ask("revoke", { id });
  },
};

/** Holds back the log watches of all proxies that are opened, until they are released. */
class HeldWatches {
  private held: (() => void)[] | undefined;
  private readonly original = EtcdHost.prototype.watch;

  constructor() {
    const { original } = this;
    const { deliver } = this;
    EtcdHost.prototype.watch = function (revision, events, known) {
      const changes = (all: readonly HostChange[]) => deliver(() => events.changes(all));
      // The events must not count as known, or they would be skipped on release.
      return original.call(this, revision, { ...events, changes }, () => Math.min(0, known()));
    };
  }

  private readonly deliver = (step: () => void): void => {
    if (this.held === undefined) step();
    else this.held.push(step);
  };

  hold(): void {
    this.held ??= [];
  }

  release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const step of held) step();
  }

  /** Does not hold back proxies that are opened from now on. */
  end(): void {
    EtcdHost.prototype.watch = this.original;
  }
}

for (const dedicated of [false, true]) {
  test(`headers cover what was acknowledged before, with the timeline on ${dedicated ? "a separate host" : "the first shard"}`, async (t) => {
    let etcds: EtcdProcess[] = [];
    let writer: TestProxy | undefined;
    let reader: TestProxy | undefined;
    const watches = new HeldWatches();
    try {
      etcds = [...(await startEtcds(3)), ...(dedicated ? [await startEtcd({ name: "host" })] : [])];
      const shards = etcds.slice(0, 3);
      const config = dedicated ? { timeline: { endpoints: [etcds[3].endpoint] } } : {};
      reader = await openProxy(shards, config);
      watches.end();
      writer = await openProxy(shards, config);
      for (const name of ["a", "b", "c"]) await writer.ask("put", put(name, "1"));
      for (const [what, how] of Object.entries(ANSWERS)) {
        await t.test(what, async () => {
          watches.hold();
          // On a shard that gets no request, because its own revision would reveal the write.
          const where = what === HOST_KEY ? "c" : "a";
          const acknowledged = (await writer!.ask("put", put(where, what))).header!.revision;
          const answer = how(reader!.ask);
          // A stale response comes at once. One that waits for the log needs the events.
          await Promise.race([answer.catch(() => undefined), pause(100)]);
          watches.release();
          const { header } = await answer;
          assert.ok(header!.revision >= acknowledged, `${header!.revision} after ${acknowledged}`);
        });
      }
    } finally {
      watches.end();
      writer?.stop();
      reader?.stop();
      await Promise.all(etcds.map((etcd) => etcd.remove()));
    }
  });
}

test("a revocation returns the last revision of its deletions on all shards, while others write", async () => {
  const etcds = await startEtcds(3);
  const proxies = [await openProxy(etcds), await openProxy(etcds)];
  const [{ ask }, { ask: other }] = proxies as [TestProxy, TestProxy];
  let stopping = false;
  const write = async () => {
    for (let i = 0; !stopping; i++) await other("put", put("c/busy", `${i}`));
  };
  const writers = [write(), write(), write()];
  try {
    for (let round = 0; round < 20; round++) {
      const { id } = await ask("grant", { id: 0n, ttl: 60 });
      for (const name of ["a", "b"]) await ask("put", put(`${name}/leased`, "x", id));
      const { header } = await ask("revoke", { id });
      // Deleted at the header's revision, and not before.
      const at = async (revision: number) =>
        (await ask("range", { ...between("a", "c"), revision })).kvs.map((kv) => text(kv.key));
      assert.deepEqual(await at(header!.revision), []);
      assert.equal(
        (await at(header!.revision - 1)).length,
        1,
        "the header has the revision of the last shard",
      );
    }
  } finally {
    stopping = true;
    await Promise.all(writers);
    for (const proxy of proxies) proxy.stop();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
});

test("a revocation covers the deletions of parts that had already ended", async () => {
  const etcds = await startEtcds(3);
  const proxy = await openProxy(etcds);
  const plain = etcds.map((etcd) => openPlain(etcd));
  const { ask, store } = proxy;
  try {
    for (let round = 0; round < 5; round++) {
      const { id } = await ask("grant", { id: 0n, ttl: 60 });
      for (const name of ["a", "b", "c"]) await ask("put", put(`${name}/leased`, "x", id));
      const others = plain.filter((_, shard) => shard !== store.router.homeOf(id));
      await Promise.all(others.map((each) => each.ask("revoke", { id })));
      const { header } = await ask("revoke", { id });
      const { kvs } = await ask("range", { ...between("a", "d"), revision: header!.revision });
      assert.deepEqual(
        kvs.map((kv) => text(kv.key)),
        [],
      );
    }
  } finally {
    proxy.stop();
    for (const each of plain) each.close();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
});
