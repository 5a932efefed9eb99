import assert from "node:assert/strict";
import { test } from "node:test";
import { EtcdClient, type Message, type UnaryMethod } from "../differential/client.js";
import { type EtcdCluster, type EtcdProcess, startCluster, startEtcds } from "../support/etcd.js";
import { type ProxyProcess, startProxyProcess } from "../support/store.js";

/*
 * A timeline host of three members, and two proxies on different members. The member of the second proxy stops answering.
 * The second proxy's answers must still cover what the first has acknowledged. Key "a" is on the first shard, "b" on the
 * second, "c" on the third.
 */

const bytes = (text: string): Buffer => Buffer.from(text);
const base64 = (text: string): string => bytes(text).toString("base64");

/** Requests by name, for gRPC and for the JSON gateway. */
const ANSWERS: Readonly<Record<string, readonly [UnaryMethod, Message, string, object]>> = {
  get: ["Range", { key: bytes("b") }, "kv/range", { key: base64("b") }],
  "range of one shard": [
    "Range",
    { key: bytes("b"), range_end: bytes("c") },
    "kv/range",
    { key: base64("b"), range_end: base64("c") },
  ],
  scan: [
    "Range",
    { key: bytes("a"), range_end: bytes("d") },
    "kv/range",
    { key: base64("a"), range_end: base64("d") },
  ],
  "read-only transaction": [
    "Txn",
    { success: [{ request_range: { key: bytes("b") } }] },
    "kv/txn",
    { success: [{ requestRange: { key: base64("b") } }] },
  ],
  "transaction that wrote nothing": [
    "Txn",
    {
      compare: [{ key: bytes("b"), target: "VERSION", version: 99 }],
      success: [{ request_put: { key: bytes("b") } }],
    },
    "kv/txn",
    {
      compare: [{ key: base64("b"), target: "VERSION", version: 99 }],
      success: [{ requestPut: { key: base64("b") } }],
    },
  ],
  "deletion of nothing": [
    "DeleteRange",
    { key: bytes("b/none") },
    "kv/deleterange",
    { key: base64("b/none") },
  ],
  "lease grant": ["LeaseGrant", { TTL: 60 }, "lease/grant", { TTL: 60 }],
};

async function postJson(proxy: ProxyProcess, path: string, body: object): Promise<number> {
  const answer = await fetch(`http://${proxy.endpoint}/v3/${path}`, {
    method: "POST",
    body: JSON.stringify(body),
  });
  const message = (await answer.json()) as { header?: { revision: string } };
  assert.ok(answer.ok && message.header !== undefined, JSON.stringify(message));
  return Number(message.header.revision);
}

async function askGrpc(client: EtcdClient, method: UnaryMethod, request: Message): Promise<number> {
  const { code, message, response } = await client.call(method, request);
  assert.equal(code, 0, message);
  return Number((response!.header as { revision: string }).revision);
}

/** The endpoint of the timeline host, of those configured, that a proxy uses. */
async function endpointInUse(proxy: ProxyProcess, endpoints: readonly string[]): Promise<string> {
  const metrics = await (await fetch(`http://${proxy.endpoint}/metrics`)).text();
  const found = /^braid_shard_endpoint_in_use\{shard="timeline host",endpoint="(\d+)"\} 1$/m.exec(metrics);
  assert.ok(found, "no endpoint in use");
  return endpoints[Number(found[1]) - 1]!;
}

/** A proxy that uses a member other than the leader. It takes the one that is connected first, which is left to chance. */
async function proxyOnFollower(
  start: (endpoints: readonly string[]) => Promise<ProxyProcess>,
  { endpoints }: EtcdCluster,
  leader: string,
): Promise<{ proxy: ProxyProcess; endpoint: string; order: readonly string[] }> {
  const order = [...endpoints.filter((each) => each !== leader), leader];
  for (;;) {
    const proxy = await start(order);
    const endpoint = await endpointInUse(proxy, order);
    if (endpoint !== leader) return { proxy, endpoint, order };
    await proxy.kill();
  }
}

test("a proxy on a member of the timeline host that stops answering moves to another", async (t) => {
  const [shards, host] = await Promise.all([startEtcds(3), startCluster(3)]);
  const proxies: ProxyProcess[] = [];
  const clients: EtcdClient[] = [];
  const rules = ["a", "b", "c"].map((prefix, i) => ({ prefix, segments: 0, shard: `shard${i}` }));
  const start = (endpoints: readonly string[]) =>
    startProxyProcess(shards, { timeline: { endpoints }, routing: { rules } });
  let frozen: EtcdProcess | undefined;
  try {
    const leader = (await host.leader()).endpoint;
    const { proxy, endpoint, order } = await proxyOnFollower(start, host, leader);
    proxies.push(proxy);
    const others = host.endpoints.filter((each) => each !== endpoint);
    proxies.push(await start(others));
    clients.push(...proxies.map((each) => new EtcdClient(each.endpoint)));
    const [behind, writer] = clients as [EtcdClient, EtcdClient];
    for (const key of ["a", "b", "c"]) await askGrpc(writer, "Put", { key: bytes(key) });
    await askGrpc(behind, "Range", { key: bytes("b") });

    frozen = host.members.find((member) => member.endpoint === endpoint)!;
    await frozen.kill("SIGSTOP");
    const acknowledged = await askGrpc(writer, "Put", { key: bytes("a") });
    const write = askGrpc(behind, "Put", { key: bytes("c") });
    const revisions = await Promise.all(
      Object.values(ANSWERS).map(([method, request, path, body]) =>
        Promise.all([askGrpc(behind, method, request), postJson(proxy, path, body)]),
      ),
    );
    for (const [i, what] of Object.keys(ANSWERS).entries()) {
      await t.test(what, () => {
        for (const revision of revisions[i]!)
          assert.ok(revision >= acknowledged, `${revision} after ${acknowledged}`);
      });
    }
    assert.ok((await write) > acknowledged, "a write that waited for the member is sealed through another");
    assert.notEqual(await endpointInUse(proxy, order), endpoint);
    // The proxy stays there, with its watch of the log.
    const next = await askGrpc(writer, "Put", { key: bytes("a") });
    assert.ok((await askGrpc(behind, "Range", { key: bytes("b") })) >= next);
  } finally {
    await frozen?.kill("SIGCONT");
    for (const client of clients) client.close();
    await Promise.all(proxies.map((proxy) => proxy.kill()));
    await Promise.all([...shards.map((shard) => shard.remove()), host.remove()]);
  }
});
