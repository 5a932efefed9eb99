import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Code, StatusError } from "../../src/status/error.js";
import { CompareResult, CompareTarget } from "../../src/wire/messages.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { until } from "../support/until.js";
import { text } from "./model.js";
import { type Ask, between, key, openPlain, openProxy, outcome, put, type Request } from "./pair.js";

/* The timeline host is out of space, so writes cannot be sealed. Keys: "a" first shard, "b" second, "c" third. */

const QUOTA = { flags: ["--quota-backend-bytes", String(4 << 20)] };
const NO_SPACE = "etcdserver: mvcc: database space exceeded";
const REFUSED = {
  code: Code.RESOURCE_EXHAUSTED,
  message: `${NO_SPACE} (timeline host; nothing was written)`,
};
const FULL = {
  code: Code.UNAVAILABLE,
  message: `etcd-braid: the timeline host takes no more entries until it has space again: ${NO_SPACE}`,
};
const UNSEALED = { ...FULL, message: `${FULL.message}; the write has taken effect` };
const ALL = between("a", "d");

async function refusal(promise: Promise<unknown>): Promise<{ code: Code; message: string }> {
  const error = await outcome(promise);
  assert.ok(error instanceof StatusError, "was not refused");
  return { code: error.code, message: error.message };
}

/** Overwrites a key until its etcd has no space left. Resolves to the error. */
async function fill(ask: Ask, name: string): Promise<string> {
  const value = "x".repeat(400_000);
  for (;;) {
    const error = await outcome(ask("put", put(name, value)));
    if (error instanceof StatusError) return error.message;
  }
}

/** What an operator does, at the etcd's own endpoint. */
async function makeSpace(etcd: EtcdProcess): Promise<void> {
  const { stdout } = await etcdctl(etcd.endpoint, "get", "x", "-w", "json");
  const { revision } = JSON.parse(stdout).header;
  for (const args of [["compact", "--physical", String(revision)], ["defrag"], ["alarm", "disarm"]]) {
    const { code, stderr } = await etcdctl(etcd.endpoint, ...args);
    assert.equal(code, 0, stderr);
  }
}

/** Revisions that a shard itself has reached. */
const reached = async (shards: readonly { ask: Ask }[]): Promise<number[]> =>
  (await Promise.all(shards.map(({ ask }) => ask("range", key("x"))))).map(({ header }) => header!.revision);

test("host without space: each proxy's first write is sealed later, others are refused and not applied", async () => {
  const [etcds, host] = await Promise.all([startEtcds(3), startEtcd(QUOTA)]);
  const config = { timeline: { endpoints: [host.endpoint] } };
  const proxies = [await openProxy(etcds, config), await openProxy(etcds, config)];
  const [one, two] = proxies.map(({ ask }) => ask) as [Ask, Ask];
  const shards = etcds.map(openPlain);
  const plainHost = openPlain(host);
  try {
    const { revision } = (await one("put", put("b", "old"))).header!;
    assert.equal(await fill(plainHost.ask, "fill"), NO_SPACE);
    assert.deepEqual(await refusal(one("put", put("a", "first of one"))), UNSEALED);
    assert.deepEqual(await refusal(two("put", put("b", "first of two"))), UNSEALED);

    const before = await reached(shards);
    const { id } = await one("grant", { ttl: 60 });
    for (const ask of [one, two]) {
      for (const promise of [
        ask("put", put("a", "refused")),
        ask("put", put("c", "refused")),
        ask("put", put("c", "refused", id)),
        ask("deleteRange", key("a")),
        ask("deleteRange", ALL),
        ask("txn", { success: [{ kind: "put", request: put("c", "refused") }] }),
        ask("txn", { failure: [{ kind: "deleteRange", request: key("b") }] }),
      ]) {
        assert.deepEqual(await refusal(promise), REFUSED);
      }
      // Nothing waits to be sealed there.
      assert.equal((await ask("range", key("c"))).header!.revision, revision);
      const read = await ask("txn", { success: [{ kind: "range", request: key("c") }] });
      assert.equal(read.succeeded, true);
      assert.deepEqual(await refusal(ask("put", put(""))), {
        code: Code.INVALID_ARGUMENT,
        message: "etcdserver: key is not provided",
      });
    }
    assert.deepEqual(await reached(shards), before);

    await makeSpace(host);
    for (const [i, ask] of [one, two].entries()) {
      await until("writes are taken again", async () => {
        const result = await outcome(ask("put", put(`c${i}`, "new")));
        if (!(result instanceof StatusError)) return true;
        assert.deepEqual({ code: result.code, message: result.message }, REFUSED);
        return false;
      });
    }
    for (const ask of [one, two]) {
      const { kvs, header } = await ask("range", ALL);
      assert.deepEqual(
        kvs.map((kv) => [text(kv.key), text(kv.value)]),
        [
          ["a", "first of one"],
          ["b", "first of two"],
          ["c0", "new"],
          ["c1", "new"],
        ],
      );
      // Refused writes have left no revision. Each write that was sealed later has one.
      assert.equal(header!.revision, revision + 4);
      assert.equal(new Set(kvs.map((kv) => kv.modRevision)).size, 4);
      assert.ok(kvs.every((kv) => kv.modRevision > revision));
    }

    // A failed compaction is not retried, so nothing would discover that there is space again.
    assert.equal(await fill(plainHost.ask, "fill"), NO_SPACE);
    assert.deepEqual(await refusal(one("compact", { revision })), FULL);
    await makeSpace(host);
    await until("writes are taken again", async () => {
      return !((await outcome(one("put", put("c", "x")))) instanceof StatusError);
    });
  } finally {
    for (const { close } of [...shards, plainHost]) close();
    for (const proxy of proxies) proxy.stop();
    await Promise.all([...etcds, host].map((etcd) => etcd.remove()));
  }
});

