import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, mock, type TestContext, test } from "node:test";
import { Etcd3, EtcdLockFailedError, type IKeyValue, type Watcher } from "etcd3";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";

// The npm client etcd3, as a program would use it, through two proxies over three shards.
let store: TestStore;

/** Timers of the client. Some outlive its closing by 30 s and would keep this process waiting. */
const timers: NodeJS.Timeout[] = [];
const { setTimeout: start } = globalThis;
mock.method(globalThis, "setTimeout", (...args: Parameters<typeof start>) => {
  const timer = start(...args);
  timers.push(timer);
  return timer;
});
const DIAL_TIMEOUT = 5_000;

before(async () => {
  store = await startStore({ proxies: 2 });
});

after(async () => {
  await store?.remove();
  for (const timer of timers) timer.unref();
});

/** A client of one of the proxies, closed when the test ends. */
function connect(t: TestContext, proxy = 0): Etcd3 {
  const client = new Etcd3({ hosts: store.proxies[proxy].endpoint, dialTimeout: DIAL_TIMEOUT });
  t.after(() => client.close());
  return client;
}

/** Names of groups that lie on different shards, below a directory whose groups are one segment longer. */
const spread = (name: string) => Array.from({ length: 9 }, (_, i) => `/registry/${name}${i}/key`);

test("get, getAll, put and delete over several shards", async (t) => {
  const client = connect(t);
  const keys = spread("crud");
  for (const [i, key] of keys.entries()) await client.put(key).value(`value ${9 - i}`);
  const other = connect(t, 1);
  assert.equal(await other.get(keys[4]), "value 5");
  assert.equal(await other.get("missing"), null);
  const all = other.getAll().prefix("/registry/crud");
  assert.deepEqual(await all.keys(), keys);
  assert.equal(await other.getAll().prefix("/registry/crud").count(), 9);
  assert.deepEqual(
    await other.getAll().prefix("/registry/crud").sort("Value", "Ascend").limit(2).keys(),
    keys.toReversed().slice(0, 2),
  );
  const { deleted } = await client.delete().prefix("/registry/crud");
  assert.equal(deleted, "9");
  assert.equal(await other.getAll().prefix("/registry/crud").count(), 0);
});

test("transactions: compare, then, else", async (t) => {
  const client = connect(t);
  await client.put("account/alice").value("10");
  const take = () =>
    client
      .if("account/alice", "Value", "==", "10")
      .then(client.put("account/alice").value("7"), client.put("account/bob").value("3"))
      .else(client.get("account/alice"))
      .commit();
  assert.equal((await take()).succeeded, true);
  const second = await take();
  assert.equal(second.succeeded, false);
  assert.equal(second.responses[0].response_range.kvs[0].value.toString(), "7");
  assert.equal(await client.get("account/bob"), "3");
});

test("namespaces are stores of their own", async (t) => {
  const client = connect(t);
  const [one, two] = [client.namespace("one/"), client.namespace("two/")];
  await one.put("key").value("1");
  await two.put("key").value("2");
  assert.equal(await one.get("key"), "1");
  assert.deepEqual(await two.getAll().strings(), { key: "2" });
  assert.equal(await client.get("one/key"), "1");
  await one.delete().all();
  assert.deepEqual(await client.getAll().prefix("two/").keys(), ["two/key"]);
  assert.equal(await one.getAll().count(), 0);
});

test("a lease holds its keys on all shards while it is kept alive, and takes them with it", async (t) => {
  const client = connect(t);
  const lease = client.lease(2);
  const keys = spread("leased");
  for (const key of keys) await lease.put(key).value("v");
  // Three keep-alives: the keys have outlived the lease's two seconds by then.
  for (let i = 0; i < 3; i++) await once(lease, "keepaliveSucceeded");
  const other = connect(t, 1);
  assert.equal(await other.getAll().prefix("/registry/leased").count(), keys.length);
  const lost = once(lease, "lost");
  await other.leaseClient.leaseRevoke({ ID: await lease.grant() });
  assert.equal(await other.getAll().prefix("/registry/leased").count(), 0);
  await lost;
});

test("a lock is held by one client at a time", async (t) => {
  const [first, second] = [connect(t, 0), connect(t, 1)];
  const held = await first.lock("locks/one").acquire();
  await assert.rejects(second.lock("locks/one").acquire(), EtcdLockFailedError);
  await held.release();
  const next = await second.lock("locks/one").acquire();
  await next.release();
});

