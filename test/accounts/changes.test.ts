import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { Accounts } from "../../src/accounts/accounts.js";
import { Changes, type KeyChange } from "../../src/accounts/changes.js";
import type { Groups } from "../../src/accounts/groups.js";
import { RequestRates } from "../../src/accounts/requests.js";
import type { Shard } from "../../src/shard/shard.js";
import type { StatusError } from "../../src/status/error.js";
import { etcd } from "../../src/status/etcd.js";
import { Tenant } from "../../src/tenants/tenant.js";
import { Tenants } from "../../src/tenants/tenants.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import type { Watcher } from "../../src/watch/watcher.js";
import {
  DeleteRangeRequest,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  WatchRequest,
  WatchResponse,
} from "../../src/wire/messages.js";
import { KV, Watch } from "../../src/wire/paths.js";
import { AuthClient } from "../auth/client.js";
import { Random } from "../kv/model.js";
import { Scrape } from "../ops/scrape.js";
import { recordingLog } from "../shard/support.js";
import { startStore } from "../support/store.js";
import { until } from "../support/until.js";

const seed = Number(process.env.SEED ?? randomInt(2 ** 31));

test(`SEED=${seed}: what was counted, and what has changed since, is what there is`, () => {
  const random = new Random(seed);
  const tenant = new Tenant(
    { name: "t", user: undefined, prefix: Buffer.from("/"), mode: "enforce", limits: { burstSeconds: 2 } },
    1,
    0,
  );
  const shardOf = (key: Uint8Array) => key[1]! % 2;
  for (let round = 0; round < 300; round++) {
    const truth = new Map<string, number>();
    /** What the events that have arrived say. */
    const seen = new Map<string, number>();
    const underway: { key: string; size: number | undefined; change: KeyChange }[] = [];
    const changes = new Changes(() => tenant, shardOf);
    const write = () => {
      const key = `/${random.below(60)}`;
      const size = random.below(3) === 0 ? undefined : random.below(100);
      const before = truth.get(key);
      if (size === undefined && before === undefined) return;
      const keys = Number(size !== undefined) - Number(before !== undefined);
      const change = { key: Buffer.from(key), keys, bytes: (size ?? 0) - (before ?? 0), isGuess: false };
      if (size === undefined) truth.delete(key);
      else truth.set(key, size);
      underway.push({ key, size, change });
    };
    const arrive = () => {
      const next = underway.shift();
      if (next === undefined) return;
      if (next.size === undefined) seen.delete(next.key);
      else seen.set(next.key, next.size);
      changes.add(next.change);
    };
    const live = () => {
      for (let i = random.below(12); i > 0; i--) (random.below(2) === 0 ? write : arrive)();
    };
    for (let i = 0; i < 40; i++) live();

    const counted = { keys: 0, bytes: 0 };
    const next: (string | null)[] = ["/", "/"];
    while (next.some((each) => each !== null)) {
      const shard = random.below(2);
      const from = next[shard]!;
      if (from === null) continue;
      live();
      changes.begins(shard);
      const rest = [...seen]
        .filter(([key]) => key >= from && shardOf(Buffer.from(key)) === shard)
        .sort(([a], [b]) => (a < b ? -1 : 1));
      const page = rest.slice(0, 1 + random.below(5));
      live();
      // The page may have to be read again.
      if (random.below(5) === 0) continue;
      const end = page.length < rest.length ? `${page.at(-1)![0]}\0` : null;
      next[shard] = end;
      changes.ends(shard, end === null ? null : Buffer.from(end));
      counted.keys += page.length;
      counted.bytes += page.reduce((sum, [, size]) => sum + size, 0);
    }
    changes.complete();
    for (let i = 0; i < 10; i++) live();
    while (underway.length > 0) arrive();
    const sizes = [...truth.values()];
    assert.deepEqual(changes.since(tenant, counted), {
      keys: sizes.length,
      bytes: sizes.reduce((sum, size) => sum + size, 0),
    });
  }
});

test("the deletion of keys whose size is not known counts as of average size, and never below nothing", () => {
  const tenant = new Tenant(
    { name: "t", user: undefined, prefix: Buffer.from("/"), mode: "enforce", limits: { burstSeconds: 2 } },
    1,
    0,
  );
  const changes = new Changes(
    () => tenant,
    () => 0,
  );
  changes.complete();
  const remove = () => changes.add({ key: Buffer.from("/x"), keys: -1, bytes: 0, isGuess: true });
  const counted = { keys: 3, bytes: 100 };
  assert.deepEqual(changes.since(tenant, counted), counted);
  remove();
  assert.deepEqual(changes.since(tenant, counted), { keys: 2, bytes: 67 });
  for (let i = 0; i < 3; i++) remove();
  assert.deepEqual(changes.since(tenant, counted), { keys: 0, bytes: 0 });
});

