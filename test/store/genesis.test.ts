import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../../src/app/store/connect.js";
import { markStore } from "../../src/app/store/marks.js";
import { openStore } from "../../src/app/store/store.js";
import { createLog } from "../../src/ops/log.js";
import type { ShardClient } from "../../src/shard/client.js";
import { Code, StatusError } from "../../src/status/error.js";
import { KV } from "../../src/wire/paths.js";
import type { EtcdProcess } from "../support/etcd.js";
import { etcdctl, startEtcdctl } from "../support/etcdctl.js";
import { ProxyProcess } from "../support/store.js";
import {
  at,
  configured,
  type File,
  marksOf,
  open,
  opened,
  over,
  revisions,
  withEtcds,
} from "./configured.js";

const log = createLog("silent");

/** The clients until, all together, they have sent `writes` transactions that write. */
function dyingAfter(writes: number, clients: readonly ShardClient[]): ShardClient[] {
  let left = writes;
  return clients.map((client) => {
    const call: ShardClient["call"] = (path, request, options) =>
      path === KV.Txn && !options.idempotent && left-- <= 0
        ? Promise.reject(new StatusError(Code.INTERNAL, "it died"))
        : client.call(path, request, options);
    return new Proxy(client, { get: (target, name) => (name === "call" ? call : Reflect.get(target, name)) });
  });
}

const PLACES: [name: string, file: (etcds: readonly EtcdProcess[]) => File][] = [
  ["the last shard is the host", (etcds) => over("abc", etcds, { host: "c" })],
  ["the host is no shard", (etcds) => over("ab", etcds, { endpoints: at(etcds[2]) })],
];

for (const [name, fileOf] of PLACES) {
  // A claim, and three marks; then only the base is missing.
  for (let writes = 0; writes <= 4; writes++) {
    test(`a proxy that dies after ${writes} writes of a new store: the next one goes on; ${name}`, async () => {
      await withEtcds(3, async (etcds) => {
        const file = fileOf(etcds);
        const { config } = await configured(file);
        const connections = await connect(config, log);
        const marking = markStore({ ...connections, all: dyingAfter(writes, connections.all) }, log);
        if (writes < 4) await assert.rejects(marking, /it died/);
        else await marking;
        connections.disconnect();
        const written = (await Promise.all(etcds.map(marksOf))).flat();
        assert.equal(written.length, writes, `${written}`);
        const store = await opened(file);
        store.close();
        assert.equal(store.timeline.head, 1);
        if (writes > 0) assert.equal(store.id, BigInt(`0x${written[0].slice(0, 16)}`));
        assert.equal(await open(file), store.id);
      });
    });
  }
}

test("proxies and workers that start at once on a fresh set are one store, whose first write is revision 2", async () => {
  await withEtcds(3, async (etcds) => {
    const files = [{}, {}, { workers: 2 }].map((more) => configured({ ...over("abc", etcds), ...more }));
    const proxies = (await Promise.all(files)).map(({ path, port }) => new ProxyProcess(path, port));
    try {
      await Promise.all(proxies.map((proxy) => proxy.start()));
      const answers = await Promise.all(
        proxies.map(({ endpoint }) => etcdctl(endpoint, "get", "k", "-w", "json")),
      );
      const headers = answers.map(({ stdout }) => JSON.parse(stdout).header);
      assert.deepEqual(
        headers.map(({ revision }) => revision),
        [1, 1, 1],
      );
      assert.equal(new Set(headers.map(({ cluster_id }) => cluster_id)).size, 1);
      const put = await etcdctl(proxies[1].endpoint, "put", "k", "v", "-w", "json");
      assert.equal(JSON.parse(put.stdout).header.revision, 2);
    } finally {
      await Promise.all(proxies.map((proxy) => proxy.kill()));
    }
  });
});

test("four unrelated stores with the same shards have four ids, none of them 0", async () => {
  await withEtcds(4, async (etcds) => {
    const ids = await Promise.all(etcds.map((etcd) => open(over("a", [etcd]))));
    assert.equal(new Set(ids).size, 4);
    assert.ok(!ids.includes(0n));
  });
});

