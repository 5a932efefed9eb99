import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import type { Config } from "../../src/config/types.js";
import { openShard } from "../../src/shard/client.js";
import {
  AlarmRequest,
  AlarmResponse,
  EMPTY,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  StatusResponse,
} from "../../src/wire/messages.js";
import { Lease, Maintenance } from "../../src/wire/paths.js";
import { Scrape } from "../ops/scrape.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { until } from "../support/until.js";
import { bytes, EtcdClient, EVERYTHING, text, type WatchStream } from "../watch/support.js";
import { marksOf } from "./configured.js";
import { configOver, Joining } from "./joining.js";

/* A plan adds a shard while a proxy runs. */

const READ = { idempotent: true } as const;
const connectTo = (endpoint: string) =>
  openShard({
    index: 0,
    name: "it",
    endpoints: [endpoint],
    requestTimeoutMs: 10_000,
    connectTimeoutMs: 2_000,
    log: { debug() {}, info() {}, warn() {} },
  });

describe("a shard that joins", () => {
  let etcds: EtcdProcess[];
  let joining: Joining;
  let client: EtcdClient;
  /** The third cluster, without the proxy. */
  let direct: EtcdClient;
  /** A watch of all keys that was open before. */
  let watch: WatchStream;

  before(async () => {
    etcds = await startEtcds(3);
    joining = await Joining.open(etcds.slice(0, 2).map(({ endpoint }) => endpoint));
    client = joining.client;
    direct = new EtcdClient(etcds[2]!.endpoint);
    watch = client.watch();
    await watch.create(EVERYTHING);
    await client.set("a/before", "1");
    await joining.join(await joining.prepare(etcds[2]!));
  });
  after(async () => {
    watch.close();
    direct.close();
    await joining.close();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  });

  test("holds its keys", async () => {
    await client.set("c/x", "new");
    assert.equal((await direct.range({ key: bytes("c/x") })).count, 1, "the key is on the new cluster");
    const { kvs } = await client.range({ key: bytes("c/x") });
    assert.deepEqual(
      kvs.map(({ value }) => text(value)),
      ["new"],
    );
    await client.set("b/x", "old");
    const all = await client.range(EVERYTHING);
    assert.deepEqual(
      all.kvs.map(({ key }) => text(key)),
      ["a/before", "b/x", "c/x"],
    );
    const some = await client.range({ ...EVERYTHING, limit: 2, sortTarget: 0, sortOrder: 2 });
    assert.deepEqual(
      some.kvs.map(({ key }) => text(key)),
      ["c/x", "b/x"],
    );
  });

  test("brings its events to a watch that was open before, in order", async () => {
    const from = watch.eventsOf(0).length;
    const expected: string[] = [];
    for (let n = 0; n < 20; n++) {
      const key = `${"abc"[n % 3]}/n`;
      expected.push(`${await client.set(key, String(n))} +${key}=${n}`);
    }
    // Written past the proxy, so that only the watch on the shard notices.
    await direct.set("c/past", "it");
    await watch.until("the write past the proxy", () => watch.shown(0).at(-1)!.endsWith("+c/past=it"));
    const shown = watch.shown(0).slice(from);
    assert.deepEqual(shown.slice(0, -1), expected);
    watch.check();
    const late = client.watch();
    await late.create({ ...EVERYTHING, startRevision: 2 });
    await late.until("all events", () => late.shown(0).length === watch.shown(0).length);
    assert.deepEqual(late.shown(0), watch.shown(0));
    late.close();
  });

  test("gets parts of leases, which end together", async () => {
    const shard = connectTo(etcds[2]!.endpoint);
    const timeToLive = async (id: bigint) =>
      LeaseTimeToLiveResponse.decode(
        await shard.call(Lease.LeaseTimeToLive, LeaseTimeToLiveRequest.encode({ id, keys: true }), READ),
      );
    for (const onShard of [false, true]) {
      const { id } = await client.grant({ ttl: 600 });
      for (const key of ["a/l", "b/l", "c/l"]) await client.put({ key: bytes(key), lease: id });
      assert.deepEqual((await timeToLive(id)).keys.map(text), ["c/l"]);
      const revoke = LeaseRevokeRequest.encode({ id });
      // Past the proxy, its check of the new shard has to find that the part is gone.
      if (onShard) await shard.call(Lease.LeaseRevoke, revoke, READ);
      else {
        const proxy = connectTo(joining.proxy.addresses[0]!);
        await proxy.call(Lease.LeaseRevoke, revoke, READ);
        proxy.close();
      }
      await until("all keys of the lease are gone", async () => {
        const counts = await Promise.all(
          ["a/l", "b/l", "c/l"].map((key) => client.range({ key: bytes(key) })),
        );
        return counts.every(({ count }) => count === 0);
      });
      assert.equal((await timeToLive(id)).ttl, -1);
    }
    shard.close();
  });

  test("is in the metrics, in the status, and in alarms", async () => {
    const page = await Scrape.of(`http://${joining.proxy.addresses[0]}/metrics`);
    const labels = { shard: "shard2" };
    assert.equal(page.sum("braid_shard_endpoint_state", { ...labels, state: "ready" }), 1);
    assert.ok(page.sum("braid_shard_requests_total", labels) > 0);
    assert.ok(page.sum("braid_timeline_sealed_shard_revision", labels) > 1);
    assert.ok(page.sum("braid_watch_events_received_total", labels) > 0);
    const proxy = connectTo(joining.proxy.addresses[0]!);
    const shard = connectTo(etcds[2]!.endpoint);
    const alarm = { alarm: 1, memberId: 4711n };
    await shard.call(Maintenance.Alarm, AlarmRequest.encode({ action: 1, ...alarm }), READ);
    const { alarms } = AlarmResponse.decode(
      await proxy.call(Maintenance.Alarm, AlarmRequest.encode({}), READ),
    );
    assert.deepEqual(alarms, [alarm]);
    await shard.call(Maintenance.Alarm, AlarmRequest.encode({ action: 2, ...alarm }), READ);
    const sizes = await Promise.all(
      [...etcds.map(({ endpoint }) => connectTo(endpoint)), proxy].map(async (each) => {
        const { dbSize } = StatusResponse.decode(await each.call(Maintenance.Status, EMPTY, READ));
        if (each !== proxy) each.close();
        return dbSize;
      }),
    );
    assert.equal(sizes[3], sizes[0]! + sizes[1]! + sizes[2]!);
    proxy.close();
    shard.close();
  });

  test("is compacted with the others", async () => {
    const first = await client.set("c/old", "1");
    const second = await client.set("c/old", "2");
    await client.compact({ revision: second });
    await assert.rejects(client.range({ key: bytes("c/old"), revision: first }), /compacted/);
    const { kvs } = await direct.range({ key: bytes("c/old") });
    const { modRevision } = kvs[0]!;
    await until("the new cluster is compacted", () =>
      direct.range({ key: bytes("c/old"), revision: modRevision - 1 }).then(
        () => false,
        (error: Error) => /compacted/.test(error.message),
      ),
    );
  });
});

