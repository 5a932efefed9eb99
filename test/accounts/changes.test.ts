import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { Changes, type KeyChange } from "../../src/accounts/changes.js";
import { Tenant } from "../../src/tenants/tenant.js";
import { DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { AuthClient } from "../auth/client.js";
import { Random } from "../kv/model.js";
import { Scrape } from "../ops/scrape.js";
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
  assert.ok(counted > 500, `${counted} changes during the count`);
  const all = RangeRequest.encode({ key: Buffer.from("/t/"), rangeEnd: Buffer.from("/t0"), countOnly: true });
  const { count } = RangeResponse.decode(await client.call(KV.Range, all));
  await until("all changes are known", async () => stored(await scrape()) === count);
  const page = await scrape();
  assert.equal(page.sum("braid_tenant_stored_bytes", { tenant: "t" }), count * (8 + value.length));
});
