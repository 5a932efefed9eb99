import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createAuth } from "../../src/services/auth.js";
import { createRecipes } from "../../src/services/recipes.js";
import { Code, StatusError } from "../../src/status/error.js";
import {
  AuthRoleAddRequest,
  AuthRoleListResponse,
  LeaseGrantRequest,
  LeaseLeasesResponse,
  LockRequest,
} from "../../src/wire/messages.js";
import { Auth, KV, Lease, Lock } from "../../src/wire/paths.js";
import { type Relay, startRelay } from "../shard/support.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { until } from "../support/until.js";
import { text } from "./model.js";
import {
  type Ask,
  between,
  invoke,
  key,
  openPlain,
  openProxy,
  outcome,
  put,
  TestCall,
  type TestProxy,
} from "./pair.js";

/*
 * While the timeline host is known not to answer, writes are refused before they are sent. Keys: "a" first shard, "b"
 * second, "c" third.
 */

const LIMITS = { limits: { requestTimeoutMs: 1_500, connectTimeoutMs: 400 } };
const ALL = between("a", "d");
const EMPTY = new Uint8Array(0);
/** Limit for a refusal, in milliseconds. Far above the proxy's own timeouts, for a busy machine. */
const BOUND = 10_000;

interface Setting {
  readonly proxy: TestProxy;
  readonly ask: Ask;
  readonly host: EtcdProcess;
  /** In front of the host. */
  readonly relay: Relay;
  /** Revisions that the shards have reached. */
  reached(): Promise<number[]>;
}

async function withHost(body: (setting: Setting) => Promise<void>): Promise<void> {
  const [etcds, host] = await Promise.all([startEtcds(3), startEtcd({ name: "host" })]);
  const relay = await startRelay(host.endpoint);
  const proxy = await openProxy(etcds, { ...LIMITS, timeline: { endpoints: [relay.endpoint] } });
  const shards = etcds.map(openPlain);
  const reached = async () =>
    (await Promise.all(shards.map(({ ask }) => ask("range", key("x"))))).map(
      ({ header }) => header!.revision,
    );
  try {
    for (const name of ["a", "b", "c"]) await proxy.ask("put", put(name, "sealed"));
    await body({ proxy, ask: proxy.ask, host, relay, reached });
  } finally {
    for (const shard of shards) shard.close();
    proxy.stop();
    await relay.close();
    await Promise.all([...etcds, host].map((etcd) => etcd.remove()));
  }
}

/** Kind of write → the request. */
const writes = (ask: Ask, lease: bigint): Readonly<Record<string, () => Promise<unknown>>> => ({
  put: () => ask("put", put("b", "refused")),
  "put with a lease": () => ask("put", put("b", "refused", lease)),
  deletion: () => ask("deleteRange", key("b")),
  "deletion on all shards": () => ask("deleteRange", ALL),
  transaction: () => ask("txn", { success: [{ kind: "put", request: put("c", "refused") }] }),
  "lease grant": () => ask("grant", { id: 4711n, ttl: 60 }),
  "lease revocation": () => ask("revoke", { id: lease }),
  compaction: () => ask("compact", { revision: 2 }),
});

async function allRefused({ ask, reached }: Setting, lease: bigint): Promise<void> {
  const before = await reached();
  await Promise.all(Object.entries(writes(ask, lease)).map(([what, write]) => isRefused(what, write)));
  assert.deepEqual(await reached(), before);
}

async function isRefused(what: string, write: () => Promise<unknown>): Promise<void> {
  const since = performance.now();
  const error = await outcome<unknown>(write());
  assert.ok(error instanceof StatusError, `${what} was not refused`);
  assert.equal(error.code, Code.UNAVAILABLE, what);
  assert.doesNotMatch(error.message, /unknown/, what);
  assert.match(
    error.message,
    /^etcd-braid: .*the timeline host cannot be reached: .*nothing was written/,
    what,
  );
  assert.ok(performance.now() - since < BOUND, `${what} was refused in time`);
}