test("proxies with different timeline hosts that make a store at the same instant: exactly one does", async () => {
  await withEtcds(3, async (etcds) => {
    const files = ["a", "b", "c"].map((host) => configured(over("abc", etcds, { host })));
    const all = await Promise.all((await Promise.all(files)).map(({ config }) => connect(config, log)));
    // None of them goes on before all have seen that there is nothing.
    let reads = 0;
    let go = () => {};
    const seen = new Promise<void>((resolve) => {
      go = resolve;
    });
    const together = (client: ShardClient) => {
      const call: ShardClient["call"] = async (...args) => {
        const answer = await client.call(...args);
        if (++reads === all.length * etcds.length) go();
        await seen;
        return answer;
      };
      return new Proxy(client, {
        get: (target, name) => (name === "call" ? call : Reflect.get(target, name)),
      });
    };
    const marking = all.map((each) => markStore({ ...each, all: each.all.map(together) }, log));
    const results = await Promise.allSettled(marking);
    for (const each of all) each.disconnect();
    const reasons = results.flatMap((each) => (each.status === "rejected" ? [String(each.reason)] : []));
    assert.equal(reasons.length, 2, reasons.join("\n"));
    for (const reason of reasons) assert.match(reason, /the timeline of this store is on/);
  });
});

test("a proxy that reads one cluster before a store is made, and the others after, is not misled", async () => {
  await withEtcds(3, async (etcds) => {
    const file = over("abc", etcds);
    const { config } = await configured(file);
    const connections = await connect(config, log);
    let read = () => {};
    const made = new Promise<void>((resolve) => {
      read = resolve;
    }).then(() => open(file));
    const slow = connections.all.map((client) => {
      const call: ShardClient["call"] = async (...args) => {
        if (client.index !== connections.host.index) await made;
        const answer = await client.call(...args);
        read();
        return answer;
      };
      return new Proxy(client, {
        get: (target, name) => (name === "call" ? call : Reflect.get(target, name)),
      });
    });
    const { id } = await markStore({ ...connections, all: slow }, log);
    connections.disconnect();
    assert.equal(BigInt(`0x${id}`), await made);
  });
});

test("two stores that share a cluster and are made at once: one of them is made", async () => {
  for (const shared of [0, 1, 2]) {
    await withEtcds(3, async (etcds) => {
      const [first, second] = etcds.filter((_, i) => i !== shared);
      const files = [over("ab", [first, etcds[shared]]), over("ab", [second, etcds[shared]])];
      const results = await Promise.allSettled(files.map(opened));
      for (const each of results) if (each.status === "fulfilled") each.value.close();
      const reasons = results.flatMap((each) => (each.status === "rejected" ? [String(each.reason)] : []));
      assert.equal(reasons.length, 1, reasons.join("\n"));
      assert.match(
        reasons[0],
        /belongs to another store|is on shard|is shard|the store was made with cluster/,
      );
    });
  }
});

test("a store whose shards hold data can be watched from its beginning: the marks are no gap and no event", async () => {
  await withEtcds(2, async (etcds) => {
    for (const [i, { endpoint }] of etcds.entries()) {
      for (const n of [1, 2]) await etcdctl(endpoint, "put", `/${i}/${n}`, "v");
    }
    const { path, port } = await configured({
      ...over("ab", etcds),
      routing: { rules: ["a", "b"].map((shard, i) => ({ prefix: `/${i}/`, shard })) },
    });
    const proxy = new ProxyProcess(path, port);
    await proxy.start();
    const watch = startEtcdctl(proxy.endpoint, "watch", "--prefix", "", "--rev", "1");
    try {
      for (const i of [0, 1]) await etcdctl(proxy.endpoint, "put", `/${i}/3`, "v");
      await watch.says(/\/1\/3/);
      const keys = watch.output.match(/\/\d\/\d/g);
      assert.deepEqual(keys, ["/0/1", "/0/2", "/1/1", "/1/2", "/0/3", "/1/3"]);
      const all = JSON.parse((await etcdctl(proxy.endpoint, "get", "", "--prefix", "-w", "json")).stdout);
      assert.equal(all.header.revision, 7);
      assert.deepEqual(
        all.kvs.map(({ mod_revision }: { mod_revision: number }) => mod_revision),
        [2, 3, 6, 4, 5, 7],
      );
    } finally {
      await watch.stop();
      await proxy.kill();
    }
  });
});

test("a new store is not made while one of its clusters is away, and then nothing is written", async () => {
  await withEtcds(3, async (etcds) => {
    await etcds[2].stop();
    const { config } = await configured(over("abc", etcds));
    await assert.rejects(openStore(config, log, AbortSignal.abort()), /waiting for the backends: .*"c"/);
    assert.deepEqual(await revisions(etcds.slice(0, 2)), [1, 1]);
    await etcds[2].restart();
    assert.notEqual(await open(over("abc", etcds)), 0n);
  });
});
