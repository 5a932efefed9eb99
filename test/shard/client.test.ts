import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Reply, UnaryHandler } from "../../src/rpc/call.js";
import { UnsentError } from "../../src/shard/errors.js";
import { Code, StatusError, withDetail } from "../../src/status/error.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import { RangeRequest } from "../../src/wire/messages.js";
import { KV, Maintenance } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { until } from "../support/until.js";
import {
  failureOf,
  get,
  put,
  putRequest,
  rangeRequest,
  recordingLog,
  shardOf,
  startRelay,
} from "./support.js";

const READ = { idempotent: true };
const WRITE = { idempotent: false };

describe("one etcd", () => {
  let etcd: EtcdProcess;
  before(async () => {
    etcd = await startEtcd();
  });
  after(() => etcd.remove());

  /** Starts a put that takes effect, while a relay holds back its answer. */
  async function unansweredPut(key: string) {
    const relay = await startRelay(etcd.endpoint);
    const shard = shardOf([relay.endpoint]);
    const direct = shardOf([etcd.endpoint]);
    await put(shard, "warm", "1");
    relay.holdAnswers(true);
    const doubtful = failureOf(put(shard, key, "1"));
    await until(async () => (await get(direct, key)) !== undefined);
    return { relay, shard, direct, doubtful };
  }

  test("calls pass through", async () => {
    const shard = shardOf([etcd.endpoint]);
    await put(shard, "k", "v");
    assert.deepEqual(await get(shard, "k"), { value: "v", version: 1 });
    assert.deepEqual(shard.endpoints(), [
      { url: etcd.endpoint, state: "ready", lastError: undefined, connects: 1, failures: 0, inUse: true },
    ]);
    shard.close();
  });

  test("a large value comes back completely", async () => {
    const shard = shardOf([etcd.endpoint]);
    for (let i = 0; i < 8; i++) await put(shard, `large/${i}`, "x".repeat(1_400_000));
    const all = RangeRequest.encode({ key: Buffer.from("large/"), rangeEnd: Buffer.from("large0") });
    const response = await shard.call(KV.Range, all, READ);
    assert.ok(response.length > 8 * 1_400_000);
    shard.close();
  });

  test("etcd's errors keep code and text", async () => {
    const shard = shardOf([etcd.endpoint]);
    const future = RangeRequest.encode({ key: Buffer.from("k"), revision: 1_000_000 });
    const error = await failureOf(shard.call(KV.Range, future, READ));
    assert.ok(error instanceof StatusError);
    assert.equal(error.code, Code.OUT_OF_RANGE);
    assert.equal(error.message, "etcdserver: mvcc: required revision is a future revision");
    const unknown = await failureOf(shard.call("/etcdserverpb.KV/Nonsense", future, READ));
    assert.equal(unknown.code, Code.UNIMPLEMENTED);
    shard.close();
  });

  test("the shard connects at the first call, and calls fail after close", async () => {
    const shard = shardOf([etcd.endpoint]);
    assert.equal(shard.endpoints()[0]?.state, "idle");
    shard.close();
    const error = await failureOf(get(shard, "k"));
    assert.equal(error.code, Code.UNAVAILABLE);
    assert.equal(error.message, 'shard "a": closed');
  });

  test("a write in flight when the connection is lost is reported as in doubt and never sent again", async () => {
    const { relay, shard, direct, doubtful } = await unansweredPut("doubtful");
    relay.cut();
    const error = await doubtful;
    assert.equal(error.code, Code.UNAVAILABLE);
    assert.ok(!(error instanceof UnsentError));
    assert.equal(
      error.message,
      'shard "a": connection lost; whether the request took effect is unknown',
      "no address for clients",
    );
    assert.match(withDetail(error), /\(127\.0\.0\.1:\d+: .+\)$/);
    relay.holdAnswers(false);
    await put(shard, "later", "1");
    assert.equal((await get(direct, "doubtful"))?.version, 1);
    shard.close();
    direct.close();
    await relay.close();
  });

  test("a read in flight when the connection is lost is sent again", async () => {
    const relay = await startRelay(etcd.endpoint);
    const shard = shardOf([relay.endpoint]);
    await put(shard, "read", "1");
    relay.holdAnswers(true);
    const answer = get(shard, "read");
    // On a ready connection, the request is sent at once.
    await new Promise((resolve) => setImmediate(resolve));
    relay.cut();
    relay.holdAnswers(false);
    assert.deepEqual(await answer, { value: "1", version: 1 });
    assert.equal(relay.accepted, 2);
    shard.close();
    await relay.close();
  });

  test("no write is applied twice while connections keep breaking", async () => {
    const relay = await startRelay(etcd.endpoint);
    const shard = shardOf([relay.endpoint]);
    const direct = shardOf([etcd.endpoint]);
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
    let state = seed;
    const random = () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return state / 2 ** 32;
    };
    let doubtful = 0;
    const acknowledged: string[] = [];
    const keys = Array.from({ length: 200 }, (_, i) => `broken/${i}`);
    const queue = [...keys];
    const writer = async () => {
      for (let key = queue.shift(); key !== undefined; key = queue.shift()) {
        const k = key;
        const done = put(shard, k, "1").then(
          () => acknowledged.push(k),
          (error: StatusError) => {
            doubtful++;
            assert.match(error.message, /whether the request took effect is unknown/);
          },
        );
        if (random() < 0.15) setTimeout(() => relay.cut(), random() * 3);
        await done;
      }
    };
    await Promise.all([writer(), writer(), writer(), writer()]);
    for (const key of keys) {
      const version = (await get(direct, key))?.version ?? 0;
      assert.ok(version <= 1, `${key} was written ${version} times (SEED=${seed})`);
      if (acknowledged.includes(key)) assert.equal(version, 1, `${key} was lost (SEED=${seed})`);
    }
    assert.ok(doubtful > 0 && acknowledged.length > 0, `the wire broke ${doubtful} writes (SEED=${seed})`);
    shard.close();
    direct.close();
    await relay.close();
  });

  test("cancelling a call ends it without a result", async () => {
    const shard = shardOf([etcd.endpoint]);
    await put(shard, "k", "v");
    let called = false;
    const cancel = shard.unary(KV.Range, rangeRequest("k"), READ, () => {
      called = true;
    });
    cancel();
    await get(shard, "k");
    assert.equal(called, false);
    shard.close();
  });

  test("calls in flight fail when the shard is closed", async () => {
    const relay = await startRelay(etcd.endpoint);
    const shard = shardOf([relay.endpoint]);
    await put(shard, "k", "v");
    relay.holdAnswers(true);
    const pending = failureOf(get(shard, "k"));
    shard.close();
    assert.equal((await pending).message, 'shard "a": closed');
    await relay.close();
  });

  test("when the shard is closed, a write in flight is in doubt, one that waits for a connection is not", async () => {
    const { relay, shard, direct, doubtful } = await unansweredPut("closing");
    shard.close();
    const error = await doubtful;
    assert.equal(error.code, Code.UNAVAILABLE);
    assert.ok(!(error instanceof UnsentError));
    assert.equal(error.message, 'shard "a": closed; whether the request took effect is unknown');
    const unreachable = shardOf(["127.0.0.1:1"]);
    const waiting = failureOf(put(unreachable, "closing", "2"));
    unreachable.close();
    const unsent = await waiting;
    assert.ok(unsent instanceof UnsentError);
    assert.equal(unsent.message, 'shard "a": closed');
    direct.close();
    await relay.close();
  });
});