/** A lock below "b". Without a lease it is granted one. */
function lock({ handler, store }: TestProxy, lease = 0n): Promise<Uint8Array> {
  const paths = [KV.Range, KV.Txn, KV.DeleteRange, Lease.LeaseGrant, Lease.LeaseRevoke];
  const unary = new Map(paths.map((path) => [path, handler(path)]));
  const recipes = createRecipes({ handlers: { unary, stream: new Map() }, router: store.router });
  const request = LockRequest.encode({ name: Buffer.from("b/lock"), lease });
  return invoke(recipes.unary.get(Lock.Lock)!, new TestCall(Lock.Lock), request);
}

/** All effects of writes, lease calls and compactions: the shards' revisions and leases, and the compacted revision. */
async function effects({ proxy, reached }: Setting): Promise<object> {
  const leases = proxy.store.shards.all().map(async (shard) => {
    const response = await shard.call(Lease.LeaseLeases, EMPTY, { idempotent: true });
    return LeaseLeasesResponse.decode(response).leases.toSorted();
  });
  const { compactRevision } = proxy.store.timeline;
  return { reached: await reached(), leases: await Promise.all(leases), compactRevision };
}

/** The id of a lease whose home is `shard`. */
function atHome({ store }: TestProxy, shard: number): bigint {
  let id = 1_000n;
  while (store.router.homeOf(id) !== shard) id++;
  return id;
}

async function hostAnswers({ proxy, host }: Setting): Promise<void> {
  await host.kill("SIGCONT");
  await until("the host is known to be back", () => !proxy.store.timeline.isHostAway);
  await proxy.store.timeline.sync();
}

async function writesAgain({ ask }: Setting, head: number): Promise<void> {
  const { header } = await ask("put", put("c", "again"));
  assert.equal(header!.revision, head + 1, "no write was sent, so none has left a revision");
  const { kvs } = await ask("range", ALL);
  assert.deepEqual(
    kvs.map((kv) => text(kv.value)),
    ["sealed", "sealed", "again"],
  );
}

test("host disconnected: every write is refused and takes no effect, until it is back", async () => {
  await withHost(async (setting) => {
    const { proxy, ask, host } = setting;
    const { id } = await ask("grant", { id: 0n, ttl: 600 });
    const { head } = proxy.store.timeline;
    await host.kill();
    await until("the proxy knows", () => !proxy.store.host.isConnected);
    await allRefused(setting, id);
    const waiting = outcome(ask("put", put("b", "refused")));
    assert.ok((await waiting) instanceof StatusError);
    await host.restart();
    await until("it is connected again", () => proxy.store.host.isConnected);
    await writesAgain(setting, head);
    assert.equal(
      (await ask("revoke", { id })).header!.revision,
      head + 1,
      "the lease was not revoked before",
    );
  });
});

test("host connected but silent: all but the first writes are refused, until it answers", async () => {
  await withHost(async (setting) => {
    const { proxy, ask, host } = setting;
    const { id } = await ask("grant", { id: 0n, ttl: 600 });
    await host.kill("SIGSTOP");
    const first = await outcome(ask("put", put("a", "sealed")));
    assert.ok(first instanceof StatusError);
    assert.match(first.message, /; the write has taken effect$/);
    await allRefused(setting, id);
    await host.kill("SIGCONT");
    await until("what waits for its seal has it", () => !proxy.store.timeline.isHostAway);
    const { header } = await ask("range", key("a"));
    await writesAgain(setting, header!.revision);
  });
});

