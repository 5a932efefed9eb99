import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Etcd3 } from "etcd3";
import { Code } from "../../src/status/error.js";
import { Scrape } from "../ops/scrape.js";
import { startEtcdctl } from "../support/etcdctl.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { type Answer, type Message, RecipeClient } from "./client.js";

/* Lock and Election over three shards and two proxies: what clients rely on, and what one etcd cannot show. */

let store: TestStore;
let serial = 0x1000;

before(async () => {
  store = await startStore({ proxies: 2 });
});
after(async () => {
  await store?.remove();
});

function connect(t: TestContext, proxy = 0): RecipeClient {
  const client = new RecipeClient(store.proxies[proxy].endpoint);
  t.after(() => client.close());
  return client;
}

/** A new lease, as a number and as text in keys. */
async function session(client: RecipeClient, ttl = 600): Promise<{ lease: number; hex: string }> {
  const lease = serial++;
  await client.grant(lease, ttl);
  return { lease, hex: lease.toString(16) };
}

function revisionOf({ response, text }: Answer): number {
  assert.equal(text, "");
  return Number((response.header as Message).revision);
}

test("locks exclude each other, in the order of the queue, over two proxies", async (t) => {
  const clients = [connect(t, 0), connect(t, 1)];
  const WORKERS = 24;
  const order: string[] = [];
  let inside = 0;
  const worker = async (client: RecipeClient, lease: number) => {
    const { response, text } = await client.call("Lock.Lock", { name: "crowd", lease });
    assert.equal(text, "");
    assert.equal(++inside, 1);
    order.push(response.key as string);
    await client.call("KV.Put", { key: "crowd-counter", value: String(lease) });
    inside--;
    await client.call("Lock.Unlock", { key: response.key as string });
  };
  const held = await session(clients[0]);
  await clients[0].call("Lock.Lock", { name: "crowd", lease: held.lease });
  const workers: Promise<void>[] = [];
  for (let i = 0; i < WORKERS; i++)
    workers.push(worker(clients[i % 2], (await session(clients[i % 2])).lease));
  let line: string[] = [];
  await until("all stand in line", async () => {
    line = await clients[0].keys("crowd/");
    return line.length === WORKERS + 1;
  });
  await clients[1].call("Lock.Unlock", { key: `crowd/${held.hex}` });
  await Promise.all(workers);
  assert.deepEqual(order, line.slice(1));
  assert.deepEqual(await clients[0].keys("crowd/"), []);
});

test("a session that expires while it waits gets neither lock nor leadership", async (t) => {
  const [client, other] = [connect(t, 0), connect(t, 1)];
  const holder = await session(client);
  const won = await client.call("Election.Campaign", { name: "expiry-e", lease: holder.lease, value: "v" });
  await client.call("Lock.Lock", { name: "expiry", lease: holder.lease });
  const waiter = await session(client);
  const locking = client.start("Lock.Lock", { name: "expiry", lease: waiter.lease });
  const campaigning = client.start("Election.Campaign", {
    name: "expiry-e",
    lease: waiter.lease,
    value: "w",
  });
  for (const name of ["expiry/", "expiry-e/"])
    await until("both stand in line", async () => (await client.keys(name)).length === 2);
  await other.call("Lease.LeaseRevoke", { ID: waiter.lease });
  await other.call("Lock.Unlock", { key: `expiry/${holder.hex}` });
  await other.call("Election.Resign", { leader: won.response.leader as Message });
  const [lock, leadership] = await Promise.all([locking.answer, campaigning.answer]);
  assert.deepEqual([lock.code, lock.text], [Code.UNKNOWN, "mutex: session is expired"]);
  assert.deepEqual([leadership.code, leadership.text], [Code.UNKNOWN, "election: not leader"]);
});

test("names with keys on several shards: the empty one, and a directory with longer groups", async (t) => {
  const [client, other] = [connect(t, 0), connect(t, 1)];
  for (const name of ["", "/registry"]) {
    const sessions = await Promise.all(Array.from({ length: 5 }, () => session(client)));
    const first = await client.call("Lock.Lock", { name, lease: sessions[0].lease });
    revisionOf(first);
    assert.equal(first.response.key, `${name}/${sessions[0].hex}`);
    const rest = sessions.slice(1).map(({ lease }) => other.start("Lock.Lock", { name, lease }));
    const own = async () =>
      (await client.keys(`${name}/`)).filter((key) => sessions.some(({ hex }) => key === `${name}/${hex}`));
    await until("all stand in line", async () => (await own()).length === 5);
    const line = await own();
    const done: string[] = [];
    const passed = rest.map(async ({ answer }) => {
      const { response, text } = await answer;
      assert.equal(text, "");
      done.push(response.key as string);
      await client.call("Lock.Unlock", { key: response.key as string });
    });
    await client.call("Lock.Unlock", { key: first.response.key as string });
    await Promise.all(passed);
    assert.deepEqual(done, line.slice(1));
  }
});

