import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { SharedTimeline } from "../../src/timeline/timeline.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { etcdctl, startEtcdctl } from "../support/etcdctl.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { base64, opened, over, post, revisions } from "./configured.js";

interface Answer {
  readonly header: { readonly revision: string };
  readonly kvs?: readonly { readonly mod_revision: string; readonly create_revision: string }[];
}

/** A call to the JSON gateway of a proxy, which succeeds. */
async function call(endpoint: string, path: string, body: object): Promise<Answer> {
  const answer = await fetch(`http://${endpoint}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${path}: ${text}`);
  return JSON.parse(text);
}

const put = async (endpoint: string, key: string, more: object = {}): Promise<number> =>
  Number((await call(endpoint, "kv/put", { key: base64(key), ...more })).header.revision);

const putDirectly = async (etcd: EtcdProcess, key: string): Promise<number> =>
  Number((await post(etcd, "put", { key: base64(key) })).header.revision);

const newest = async (etcd: EtcdProcess): Promise<number> => (await revisions([etcd]))[0]!;

/** The entries of the log. */
async function entriesOf(etcd: EtcdProcess): Promise<number> {
  const { count = 0 } = await post(etcd, "range", {
    key: base64("\0braid/log/"),
    range_end: base64("\0braid/log0"),
    count_only: true,
  });
  return Number(count);
}

describe("a new store of one shard", () => {
  let store: TestStore;
  let etcd: EtcdProcess;
  before(async () => {
    store = await startStore({ shards: 1, proxies: 2 });
    [etcd] = store.shards as [EtcdProcess];
  });
  after(() => store?.remove());

  test("counts from revision 2, through both proxies, and each write is one write of the etcd", async () => {
    const start = await newest(etcd);
    for (let n = 0; n < 10; n++) {
      const { endpoint } = store.proxies[n % 2]!;
      assert.equal(await put(endpoint, `/k${n}`), 2 + n);
      const { kvs, header } = await call(store.proxies[(n + 1) % 2]!.endpoint, "kv/range", {
        key: base64(`/k${n}`),
      });
      assert.deepEqual([header.revision, kvs?.[0]?.mod_revision], [String(2 + n), String(2 + n)]);
    }
    assert.equal((await newest(etcd)) - start, 10);
    assert.equal(await entriesOf(etcd), 0);
  });

  test("a lease that ends, and a write past the proxies, have revisions as well", async () => {
    const [first, second] = store.proxies.map(({ endpoint }) => endpoint) as [string, string];
    const before = await put(first, "/before");
    const { ID } = (await call(first, "lease/grant", { TTL: "1" })) as unknown as { ID: string };
    assert.equal(await put(first, "/leased", { lease: ID }), before + 1);
    await until("the lease ends", async () => {
      const { kvs, header } = await call(second, "kv/range", { key: base64("/leased") });
      assert.equal(Number(header.revision), kvs === undefined ? before + 2 : before + 1);
      return kvs === undefined;
    });
    await putDirectly(etcd, "/past");
    assert.equal(await put(second, "/after"), before + 4);
    assert.equal(await entriesOf(etcd), 0);
  });
});