test("idle store, host freezes: grant, put, revocation and lock are refused in time, without effect", async () => {
  await withHost(async (setting) => {
    const { proxy, ask, host } = setting;
    const { id } = await ask("grant", { id: 0n, ttl: 600 });
    await ask("put", put("b", "sealed", id));
    const { head } = proxy.store.timeline;
    const before = await effects(setting);
    await host.kill("SIGSTOP");
    await isRefused("lease grant", () => ask("grant", { id: 0n, ttl: 60 }));
    await isRefused("put", () => ask("put", put("b", "refused")));
    await isRefused("lease revocation", () => ask("revoke", { id }));
    await isRefused("lock", () => lock(proxy));
    await isRefused("lock under a lease", () => lock(proxy, id));
    assert.ok(proxy.store.host.isConnected, "its link stayed open");
    await hostAnswers(setting);
    assert.deepEqual(await effects(setting), before);
    await writesAgain(setting, head);
    assert.equal((await ask("revoke", { id })).header!.revision, head + 2, "the lease had its key");
  });
});

test("the first write after the host froze has no effect if it reads the log, else its error says that it has", async () => {
  await withHost(async (setting) => {
    const { proxy, ask, host } = setting;
    const { id } = await ask("grant", { id: atHome(proxy, 0), ttl: 600 });
    const { id: ofB } = await ask("grant", { id: atHome(proxy, 1), ttl: 600 });
    const readFirst = new Set(["put with a lease", "lease grant", "lease revocation", "compaction", "lock"]);
    const all: Readonly<Record<string, () => Promise<unknown>>> = {
      ...writes(ask, id),
      "put with a lease of its shard": () => ask("put", put("b", "refused", ofB)),
      lock: () => lock(proxy),
      "lock under a lease": () => lock(proxy, ofB),
    };
    for (const [what, write] of Object.entries(all)) {
      const before = await effects(setting);
      await host.kill("SIGSTOP");
      const error = await outcome(write());
      assert.ok(error instanceof StatusError, `${what} was answered`);
      assert.equal(error.code, Code.UNAVAILABLE, what);
      assert.match(error.message, /timeline host/, what);
      await hostAnswers(setting);
      if (readFirst.has(what)) {
        assert.match(error.message, /; nothing was written$/, what);
        assert.deepEqual(await effects(setting), before, what);
      } else {
        assert.match(error.message, /; the write has taken effect$|^etcd-braid: range deleted in part/, what);
      }
    }
  });
});

test("a lease is not granted to a client that cancels before the host answers", async () => {
  await withHost(async (setting) => {
    const { proxy, host } = setting;
    const before = await effects(setting);
    await host.kill("SIGSTOP");
    const call = new TestCall(Lease.LeaseGrant);
    const request = LeaseGrantRequest.encode({ id: 4711n, ttl: 60 });
    const granted = outcome(invoke(proxy.handler(Lease.LeaseGrant), call, request));
    call.cancel();
    await host.kill("SIGCONT");
    assert.ok((await granted) instanceof StatusError);
    assert.deepEqual(await effects(setting), before);
  });
});

test("a read discovers that the host is silent, and another one that it answers again", async () => {
  await withHost(async (setting) => {
    const { proxy, ask, host } = setting;
    const { timeline } = proxy.store;
    const { head } = timeline;
    await host.kill("SIGSTOP");
    assert.ok((await outcome(ask("range", key("b")))) instanceof StatusError);
    assert.ok(timeline.isHostAway);
    await allRefused(setting, 1n);
    await host.kill("SIGCONT");
    await ask("range", key("b"));
    assert.ok(!timeline.isHostAway);
    await writesAgain(setting, head);
  });
});

test("relaxed reads: a lease without a given id needs no response of the host, until it is known to be away", async () => {
  await withHost(async (setting) => {
    const { proxy, ask, host } = setting;
    proxy.store.timeline.relaxedReads = true;
    await host.kill("SIGSTOP");
    const { id } = await ask("grant", { id: 0n, ttl: 600 });
    const before = await effects(setting);
    assert.match(String(await outcome(ask("grant", { id: 4711n, ttl: 60 }))), /nothing was written/);
    assert.match(String(await outcome(ask("grant", { id: 0n, ttl: 60 }))), /nothing was written/);
    await hostAnswers(setting);
    assert.deepEqual(await effects(setting), before);
    await ask("revoke", { id });
  });
});