test("a client that cancels at any moment of its wait leaves nothing behind", async (t) => {
  const [client, other] = [connect(t, 0), connect(t, 1)];
  const holder = await session(client);
  const lock = { name: "moments", lease: holder.lease };
  revisionOf(await client.call("Lock.Lock", lock));
  revisionOf(await client.call("Election.Campaign", { ...lock, value: "v" }));
  const going: Promise<Answer>[] = [];
  for (let i = 0; i < 40; i++) {
    const { lease } = await session(client);
    const from = i % 2 === 0 ? client : other;
    const call =
      i % 4 < 2
        ? from.start("Lock.Lock", { name: "moments", lease })
        : from.start("Election.Campaign", { name: "moments", lease, value: "w" });
    going.push(call.answer);
    await pause(i / 4);
    call.cancel();
  }
  assert.deepEqual(new Set((await Promise.all(going)).map(({ code }) => code)), new Set([Code.CANCELLED]));
  await until("nobody is in line", async () => (await client.keys("moments/")).length === 1);
  await client.call("Lease.LeaseRevoke", { ID: holder.lease });
  const next = await session(other);
  const free = { name: "moments", lease: next.lease };
  revisionOf(await client.call("Lock.Lock", free, 20_000));
  revisionOf(await other.call("Election.Campaign", { ...free, value: "v" }, 20_000));
});

test("a client that cancels while a shard grants it a free lock does not have it", async (t) => {
  const client = connect(t);
  const [{ lease }, next] = [await session(client), await session(client)];
  // The lease has its parts there, so that all that is left to be sent is what takes the lock.
  const { key } = (await client.call("Lock.Lock", { name: "free", lease })).response;
  await client.call("Lock.Unlock", { key: key as string });
  const { leader } = (await client.call("Election.Campaign", { name: "free-e", lease, value: "v" })).response;
  await client.call("Election.Resign", { leader: leader as Message });
  const url = `http://${store.proxies[0].endpoint}/metrics`;
  for (const shard of store.shards) await shard.kill("SIGSTOP");
  const lock = client.start("Lock.Lock", { name: "free", lease });
  const campaign = client.start("Election.Campaign", { name: "free-e", lease, value: "v" });
  const inFlight = async (name: string, ...methods: string[]) => {
    const page = await Scrape.of(url);
    return methods.reduce((sum, method) => sum + page.sum(name, { method }), 0);
  };
  await until(
    "both are on their way to a shard",
    async () => (await inFlight("braid_shard_requests_in_flight", "KV.Txn")) === 2,
  );
  for (const call of [lock, campaign]) call.cancel();
  await Promise.all([lock.answer, campaign.answer]);
  // The proxy must hear of it before the shard responds.
  await until(
    "the proxy knows that the client has gone",
    async () => (await inFlight("braid_requests_in_flight", "Lock.Lock", "Election.Campaign")) === 0,
  );
  for (const shard of store.shards) await shard.kill("SIGCONT");
  const other = { lease: next.lease };
  revisionOf(await client.call("Lock.Lock", { name: "free", ...other }, 10_000));
  revisionOf(await client.call("Election.Campaign", { name: "free-e", value: "w", ...other }, 10_000));
});

test("etcdctl's locks and elections share the queue", async (t) => {
  const client = connect(t);
  const { lease, hex } = await session(client);
  revisionOf(await client.call("Lock.Lock", { name: "shared", lease }));
  const theirs = startEtcdctl(store.proxies[1].endpoint, "lock", "shared");
  t.after(() => theirs.kill("SIGKILL"));
  await until("etcdctl waits", async () => (await client.keys("shared/")).length === 2);
  assert.equal(theirs.output, "");
  const again = await session(client);
  const ours = client.start("Lock.Lock", { name: "shared", lease: again.lease });
  await until("we wait, too", async () => (await client.keys("shared/")).length === 3);
  await client.call("Lock.Unlock", { key: `shared/${hex}` });
  await theirs.says(/^shared\/[0-9a-f]+\n/);
  assert.equal((await client.keys("shared/")).length, 2);
  await theirs.stop();
  assert.equal((await ours.answer).response.key, `shared/${again.hex}`);

  const elected = startEtcdctl(store.proxies[0].endpoint, "elect", "office", "theirs");
  t.after(() => elected.kill("SIGKILL"));
  await elected.says(/^office\/[0-9a-f]+\ntheirs\n/);
  const observer = connect(t, 1).observe("office");
  await observer.count(1);
  const next = await session(client);
  const campaign = client.start("Election.Campaign", { name: "office", lease: next.lease, value: "ours" });
  await until("we stand", async () => (await client.keys("office/")).length === 2);
  await elected.stop();
  assert.equal(((await campaign.answer).response.leader as Message).key, `office/${next.hex}`);
  await observer.count(2);
  assert.deepEqual(observer.values, ["theirs", "ours"]);
  observer.cancel();
});