/** Accounts of a store of one shard, whose events and timers come when the test says so. */
function openAccounts(keys: readonly string[]) {
  const log = recordingLog();
  const tenants = new Tenants({ processes: () => 1, now: () => 0, log });
  const prefix = Buffer.from("/");
  tenants.configure([{ name: "t", user: undefined, prefix, mode: "enforce", limits: { burstSeconds: 2 } }]);
  const requests: RangeRequest[] = [];
  /** How the next requests fail. */
  const failures: (StatusError | undefined)[] = [];
  const shard = {
    index: 0,
    name: "s",
    call: async (_: string, bytes: Uint8Array) => {
      const request = RangeRequest.decode(bytes);
      requests.push(request);
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      const from = Buffer.from(request.key).toString();
      const to = Buffer.from(request.rangeEnd).toString();
      const kvs = keys
        .filter((key) => key >= from && (to === "\0" || key < to))
        .map((key) => ({ key: Buffer.from(key) }));
      return RangeResponse.encode({ kvs: kvs.slice(0, request.limit), more: kvs.length > request.limit });
    },
  } as unknown as Shard;
  const shards = [shard];
  const watchers: Watcher[] = [];
  const timers: { readonly ms: number; end(): void }[] = [];
  const state = { isWanted: true, attached: 0, position: 40, now: 0 };
  const accounts = new Accounts({
    shards: () => shards,
    shardOf: () => 0,
    groups: { ofKey: () => ({ group: prefix, shard: "s" }) } as unknown as Groups,
    tenants,
    watches: [],
    requests: new RequestRates(0),
    processes: () => 1,
    counted: () => {},
    wanted: () => true,
    events: {
      hub: {
        attach: (watcher) => {
          watchers.push(watcher);
          state.attached++;
        },
        detach: () => state.attached--,
        watermark: () => state.position,
      },
      timeline: { head: 40, cutAt: (revision) => revision + 100 },
      header: () => Buffer.alloc(0),
      wanted: () => state.isWanted,
    },
    runtime: {
      ...systemRuntime,
      now: () => state.now,
      // Waits of the pace pass at once.
      timer: (ms, end, background = false) => {
        if (!background) {
          state.now += ms;
          setImmediate(end);
          return () => {};
        }
        const timer = { ms, end };
        timers.push(timer);
        return () => {
          if (timers.includes(timer)) timers.splice(timers.indexOf(timer), 1);
        };
      },
    },
    log,
  });
  return {
    ...{ accounts, state, requests, failures, watchers, timers, log },
    stored: () => [...tenants.all()][0]!.stored?.keys,
    create: (key: string) => {
      const kv = { key: Buffer.from(key), createRevision: 9, modRevision: 9 };
      watchers.at(-1)!.outlet.send([WatchResponse.encode({ events: [{ kv }] })], 1, 9);
    },
    /** Ends the pause of this length. */
    end: (ms: number) => {
      const at = timers.findIndex((timer) => timer.ms === ms);
      assert.ok(at >= 0, `no timer of ${ms} ms, but ${timers.map((timer) => timer.ms)}`);
      state.now += ms;
      timers.splice(at, 1)[0]!.end();
    },
    until: (what: string, ms: number) => until(what, () => timers.some((timer) => timer.ms === ms)),
  };
}

test("pages are read at the revision that the events have reached, also from members that are behind", async () => {
  const { accounts, requests, failures, state, stored, create, ...run } = openAccounts(["/a", "/b"]);
  failures.push(etcd.futureRevision());
  accounts.consider();
  run.end(0);
  state.position = 41;
  await run.until("the keys are counted", 60_000);
  assert.deepEqual(
    requests.map(({ revision, serializable }) => [revision, serializable]),
    [
      [140, true],
      [141, false],
    ],
  );
  assert.equal(stored(), 2);
  for (const key of ["/c", "/d"]) create(key);
  run.end(1_000);
  assert.equal(stored(), 4);
  accounts.stop();
  assert.deepEqual([state.attached, run.timers.length], [0, 0]);
});