/** Runs `body` with two shards of a store, and a third cluster. */
async function withThird(body: (joining: Joining, third: EtcdProcess) => Promise<void>): Promise<void> {
  const etcds = await startEtcds(3);
  const joining = await Joining.open(etcds.slice(0, 2).map(({ endpoint }) => endpoint));
  try {
    await body(joining, etcds[2]!);
  } finally {
    await joining.close();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
}

test("a shard that is down when it joins affects only its keys, and is used when it comes", async () => {
  await withThird(async (joining, third) => {
    const { client } = joining;
    const watch = client.watch();
    await watch.create(EVERYTHING);
    const shard = await joining.prepare(third);
    await third.stop();
    await joining.join(shard);
    await assert.rejects(client.set("c/x", "1"), /shard "shard2": no endpoint reachable/);
    await client.set("a/x", "1");
    await client.set("b/x", "1");
    await watch.until("the others' events", () => watch.eventsOf(0).length === 2);
    await third.restart();
    await until("the shard is used", () =>
      client.set("c/x", "2").then(
        () => true,
        () => false,
      ),
    );
    await watch.until("its event", () => watch.shown(0).some((event) => event.endsWith("+c/x=2")));
    watch.check();
    watch.close();
  });
});

test("a cluster that is not the plan's, or carries no mark, is refused as a shard", async () => {
  await withThird(async (joining, third) => {
    await joining.join({ ...(await joining.prepare(third)), clusterId: "4711" });
    const error = /shard "shard2" is the etcd cluster \d+, but the store was made with cluster 4711/;
    await assert.rejects(joining.client.set("c/x", "1"), error);
    await joining.client.set("a/x", "1");
  });
  await withThird(async (joining, third) => {
    await joining.join(await joining.prepare(third, { markedAs: "other" }));
    const error = /shard "shard2": the etcd cluster \d+ is shard "other" of this store/;
    await assert.rejects(joining.client.set("c/x", "1"), error);
    await joining.client.set("a/x", "1");
  });
  await withThird(async (joining, third) => {
    const direct = new EtcdClient(third.endpoint);
    const shard = await joining.prepare(third);
    await direct.deleteRange({ key: bytes("\0"), rangeEnd: bytes("\x01") });
    direct.close();
    await joining.join(shard);
    await assert.rejects(
      joining.client.set("c/x", "1"),
      /shard "shard2": the etcd cluster \d+ carries no mark/,
    );
    await joining.client.set("a/x", "1");
  });
});

test("the file of a proxy that starts may be the one in force, an earlier or the coming one", async () => {
  await withThird(async (joining, third) => {
    const fourth = await startEtcd();
    const before = joining.config;
    const endpoints = [...before.shards.flatMap((shard) => shard.endpoints), third.endpoint];
    const after = configOver(endpoints);
    const starts = async (config: Config, expected: readonly string[]) => {
      const { shards, warnings, close } = await joining.reopen(config);
      assert.deepEqual(warnings, expected);
      assert.deepEqual(
        shards.all().map(({ name }) => name),
        ["shard0", "shard1", "shard2"],
      );
      await shards.at(2).verify();
      close();
    };
    const FOLLOWS = "the file's shards and rules are not those in force; the proxy follows the store";
    const isRefused = async () => {
      const other = configOver([...endpoints, fourth.endpoint]);
      await assert.rejects(joining.reopen(other), /another shard map: shard shard3 is new/);
      assert.deepEqual(await marksOf(fourth), [], "nothing was written to a cluster that is not the store's");
    };
    try {
      const shard = await joining.prepare(third);
      await assert.rejects(joining.reopen(after), /another shard map: shard shard2 is new/);
      await joining.plan(shard);
      await starts(before, []);
      await starts(after, [`coming ${FOLLOWS}`]);
      await isRefused();
      await joining.move();
      await starts(before, [`earlier ${FOLLOWS}`]);
      await starts(after, []);
      await isRefused();
    } finally {
      await fourth.remove();
    }
  });
});

test("a shard that retires is disconnected, and can come back", async () => {
  await withThird(async (joining, third) => {
    const { client, store, proxy } = joining;
    const watch = client.watch();
    await watch.create(EVERYTHING);
    await joining.join(await joining.prepare(third));
    await client.set("c/x", "1");
    await watch.until("its event", () => watch.eventsOf(0).length === 1);
    assert.throws(() => store.retireShard(0), /shard "shard0" is the timeline host/);
    assert.throws(() => store.retireShard(3), /no shard has index 3/);
    store.retireShard(2);
    await assert.rejects(client.set("c/x", "2"), /shard "shard2" was removed from the store/);
    const at = await client.set("a/x", "2");
    await watch.reaches(0, at);
    const page = async () => Scrape.of(`http://${proxy.addresses[0]}/metrics`);
    assert.equal((await page()).of("braid_shard_streams", { shard: "shard2" }).length, 0);
    assert.deepEqual(
      store.backends().map(({ index }) => index),
      [0, 1],
    );
    await until("its connections are closed", async () => connections(third) === 0);
    // The map in force needs it, so it joins again at the next change.
    await joining.change({ kind: "claim" });
    await until("it is used", () =>
      client.set("c/x", "3").then(
        () => true,
        () => false,
      ),
    );
    await watch.until("its event", () => watch.shown(0).some((event) => event.endsWith("+c/x=3")));
    assert.equal((await page()).of("braid_shard_streams", { shard: "shard2" }).length, 1);
    watch.close();
  });
});

test("a proxy that stops disconnects from it", async () => {
  const etcds = await startEtcds(3);
  const joining = await Joining.open(etcds.slice(0, 2).map(({ endpoint }) => endpoint));
  const third = etcds[2]!;
  await joining.join(await joining.prepare(third));
  await joining.client.set("c/x", "1");
  assert.ok(connections(third) > 0);
  await joining.close();
  await until("its connections are closed", () => connections(third) === 0);
  await Promise.all(etcds.map((etcd) => etcd.remove()));
});

/** Number of connections of this process to an etcd. */
function connections({ port }: EtcdProcess): number {
  const remote = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const inodes = new Set<string | undefined>();
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      inodes.add(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1]);
    } catch {
      // It was closed in the meantime.
    }
  }
  const table = readFileSync("/proc/self/net/tcp", "utf8").split("\n");
  return table
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , to, , , , , , , inode]) => {
      return to === remote && inodes.has(inode);
    }).length;
}
