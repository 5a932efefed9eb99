import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import { RangeRequest, RangeResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { answeredAt } from "./counts.js";
import { Random, seed, text } from "./model.js";
import {
  invoke,
  key,
  openPlain,
  openProxy,
  outcome,
  put,
  type Request,
  TestCall,
  type TestProxy,
} from "./pair.js";

/* Concurrent reads of single keys go to a shard together, which no client can notice. Keys: "a" first shard, "b" second. */

const KEYS = 100;

let etcds: EtcdProcess[];
let proxy: TestProxy;

before(async () => {
  etcds = await startEtcds(3);
  proxy = await openProxy(etcds);
  await Promise.all(names("a", KEYS).map((name) => proxy.ask("put", put(name, `of ${name}`))));
  await proxy.ask("put", put("b0", "of b0"));
});
after(async () => {
  proxy?.stop();
  await Promise.all(etcds.map((etcd) => etcd.remove()));
});

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);

const read = async (request: Request<"range">, call = new TestCall(KV.Range), from = proxy) =>
  RangeResponse.decode(await invoke(from.handler(KV.Range), call, RangeRequest.encode(request)));

const contents = ({ kvs }: RangeResponse): string | undefined =>
  kvs.length === 0 ? undefined : text(kvs[0].value);

test("concurrent reads are few requests to a shard", async () => {
  const calls = await answeredAt(etcds, ["Range", "Txn"], async () => {
    const all = await Promise.all(names("a", KEYS).map((name) => read(key(name))));
    assert.deepEqual(
      all.map(contents),
      names("a", KEYS).map((name) => `of ${name}`),
    );
  });
  assert.equal(calls, 2, "no group is larger than 64");
  const onTwo = () => Promise.all([read(key("a0")), read(key("b0"))]);
  assert.equal(
    await answeredAt(etcds, ["Range", "Txn"], onTwo),
    2,
    "the host's response carries the log's end",
  );
  assert.equal(await answeredAt(etcds, ["Range"], onTwo), 2);
  const onOthers = () =>
    Promise.all(["b", "c"].flatMap((prefix) => names(prefix, 5)).map((name) => read(key(name))));
  assert.equal(
    await answeredAt(etcds, ["Range", "Txn"], onOthers),
    3,
    "one look at the log's end for a turn",
  );
});

test("each read is answered as if it had been alone", async () => {
  const random = new Random(seed());
  const { header } = await proxy.ask("put", put("a-middle", "x"));
  const middle = header!.revision;
  const requests = Array.from(
    { length: 60 },
    (): Request<"range"> => ({
      ...key(random.pick([...names("a", 8), "a-none", "b0", "b-none"])),
      keysOnly: random.chance(0.2),
      countOnly: random.chance(0.2),
      limit: random.below(3),
      revision: random.chance(0.3) ? random.pick([middle, middle - 3, -1, -2]) : 0,
      minModRevision: random.chance(0.2) ? middle - random.below(90) : 0,
      maxCreateRevision: random.chance(0.2) ? middle - random.below(90) : 0,
      serializable: random.chance(0.2),
    }),
  );
  const together = await Promise.all(requests.map((request) => read(request)));
  for (const [i, request] of requests.entries())
    assert.deepEqual(together[i], await read(request), JSON.stringify(request));
  for (const answer of together) assert.ok(answer.header!.revision >= middle);
});

test("a read that etcd accepts only alone costs the others no request", async () => {
  const calls = await answeredAt(etcds, ["Range", "Txn"], async () => {
    const odd = read({ ...key("a0"), revision: -2 });
    const others = await Promise.all(names("a", 30).map((name) => read(key(name))));
    assert.equal(contents(await odd), "of a0");
    assert.deepEqual(
      others.map(contents),
      names("a", 30).map((name) => `of ${name}`),
    );
  });
  assert.equal(calls, 2);
});

test("a refused or cancelled read does not affect the others", async () => {
  const gone = [new TestCall(KV.Range), new TestCall(KV.Range), new TestCall(KV.Range)];
  const reads = names("a", 5).map((name) => read(key(name)));
  const cancelled = gone.map((call) => outcome(read(key("a7"), call)));
  const refused = outcome(read({ ...key("a8"), revision: 1_000_000 }));
  gone[0].cancel();
  await new Promise(setImmediate);
  gone[1].cancel();
  await new Promise(setImmediate);
  gone[2].cancel();
  assert.deepEqual(
    (await Promise.all(reads)).map(contents),
    names("a", 5).map((name) => `of ${name}`),
  );
  for (const [i, ended] of (await Promise.all(cancelled)).entries()) {
    if (ended instanceof StatusError) assert.equal(ended.code, Code.CANCELLED);
    else assert.ok(i === 2, "the response may arrive before the client cancels");
    assert.equal(gone[i].waiting, 0);
  }
  assert.match(((await refused) as StatusError).message, /required revision is a future revision/);
});