test("the npm client's elections share the queue", async (t) => {
  const client = connect(t);
  const npm = new Etcd3({ hosts: store.proxies[1].endpoint, dialTimeout: 5_000 });
  t.after(() => npm.close());
  const theirs = npm.election("mixed").campaign("theirs");
  await theirs.wait();
  const { lease } = await session(client);
  const ours = client.start("Election.Campaign", { name: "election/mixed", lease, value: "ours" });
  await until("we stand", async () => (await client.keys("election/mixed/")).length === 2);
  await theirs.resign();
  revisionOf(await ours.answer);
  assert.equal(await npm.election("mixed").leader(), "ours");
});

test("observers see later leaders after a compaction", async (t) => {
  const [client, other] = [connect(t, 0), connect(t, 1)];
  const observer = other.observe("compacted");
  const { lease } = await session(client);
  const won = await client.call("Election.Campaign", { name: "compacted", lease, value: "one" });
  await observer.count(1);
  const { response } = await client.call("KV.Put", { key: "unrelated", value: "v" });
  const { revision } = response.header as Message;
  assert.equal((await client.call("KV.Compact", { revision })).text, "");
  const leader = won.response.leader as Message;
  await client.call("Election.Proclaim", { leader, value: "two" });
  await observer.count(2);
  assert.deepEqual(observer.values, ["one", "two"]);
  observer.cancel();
});

test("observers see a leader that was in the queue before the last one proclaimed", async (t) => {
  const [client, other] = [connect(t, 0), connect(t, 1)];
  const [first, second] = [await session(client), await session(client)];
  const won = await client.call("Election.Campaign", { name: "patient", lease: first.lease, value: "one" });
  const observer = other.observe("patient");
  await observer.count(1);
  const campaign = other.start("Election.Campaign", { name: "patient", lease: second.lease, value: "two" });
  await until("the second stands", async () => (await client.keys("patient/")).length === 2);
  const { leader } = won.response;
  revisionOf(await client.call("Election.Proclaim", { leader: leader as Message, value: "one again" }));
  await observer.count(2);
  revisionOf(await client.call("Election.Resign", { leader: leader as Message }));
  revisionOf(await campaign.answer);
  await observer.count(3);
  assert.deepEqual(observer.values, ["one", "one again", "two"]);
  observer.cancel();
});

test("a proxy that stops ends waiting calls, without a trace", async (t) => {
  const proxy = await store.addProxy();
  const client = connect(t);
  const leaving = new RecipeClient(proxy.endpoint);
  const holder = await session(client);
  revisionOf(await client.call("Lock.Lock", { name: "stop", lease: holder.lease }));
  revisionOf(await client.call("Election.Campaign", { name: "stop-e", lease: holder.lease, value: "v" }));
  const { lease } = await session(client);
  const waiting = [
    leaving.start("Lock.Lock", { name: "stop", lease }),
    leaving.start("Election.Campaign", { name: "stop-e", lease, value: "w" }),
  ];
  const observer = leaving.observe("stop-e");
  await observer.count(1);
  for (const name of ["stop/", "stop-e/"])
    await until("both stand in line", async () => (await client.keys(name)).length === 2);
  assert.equal(await proxy.stop(), 0);
  for (const { answer } of waiting) {
    const { code, text } = await answer;
    assert.deepEqual([code, text], [Code.UNAVAILABLE, "etcdserver: server stopped"]);
  }
  assert.equal((await observer.ended()).code, Code.UNAVAILABLE);
  assert.deepEqual(await client.keys("stop/"), [`stop/${holder.hex}`]);
  assert.deepEqual(await client.keys("stop-e/"), [`stop-e/${holder.hex}`]);
  leaving.close();
});

test("a client that waits at a proxy that dies keeps its place at another one", async (t) => {
  const proxy = await store.addProxy();
  const client = connect(t);
  const dying = new RecipeClient(proxy.endpoint);
  const holder = await session(client);
  revisionOf(await client.call("Lock.Lock", { name: "death", lease: holder.lease }));
  const { lease, hex } = await session(client);
  const lost = dying.start("Lock.Lock", { name: "death", lease });
  await until("it stands in line", async () => (await client.keys("death/")).length === 2);
  const later = await session(client);
  const behind = client.start("Lock.Lock", { name: "death", lease: later.lease });
  await until("another stands behind it", async () => (await client.keys("death/")).length === 3);
  await proxy.kill();
  assert.equal((await lost.answer).code, Code.UNAVAILABLE);
  const again = client.start("Lock.Lock", { name: "death", lease });
  await client.call("Lock.Unlock", { key: `death/${holder.hex}` });
  assert.equal((await again.answer).response.key, `death/${hex}`);
  await client.call("Lock.Unlock", { key: `death/${hex}` });
  assert.equal((await behind.answer).response.key, `death/${later.hex}`);
  dying.close();
});