describe("an etcd that stops and restarts", () => {
  let etcd: EtcdProcess;
  before(async () => {
    etcd = await startEtcd();
  });
  after(() => etcd.remove());

  test("a call while it is down says why each endpoint cannot be reached", async () => {
    await etcd.kill();
    const log = recordingLog();
    const shard = shardOf([etcd.endpoint, "127.0.0.1:1"], { connectTimeoutMs: 500, log });
    const started = Date.now();
    const error = await failureOf(get(shard, "k"));
    assert.ok(Date.now() - started < 5_000);
    assert.equal(error.code, Code.UNAVAILABLE);
    assert.equal(error.message, 'shard "a": no endpoint reachable', "no address for clients");
    assert.equal(
      withDetail(error),
      `shard "a": no endpoint reachable (${etcd.endpoint}: connection refused; 127.0.0.1:1: connection refused)`,
    );
    assert.ok(!(error instanceof UnsentError), "it might have been sent before");
    const unsent = await failureOf(put(shard, "k", "v"));
    const late = await failureOf(
      shard.call(KV.Put, putRequest("k", "v"), { ...WRITE, deadline: Date.now() + 100 }),
    );
    for (const each of [unsent, late]) {
      assert.ok(each instanceof UnsentError);
      assert.match(each.message, /no endpoint reachable/);
    }
    assert.equal(late.code, Code.DEADLINE_EXCEEDED);
    const { connects, failures, ...health } = shard.endpoints()[0]!;
    assert.deepEqual(health, {
      url: etcd.endpoint,
      state: "failed",
      lastError: "connection refused",
      inUse: true,
    });
    assert.ok(connects === 0 && failures > 0, `${connects} connects, ${failures} failures`);
    assert.equal(log.lines.filter((line) => line.level === "warn").length, 2);
    shard.close();
    await etcd.restart();
  });

  test("a write that finds no connection waits for one and is applied once", async () => {
    const shard = shardOf([etcd.endpoint]);
    await put(shard, "before", "1");
    await etcd.kill();
    await until(() => shard.endpoints()[0]?.state !== "ready");
    const writes = ["waiting/1", "waiting/2"].map((key) => put(shard, key, "1"));
    await etcd.restart();
    const restarted = Date.now();
    await Promise.all(writes);
    assert.ok(Date.now() - restarted < 3_000, "a restarted etcd is used again quickly");
    assert.equal((await get(shard, "waiting/1"))?.version, 1);
    assert.equal((await get(shard, "waiting/2"))?.version, 1);
    shard.close();
  });

  test("with a frozen etcd, the caller's deadline is DEADLINE_EXCEEDED, our own timeout UNAVAILABLE", async () => {
    const shard = shardOf([etcd.endpoint], { requestTimeoutMs: 600 });
    await put(shard, "k", "v");
    await etcd.kill("SIGSTOP");
    const started = Date.now();
    const [deadline, timeout, write] = await Promise.all([
      failureOf(shard.call(KV.Range, rangeRequest("k"), { ...READ, deadline: Date.now() + 300 })),
      failureOf(shard.call(KV.Range, rangeRequest("k"), { ...READ, deadline: Number.POSITIVE_INFINITY })),
      failureOf(shard.call(KV.Put, putRequest("k", "w"), WRITE)),
    ]);
    assert.ok(Date.now() - started < 5_000);
    assert.equal(deadline.code, Code.DEADLINE_EXCEEDED);
    assert.equal(timeout.code, Code.UNAVAILABLE);
    assert.equal(timeout.message, 'shard "a": no answer in time', "no address for clients");
    assert.equal(withDetail(timeout), `shard "a": no answer in time (${etcd.endpoint})`);
    assert.match(write.message, /in time; whether the request took effect is unknown$/);
    assert.ok(!(write instanceof UnsentError));
    assert.equal(shard.endpoints()[0]?.state, "silent");
    await etcd.kill("SIGCONT");
    await until(() => shard.endpoints()[0]?.state === "ready");
    await put(shard, "k", "x");
    assert.equal((await get(shard, "k"))?.value, "x");
    shard.close();
  });

  test("an etcd frozen before the first call: the wait is bounded and reported, and it is used once it runs", async () => {
    await etcd.kill("SIGSTOP");
    const shard = shardOf([etcd.endpoint], { connectTimeoutMs: 2_000 });
    const error = await failureOf(get(shard, "k"));
    assert.equal(
      withDetail(error),
      `shard "a": no endpoint reachable (${etcd.endpoint}: accepts connections but does not answer)`,
    );
    await etcd.kill("SIGCONT");
    assert.equal((await get(shard, "k"))?.value, "x");
    shard.close();
  });
});