describe("an etcd with data that becomes a store of one shard", () => {
  let etcd: EtcdProcess;
  let store: TestStore;
  before(async () => {
    etcd = await startEtcd({ name: "own" });
    for (let n = 0; n < 5; n++) await putDirectly(etcd, `/old${n}`);
    store = await startStore({ backends: [etcd], proxies: 2 });
  });
  after(async () => {
    await store?.remove();
    await etcd?.remove();
  });

  test("keeps all its revisions, also for writes that do not come through a proxy", async () => {
    const [first, second] = store.proxies.map(({ endpoint }) => endpoint) as [string, string];
    for (let n = 0; n < 5; n++) {
      for (const write of [() => put(first, "/a"), () => putDirectly(etcd, "/b"), () => put(second, "/c")]) {
        const before = await newest(etcd);
        assert.equal(await write(), before + 1);
        for (const endpoint of [first, second]) {
          const { header } = await call(endpoint, "kv/range", { key: base64("/b") });
          assert.equal(Number(header.revision), before + 1);
        }
      }
    }
    const own = (await post(etcd, "range", { key: base64("/"), range_end: base64("0") })) as Answer;
    const told = await call(first, "kv/range", { key: base64("/"), range_end: base64("0") });
    assert.deepEqual([told.header.revision, told.kvs], [own.header.revision, own.kvs]);
  });

  test("a watch that began on the etcd goes on through a proxy", async () => {
    const [first] = store.proxies.map(({ endpoint }) => endpoint) as [string];
    const written = [await put(first, "/w"), await putDirectly(etcd, "/w"), await put(first, "/w")];
    for (const endpoint of [first, etcd.endpoint]) {
      const abort = new AbortController();
      const answer = await fetch(`http://${endpoint}/v3/watch`, {
        method: "POST",
        body: JSON.stringify({ create_request: { key: base64("/w"), start_revision: String(written[0]) } }),
        signal: abort.signal,
      });
      let text = "";
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
      while ((text.match(/mod_revision/g)?.length ?? 0) < 3) text += (await reader.read()).value;
      abort.abort();
      const mods = [...text.matchAll(/"mod_revision":"(\d+)"/g)].map(([, mod]) => Number(mod));
      assert.deepEqual(mods, written);
    }
  });

  test("a compaction takes no revision, and is known to every proxy", async () => {
    const [first, second] = store.proxies.map(({ endpoint }) => endpoint) as [string, string];
    // The second proxy has the events in memory.
    const watching = startEtcdctl(second, "watch", "/c");
    await until("it watches", async () => {
      await put(first, "/c");
      return watching.output.includes("PUT");
    });
    const at = await put(first, "/c");
    await put(second, "/c", { value: base64("last") });
    await watching.says(/last/);
    assert.equal((await etcdctl(first, "compact", String(at))).code, 0);
    // No shard needs to be read for it.
    const empty = await etcdctl(second, "get", "/d", "/c", `--rev=${at - 1}`);
    assert.match(empty.stderr, /required revision has been compacted/);
    for (const endpoint of [second, first]) {
      const again = await etcdctl(endpoint, "compact", String(at));
      assert.match(again.stderr, /required revision has been compacted/);
      const old = await etcdctl(endpoint, "get", "/c", `--rev=${at - 1}`);
      assert.match(old.stderr, /required revision has been compacted/);
    }
    const late = await etcdctl(second, "watch", "/c", `--rev=${at - 1}`);
    assert.match(late.stderr, /required revision has been compacted/);
    await watching.stop();
    assert.equal(await put(second, "/c"), at + 2);
    assert.equal(await entriesOf(etcd), 0);
    const future = await etcdctl(second, "compact", String(at + 1_000));
    assert.match(future.stderr, /required revision is a future revision/);
  });

  test("a proxy that starts later continues where the others are", async () => {
    const before = await put(store.endpoint, "/late");
    const { endpoint } = await store.addProxy();
    const { header } = await call(endpoint, "kv/range", { key: base64("/late") });
    assert.equal(Number(header.revision), before);
    assert.equal(await put(endpoint, "/late"), before + 1);
  });
});

test("the end of a store without entries raises gen, so that nobody who has missed it can write", async () => {
  const etcd = await startEtcd({ name: "sole" });
  const file = over("a", [etcd]);
  const stores = await Promise.all([opened(file), opened(file)]);
  const [first, second] = stores.map(({ timeline }) => timeline) as [SharedTimeline, SharedTimeline];
  try {
    assert.ok(first.isSole && second.isSole, "both begin without entries");
    await first.place(7n, 0);
    await second.sync();
    assert.ok(!first.isSole && !second.isSole, "both know the end");
    assert.equal(await entriesOf(etcd), 1);
    const marks = { key: base64("\0braid/mark/"), range_end: base64("\0braid/mark0") };
    const { kvs } = await post(etcd, "range", marks);
    assert.match(Buffer.from(kvs[0].value, "base64").toString(), /^0{15}1 \{/);
    // After it, each write needs its entry, and the log's own writes have no revisions.
    const revision = await putDirectly(etcd, "/k");
    await Promise.all([first, second].map((timeline) => timeline.seal(0, revision, true)));
    assert.deepEqual([first.head, second.head], [2, 2]);
  } finally {
    for (const store of stores) store.close();
    await etcd.remove();
  }
});