test("relaxed reads: a change of roles is refused before it takes its lock, which would stay on the host", async () => {
  await withHost(async (setting) => {
    const { proxy, host } = setting;
    const { store } = proxy;
    const { timeline } = store;
    timeline.relaxedReads = true;
    const identity = { header: () => EMPTY };
    const { unary } = createAuth({ ...store, identity, genKey: undefined, access: undefined });
    const add = (name: string) =>
      invoke(unary.get(Auth.RoleAdd)!, new TestCall(Auth.RoleAdd), AuthRoleAddRequest.encode({ name }));
    await host.kill("SIGSTOP");
    await isRefused("change of roles", () => add("refused"));
    await hostAnswers(setting);
    const locks = await store.host.call(Lease.LeaseLeases, EMPTY, { idempotent: true });
    assert.deepEqual(LeaseLeasesResponse.decode(locks).leases, []);
    await add("added");
    for (const shard of store.shards.all()) {
      const response = await shard.call(Auth.RoleList, EMPTY, { idempotent: true });
      assert.deepEqual(AuthRoleListResponse.decode(response).roles, ["added"]);
    }
  });
});

test("a failed compaction leaves nothing to append: the host is probed until it answers", async () => {
  await withHost(async (setting) => {
    const { proxy, host } = setting;
    const { timeline } = proxy.store;
    const { head } = timeline;
    await host.kill("SIGSTOP");
    await assert.rejects(timeline.compact(head));
    assert.ok(timeline.isHostAway);
    await host.kill("SIGCONT");
    await until("it is known to be back", () => !timeline.isHostAway);
    await writesAgain(setting, head);
  });
});

test("a short disconnection refuses nothing: writes wait for the next connection", async () => {
  await withHost(async ({ proxy, ask, relay }) => {
    for (let i = 0; i < 5; i++) {
      relay.cut();
      await until("the proxy knows", () => !proxy.store.host.isConnected);
      await ask("put", put("b", "x"));
    }
  });
});

/*
 * The share of failed writes that took effect. Writers go on during an outage of the host. A write that began before the
 * proxy knew of the outage may have any outcome, and each writer can have one of those.
 */
const WRITERS = 64;

test("host outage under load: writes that begin once it is known take no effect", async (t) => {
  await withHost(async ({ proxy, ask, host }) => {
    const answered = new Set<string>();
    const failed = new Map<string, boolean>();
    let stopping = false;
    let known = false;
    const write = async (writer: number) => {
      for (let i = 0; !stopping; i++) {
        const name = `${"abc"[writer % 3]}/${writer}/${i}`;
        const late = known;
        const result = await outcome(ask("put", put(name, "x")));
        if (result instanceof StatusError) failed.set(name, late);
        else answered.add(name);
        await pause(1);
      }
    };
    const writers = Array.from({ length: WRITERS }, (_, writer) => write(writer));
    await until("all write", () => answered.size > 500);
    await host.kill();
    await until("the proxy knows", () => !proxy.store.host.isConnected);
    known = true;
    const before = failed.size;
    await until("writes are refused", () => failed.size > before + 3 * WRITERS);
    await host.restart();
    const { size } = answered;
    known = false;
    await until("all write again", () => answered.size > size + 500);
    stopping = true;
    await Promise.all(writers);
    const stored = new Set((await ask("range", ALL)).kvs.map((kv) => text(kv.key)));
    for (const name of answered) assert.ok(stored.has(name), `${name} is lost`);
    const effective = [...failed].filter(([name]) => stored.has(name));
    t.diagnostic(`${failed.size} writes failed, ${effective.length} of them took effect`);
    assert.deepEqual(
      effective.filter(([, late]) => late),
      [],
    );
    assert.ok(effective.length <= WRITERS, `${effective.length} took effect`);
  });
});