describe("scripted endpoints", () => {
  const serve = async (handler: UnaryHandler, address = "127.0.0.1:0") =>
    serveHttp2(
      {
        unary: new Map([
          [KV.Range, handler],
          [KV.Put, handler],
          [Maintenance.Status, handler],
        ]),
        stream: new Map(),
      },
      { listen: [address], maxReceiveBytes: 1 << 20 },
    );

  test("a read that waits for a silent endpoint leaves it as soon as another is connected", async () => {
    const answers = (_call: unknown, _request: Uint8Array, reply: Reply) =>
      reply(undefined, new Uint8Array(0));
    // It answers pings, so that only the wait for an answer shows that it is silent.
    let asked = 0;
    const silent = await serve(({ path }) => {
      if (path === KV.Range) asked++;
    });
    const later = await serve(answers);
    await later.shutdown(0);
    const shard = shardOf([silent.addresses[0]!, later.addresses[0]!], { requestTimeoutMs: 60_000 });
    const read = get(shard, "k");
    await until(() => shard.endpoints()[0]?.state === "silent");
    const back = await serve(answers, later.addresses[0]);
    assert.equal(await read, undefined);
    assert.equal(asked, 1);
    assert.equal(shard.endpoints()[1]?.inUse, true);
    shard.close();
    await Promise.all([silent.shutdown(0), back.shutdown(0)]);
  });

  test("cancellation and metadata reach the endpoint", async () => {
    const seen: string[] = [];
    const server = await serve((call, _request, reply) => {
      seen.push(`hasleader ${call.metadata.get("hasleader")}`);
      call.onCancel(() => {
        seen.push("cancelled");
        reply(new StatusError(Code.CANCELLED, "gone"));
      });
    });
    const shard = shardOf(server.addresses);
    const options = { ...READ, metadata: { hasleader: "true" } };
    const cancel = shard.unary(KV.Range, rangeRequest("k"), options, () => seen.push("done"));
    await until(() => seen.length === 1);
    cancel();
    await until(() => seen.length === 2);
    assert.deepEqual(seen, ["hasleader true", "cancelled"]);
    shard.close();
    await server.shutdown(0);
  });

  test("an endpoint without a leader: reads go elsewhere, writes fail with etcd's error, later calls avoid it", async () => {
    const etcd = await startEtcd();
    let asked = 0;
    let leader = true;
    const server = await serve((_call, _request, reply) => {
      asked++;
      if (leader) reply(undefined, new Uint8Array(0));
      else reply(new StatusError(Code.UNAVAILABLE, "etcdserver: no leader"));
    });
    for (const attempt of ["read", "write"]) {
      leader = true;
      // The first connected endpoint is used.
      await etcd.kill("SIGSTOP");
      const shard = shardOf([server.addresses[0]!, etcd.endpoint]);
      await get(shard, "k").catch(() => {});
      await etcd.kill("SIGCONT");
      await until(() => shard.endpoints().every(({ state }) => state === "ready"));
      leader = false;
      asked = 0;
      if (attempt === "read") assert.equal(await get(shard, "k"), undefined);
      else {
        const error = await failureOf(put(shard, "k", "v"));
        assert.equal(error.code, Code.UNAVAILABLE);
        assert.equal(error.message, "etcdserver: no leader");
      }
      for (let i = 0; i < 5; i++) await put(shard, "other", "v");
      assert.equal(asked, 1, attempt);
      shard.close();
    }
    await server.shutdown(0);
    await etcd.remove();
  });
});