test("timeline host on a shard without space: the shard refuses writes, and those of other shards are refused", async () => {
  const etcds = [await startEtcd(QUOTA), ...(await startEtcds(2))];
  const { ask, stop } = await openProxy(etcds);
  const shards = etcds.map(openPlain);
  try {
    await ask("put", put("b", "old"));
    assert.equal(await fill(shards[0]!.ask, "a"), NO_SPACE);
    assert.deepEqual(await refusal(ask("put", put("b", "first"))), UNSEALED);
    const before = (await reached(shards)).slice(1);
    assert.deepEqual(await refusal(ask("put", put("b", "refused"))), REFUSED);
    assert.deepEqual(await refusal(ask("put", put("c", "refused"))), REFUSED);
    assert.deepEqual((await reached(shards)).slice(1), before);
    await makeSpace(etcds[0]!);
    await until("writes are taken again", async () => {
      return !((await outcome(ask("put", put("a", "new")))) instanceof StatusError);
    });
    const { kvs } = await ask("range", ALL);
    assert.deepEqual(
      kvs.map((kv) => text(kv.value)),
      ["new", "first"],
    );
    assert.ok(kvs[1]!.modRevision < kvs[0]!.modRevision);
  } finally {
    for (const { close } of shards) close();
    stop();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
});

test("writers while space runs out and comes back: refused writes are nowhere, all others have one revision", async () => {
  const [etcds, host] = await Promise.all([startEtcds(3), startEtcd(QUOTA)]);
  const config = { timeline: { endpoints: [host.endpoint] } };
  const proxies = [await openProxy(etcds, config), await openProxy(etcds, config)];
  const plainHost = openPlain(host);
  const revisions = new Map<string, number>();
  const refused = new Set<string>();
  let unclear = 0;
  let stopping = false;
  const write = async (ask: Ask, writer: string) => {
    for (let i = 0; !stopping; i++) {
      const name = `${writer}/${i}`;
      const result = await outcome(ask("put", put(name)));
      if (!(result instanceof StatusError)) revisions.set(name, result.header!.revision);
      else if (result.code === Code.RESOURCE_EXHAUSTED) refused.add(name);
      else unclear++;
      await pause(result instanceof StatusError ? 20 : 1);
    }
  };
  try {
    const writers = proxies.flatMap(({ ask }, p) =>
      ["a", "b", "c", "a", "b", "c"].map((shard, w) => write(ask, `${shard}/${p}/${w}`)),
    );
    await until("all write", () => revisions.size > 100);
    await fill(plainHost.ask, "fill");
    await until("all are refused", () => refused.size > 50);
    await makeSpace(host);
    const { size } = revisions;
    await until("all write again", () => revisions.size > size + 100);
    stopping = true;
    await Promise.all(writers);
    for (const { ask } of proxies) {
      const { kvs, header } = await ask("range", ALL);
      const found = new Map(kvs.map((kv) => [text(kv.key), kv.modRevision]));
      for (const [name, revision] of revisions) assert.equal(found.get(name), revision, name);
      for (const name of refused) assert.ok(!found.has(name), name);
      assert.ok(kvs.length <= revisions.size + unclear);
      assert.equal(new Set(found.values()).size, kvs.length);
      assert.equal(header!.revision, 1 + kvs.length);
    }
    assert.ok(unclear > 0 && unclear <= 2 * writers.length, `${unclear} were not refused in time`);
  } finally {
    stopping = true;
    plainHost.close();
    for (const proxy of proxies) proxy.stop();
    await Promise.all([...etcds, host].map((etcd) => etcd.remove()));
  }
});

test("a shard without space refuses the same writes as an etcd without space", async () => {
  const [etcds, plainEtcd] = await Promise.all([startEtcds(3), startEtcd()]);
  const proxy = await openProxy(etcds);
  const plain = openPlain(plainEtcd);
  try {
    for (const { ask } of [proxy, plain]) await ask("put", put("b/here"));
    for (const { url } of [etcds[1], plainEtcd]) {
      const body = JSON.stringify({ action: "ACTIVATE", alarm: "NOSPACE" });
      assert.ok((await fetch(`${url}/v3/maintenance/alarm`, { method: "POST", body })).ok);
    }
    const write = { kind: "put" as const, request: put("b/new") };
    const erase = { kind: "deleteRange" as const, request: key("b/here") };
    const read = { kind: "range" as const, request: key("b/here") };
    const fails = {
      target: CompareTarget.VERSION,
      result: CompareResult.EQUAL,
      ...key("b/here"),
      version: 99,
    };
    const requests: Request<"txn">[] = [
      { success: [write] },
      { success: [read], failure: [write] },
      { success: [write], failure: [erase] },
      { compare: [fails], success: [write], failure: [write, read] },
      { compare: [fails], success: [read], failure: [erase] },
      { success: [read], failure: [{ kind: "txn" as const, request: { success: [write] } }] },
    ];
    for (const [i, request] of requests.entries()) {
      const [ours, theirs] = await Promise.all(
        [proxy, plain].map(async ({ ask }) => {
          const result = await outcome(ask("txn", request));
          return result instanceof StatusError
            ? [result.code, result.message]
            : [result.succeeded, result.responses.length];
        }),
      );
      assert.deepEqual(ours, theirs, `transaction ${i}`);
    }
    assert.equal(await refusal(proxy.ask("put", put("b/new"))).then(({ message }) => message), NO_SPACE);
    await proxy.ask("deleteRange", key("b/here"));
  } finally {
    proxy.stop();
    plain.close();
    await Promise.all([...etcds, plainEtcd].map((etcd) => etcd.remove()));
  }
});
