import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { stringify } from "yaml";
import { freePort } from "../../src/dev/ports.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { ProxyProcess } from "../support/store.js";

/** What a row changes in the right configuration, as in shards.yaml. */
interface File {
  shards: { name: string; endpoints: string[]; weight?: number }[];
  timeline?: { host?: string; endpoints?: string[] };
  routing?: { default?: object; rules?: object[] };
}

/** One store over a, b and c whose timeline is on a, another one over x, y and z, and a cluster that nobody uses. */
let store: EtcdProcess[];
let other: EtcdProcess[];
let empty: EtcdProcess;

const at = ({ endpoint }: EtcdProcess) => [endpoint];
const over = (names: string, etcds: readonly EtcdProcess[]): File => ({
  shards: [...names].map((name, i) => ({ name, endpoints: at(etcds[i]) })),
});
const right = (): File => over("abc", store);

before(async () => {
  [store, other, [empty]] = await Promise.all([startEtcds(3), startEtcds(3), startEtcds(1)]);
  for (const file of [right(), over("xyz", other)]) {
    const proxy = await serving(file);
    for (let n = 0; n < 20; n++) await etcdctl(proxy.endpoint, "put", `/key${n}/x`, `${n}`);
    await proxy.kill();
  }
});

after(() => Promise.all([...store, ...other, empty].map((etcd) => etcd.remove())));

async function write(file: File): Promise<ProxyProcess> {
  const path = join(temporaryFolder(), "shards.yaml");
  const port = await freePort();
  writeFileSync(
    path,
    stringify({ listen: [`127.0.0.1:${port}`], limits: { connectTimeoutMs: 1000 }, ...file }),
  );
  return new ProxyProcess(path, port);
}

/** A proxy with this configuration that serves. */
async function serving(file: File): Promise<ProxyProcess> {
  const proxy = await write(file);
  await proxy.start();
  return proxy;
}

/** The revisions of all clusters: a refused proxy writes nothing. */
async function revisions(): Promise<number[]> {
  const clusters = [...store, ...other, empty];
  const answers = await Promise.all(
    clusters.map(({ endpoint }) => etcdctl(endpoint, "get", "/", "-w", "json")),
  );
  return answers.map(({ stdout }) => JSON.parse(stdout).header.revision as number);
}

/** `serve` and `check` both refuse the file, for this reason, and leave no trace. */
async function refuses(file: File, reason: RegExp): Promise<void> {
  const before = await revisions();
  const proxy = await write(file);
  const started = await proxy.start().then(
    () => "it serves",
    (error: Error) => error.message,
  );
  await proxy.kill();
  assert.match(started, reason);
  const { code, stdout } = await braid("check", "--config", proxy.configFile);
  assert.equal(code, 1, stdout);
  assert.match(stdout, reason);
  assert.deepEqual(await revisions(), before);
}

test("the endpoints of the host's shard exchanged with another's", async () => {
  const file = right();
  [file.shards[0].endpoints, file.shards[1].endpoints] = [file.shards[1].endpoints, file.shards[0].endpoints];
  await refuses(file, /shards\.yaml:\d+: shard "a" \(127[.\d:]+\): .* is shard "b" of this store/);
});

test("another shard as the timeline host", async () => {
  await refuses(
    { ...right(), timeline: { host: "b" } },
    /shards\.yaml:\d+: .*the timeline .* is on shard "a"/,
  );
});

test("a timeline host of its own on an existing store", async () => {
  const file = { ...right(), timeline: { endpoints: at(empty) } };
  await refuses(file, /shards\.yaml:\d+: .*the timeline .* is on shard "a"/);
});

test("two proxies with different hosts that start at once on a fresh set: one serves at most", async () => {
  const fresh = await startEtcds(3);
  try {
    const proxies = await Promise.all(
      ["a", "b"].map((host) => write({ ...over("abc", fresh), timeline: { host } })),
    );
    const started = await Promise.allSettled(proxies.map((proxy) => proxy.start()));
    const refused = started.flatMap((each) => (each.status === "rejected" ? [String(each.reason)] : []));
    await Promise.all(proxies.map((proxy) => proxy.kill()));
    assert.equal(refused.length, 1, refused.join("\n"));
    assert.match(refused[0], /the timeline .* is on shard "[ab]"/);
  } finally {
    await Promise.all(fresh.map((etcd) => etcd.remove()));
  }
});