test("locks exclude each other under contention", async (t) => {
  const clients = [connect(t, 0), connect(t, 1)];
  let inside = 0;
  let done = 0;
  const worker = async (client: Etcd3) => {
    for (let i = 0; i < 5; ) {
      try {
        await client.lock("locks/contended").do(async () => {
          inside++;
          assert.equal(inside, 1);
          await client.get("anything");
          inside--;
        });
        done++;
        i++;
      } catch (error) {
        if (!(error instanceof EtcdLockFailedError)) throw error;
      }
    }
  };
  await Promise.all(clients.flatMap((client) => [worker(client), worker(client)]));
  assert.equal(done, 20);
});

test("an election has one leader, and the next one follows", async (t) => {
  const [first, second] = [connect(t, 0), connect(t, 1)];
  const observer = await second.election("elections/one").observe();
  const seen: (string | undefined)[] = [];
  observer.on("change", (leader) => seen.push(leader));
  const alpha = first.election("elections/one").campaign("alpha");
  await alpha.wait(); // at once: an election that is over before is not told again
  assert.equal(await second.election("elections/one").leader(), "alpha");
  await until("the observer has seen alpha", () => seen.includes("alpha"));
  const beta = second.election("elections/one").campaign("beta");
  const elected = beta.wait();
  await until("beta stands in line", async () => {
    const candidates = await first.getAll().prefix("election/elections/one/").count();
    return candidates === 2;
  });
  await alpha.resign();
  await elected;
  assert.equal(await first.election("elections/one").leader(), "beta");
  await until("the observer has seen beta", () => seen.at(-1) === "beta");
  await beta.resign();
  await observer.cancel();
});

/** Collects what a watcher sees, as `PUT key value` and `DELETE key`. */
function record(watcher: Watcher): string[] {
  const events: string[] = [];
  watcher.on("put", ({ key, value }: IKeyValue) => events.push(`PUT ${key} ${value}`));
  watcher.on("delete", ({ key }: IKeyValue) => events.push(`DELETE ${key}`));
  return events;
}

test("a watcher sees the changes of all shards once and in order", async (t) => {
  const [client, other] = [connect(t, 0), connect(t, 1)];
  const watcher = await client.watch().prefix("/registry/watched").create();
  const events = record(watcher);
  const expected: string[] = [];
  for (const [i, key] of spread("watched").entries()) {
    await other.put(key).value(String(i));
    expected.push(`PUT ${key} ${i}`);
  }
  await other.delete().key("/registry/watched4/key");
  expected.push("DELETE /registry/watched4/key");
  await until("the last event has come", () => events.length >= expected.length);
  await watcher.cancel();
  assert.deepEqual(events, expected);
});

test("a watcher goes on without loss or repetition after its proxy was killed and came back", async (t) => {
  const proxy = await store.addProxy();
  const client = new Etcd3({ hosts: proxy.endpoint, dialTimeout: DIAL_TIMEOUT });
  t.after(() => client.close());
  const other = connect(t, 1);
  const watcher = await client.watch().prefix("/registry/resumed").create();
  const events = record(watcher);
  const [before, during, behind] = [0, 3, 6].map((from) => spread("resumed").slice(from, from + 3));
  for (const key of before) await other.put(key).value("before");
  await until("the first events have come", () => events.length === 3);
  await proxy.kill();
  for (const key of during) await other.put(key).value("during");
  await proxy.start();
  for (const key of behind) await other.put(key).value("behind");
  await until("the last event has come", () => events.length >= 9);
  await watcher.cancel();
  assert.deepEqual(events, [
    ...before.map((key) => `PUT ${key} before`),
    ...during.map((key) => `PUT ${key} during`),
    ...behind.map((key) => `PUT ${key} behind`),
  ]);
});

test("software transactional memory: concurrent increments are all counted", async (t) => {
  const clients = [connect(t, 0), connect(t, 1)];
  await clients[0].put("counter/value").value(0);
  const increment = async (client: Etcd3) => {
    await client.stm({ retries: 100 }).transact(async (tx) => {
      const value = await tx.get("counter/value").number();
      await tx.put("counter/value").value(Number(value) + 1);
    });
  };
  await Promise.all(
    Array.from({ length: 4 }, async (_, worker) => {
      for (let i = 0; i < 5; i++) await increment(clients[worker % 2]);
    }),
  );
  assert.equal(await clients[0].get("counter/value").number(), 20);
});