for (const [when, wait] of [
  ["before it is sent", () => {}],
  ["while it is under way", () => new Promise(setImmediate)],
] as const) {
  test(`a read of the host that is cancelled ${when} still carries the log's end for others`, async () => {
    const call = new TestCall(KV.Range);
    const given = outcome(read(key("a0"), call));
    const other = read(key("b0"));
    await wait();
    call.cancel();
    assert.equal(contents(await other), "of b0");
    const ended = await given;
    assert.ok(ended instanceof StatusError && ended.code === Code.CANCELLED);
  });
}

test("a read that misses its deadline ends alone", async () => {
  await etcds[1].kill("SIGSTOP");
  try {
    const late = new TestCall(KV.Range, Date.now() + 60);
    const ended = [outcome(read(key("b0"), late)), outcome(read(key("b1"), late))];
    const patient = read(key("b0"));
    setTimeout(() => late.cancel(), 80);
    for (const error of await Promise.all(ended))
      assert.equal((error as StatusError).code, Code.DEADLINE_EXCEEDED);
    await etcds[1].kill("SIGCONT");
    assert.equal(contents(await patient), "of b0");
  } finally {
    await etcds[1].kill("SIGCONT");
  }
});

test("reads are answered although a shard accepts fewer operations than the proxy expects", async () => {
  const small = await startEtcds(3, { flags: ["--max-txn-ops", "3"] });
  const narrow = await openProxy(small);
  try {
    await narrow.ask("put", put("a0", "first"));
    await narrow.ask("put", put("b0", "other"));
    const host = names("a", 20).map((name) => read(key(name), undefined, narrow));
    const other = read(key("b0"), undefined, narrow);
    assert.equal(contents(await other), "other", "the log's end arrives although the host refused the group");
    await Promise.all(host);
    for (let round = 0; round < 6; round++) {
      const all = await Promise.all(names("a", 20).map((name) => read(key(name), undefined, narrow)));
      assert.deepEqual(all.map(contents), ["first", ...Array(19).fill(undefined)]);
    }
    const calls = await answeredAt(small, ["Range", "Txn"], () =>
      Promise.all(names("a", 18).map((name) => read(key(name), undefined, narrow))),
    );
    assert.ok(calls <= 11, `${calls} requests: groups as large as the etcd takes them`);
  } finally {
    narrow.stop();
    await Promise.all(small.map((etcd) => etcd.remove()));
  }
});

test("large values are read separately", async () => {
  const large = "x".repeat(200_000);
  await Promise.all(names("a-large", 4).map((name) => proxy.ask("put", put(name, large))));
  const together = () => Promise.all(names("a-large", 4).map((name) => read(key(name))));
  await together();
  for (const answer of await together()) assert.equal(contents(answer), large);
  assert.equal(await answeredAt(etcds, ["Txn"], together), 0);
  assert.equal(await answeredAt(etcds, ["Range"], together), 4);
});

test("responses that wait to be sealed keep their bytes while others are answered", async () => {
  const fill = (prefix: string, letter: string) =>
    names(prefix, 4).map((name) => put(name, letter.repeat(10_000)));
  for (const request of [...fill("b-kept", "b"), ...fill("c-kept", "c")]) await proxy.ask("put", request);
  const plain = openPlain(etcds[1]);
  const together = (prefix: string) => Promise.all(names(prefix, 4).map((name) => read(key(name))));
  await together("b-kept");
  await plain.ask("put", put("b-past-the-proxy", "x"));
  // Without the host, only such reads are answered that do not wait for the log's end.
  proxy.store.timeline.relaxedReads = true;
  // The timeline's host.
  await etcds[0].kill("SIGSTOP");
  try {
    const waiting = together("b-kept");
    for (let i = 0; i < 5; i++) await together("c-kept");
    await etcds[0].kill("SIGCONT");
    for (const answer of await waiting) assert.equal(contents(answer), "b".repeat(10_000));
  } finally {
    proxy.store.timeline.relaxedReads = false;
    await etcds[0].kill("SIGCONT");
    plain.close();
  }
});

test("reads of a shard that is down name it, and those of other shards are answered", async () => {
  await etcds[1].kill();
  const reads = names("b", 5).map((name) => outcome(read(key(name))));
  assert.equal(contents(await read(key("a0"))), "of a0");
  for (const error of await Promise.all(reads)) {
    assert.ok(error instanceof StatusError);
    assert.equal(error.code, Code.UNAVAILABLE);
    assert.match(error.message, /shard1/);
  }
});