test("when events are lost, or come after a count has begun, the keys are counted again soon", async () => {
  const { accounts, watchers, state, stored, create, log, ...run } = openAccounts(["/a", "/b"]);
  accounts.consider();
  run.end(0);
  await run.until("the keys are counted", 60_000);
  create("/c");
  const [lost] = watchers;
  lost!.outlet.compacted(lost!, 50);
  assert.equal(watchers.length, 2);
  assert.deepEqual(
    run.timers.map(({ ms }) => ms),
    [10_000],
    "nothing else is told meanwhile",
  );
  assert.equal(stored(), 2);
  run.end(10_000);
  // In the middle of the count.
  watchers[1]!.outlet.compacted(watchers[1]!, 60);
  await run.until("it is given up", 10_000);
  run.end(10_000);
  await run.until("the keys are counted", 60_000);
  create("/d");
  run.end(1_000);
  assert.equal(stored(), 3);
  // Not wanted, and wanted again.
  state.isWanted = false;
  accounts.consider();
  assert.deepEqual(
    run.timers.map(({ ms }) => ms),
    [60_000],
  );
  state.isWanted = true;
  accounts.consider();
  assert.deepEqual(
    run.timers.map(({ ms }) => ms),
    [10_000],
  );
  assert.deepEqual(log.lines, []);
  accounts.stop();
});

test(`SEED=${seed}: while clients write, the numbers of a tenant become exact`, async (t) => {
  const random = new Random(seed);
  const store = await startStore({ shards: 3 });
  t.after(() => store.remove());
  const client = new AuthClient(store.endpoint);
  t.after(() => client.close());
  // All are of one size, so that sizes are known.
  const value = Buffer.from("v".repeat(20));
  const keyOf = (i: number) => Buffer.from(`/t/${String(i).padStart(5, "0")}`);
  const put = (i: number) => client.call(KV.Put, PutRequest.encode({ key: keyOf(i), value }));
  const remove = (i: number) => client.call(KV.DeleteRange, DeleteRangeRequest.encode({ key: keyOf(i) }));
  for (let i = 0; i < 4_000; i += 100) await Promise.all(Array.from({ length: 100 }, (_, j) => put(i + j)));

  const [proxy] = store.proxies;
  const config = JSON.parse(readFileSync(proxy!.configFile, "utf8"));
  config.tenants = [{ name: "t", prefix: "/t/", limits: { storedKeys: 1_000_000 } }];
  writeFileSync(proxy!.configFile, JSON.stringify(config));
  process.kill(proxy!.pid, "SIGHUP");

  const scrape = () => Scrape.of(`http://${store.endpoint}/metrics`);
  const stored = (page: Scrape) => page.sum("braid_tenant_stored_keys", { tenant: "t" });
  let isOver = false;
  let writes = 0;
  const writers = Array.from({ length: 8 }, async () => {
    for (; !isOver; writes++) await (random.below(2) === 0 ? put : remove)(random.below(6_000));
  });
  await until("the keys are counted", async () => stored(await scrape()) > 0);
  const counted = writes;
  await until("there were more changes", () => writes > counted + 1_000);
  isOver = true;
  await Promise.all(writers);
  assert.ok(counted > 50, `${counted} changes during the count`);
  const all = RangeRequest.encode({ key: Buffer.from("/t/"), rangeEnd: Buffer.from("/t0"), countOnly: true });
  const { count } = RangeResponse.decode(await client.call(KV.Range, all));
  await until("all changes are known", async () => stored(await scrape()) === count);
  const page = await scrape();
  assert.equal(page.sum("braid_tenant_stored_bytes", { tenant: "t" }), count * (8 + value.length));

  // A client that watches all keys gets the same responses as the proxy's own watch.
  const frames: WatchResponse[] = [];
  const watch = client.connection.stream(Watch.Watch, {
    message: (message) => frames.push(WatchResponse.decode(message)),
    closed: () => {},
  });
  const everything = { key: Buffer.from([0]), rangeEnd: Buffer.from([0]) };
  watch.send(WatchRequest.encode({ kind: "create", request: everything }));
  await until("the watch is open", () => frames.length > 0);
  const { header } = PutResponse.decode(await put(0));
  await until("the event comes", () => frames.length > 1);
  assert.deepEqual(frames[1]!.header, { ...frames[0]!.header, revision: header!.revision });
});
