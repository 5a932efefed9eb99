import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { stringify } from "yaml";
import { ok } from "../auth/support.js";
import { put, shardOf } from "../shard/support.js";
import { configured, type File } from "../store/configured.js";
import { braid } from "../support/braid.js";
import { Authority } from "../support/certificates.js";
import { etcdctl } from "../support/etcdctl.js";
import { ProxyProcess } from "../support/store.js";
import { startTlsEtcd, type TlsEtcd } from "../support/tlsEtcd.js";
import { Applying } from "./applySupport.js";

/*
 * A new shard with its own TLS files joins, as docs/guides/grow-a-store.md describes it. All connections have TLS, and each proxy
 * has two workers.
 */

const clients = new Authority("authority of the clients");
const inside = new Authority("authority of the shards");
const other = new Authority("authority of the new shard");
const server = clients.issue();
const own = inside.issue();

let etcds: readonly TlsEtcd[] = [];
let proxies: readonly ProxyProcess[] = [];

before(async () => {
  etcds = await Promise.all([inside, inside, other].map((of) => startTlsEtcd(of.issue(), of.caFile)));
  proxies = await Promise.all(
    [0, 1].map(async () => {
      const { path, port } = await configured(file(false));
      return new ProxyProcess(path, port);
    }),
  );
  // The first proxy makes the store.
  for (const proxy of proxies) await proxy.start();
});

after(async () => {
  await Promise.all(proxies.map((proxy) => proxy.kill()));
  await Promise.all(etcds.map(({ etcd }) => etcd.remove()));
});

/** The store's file, with or without the new shard. */
function file(isNew: boolean): File {
  const [a, b, c] = ["a", "b", "c"].map((name, i) => ({ name, endpoints: [etcds[i]!.url] }));
  return Object.assign(
    { shards: isNew ? [a!, b!, { ...c!, tls: { caFile: other.caFile, ...other.issue() } }] : [a!, b!] },
    { tls: server, shardTls: { caFile: inside.caFile, ...own }, workers: 2 },
  );
}

const names = Array.from({ length: 100 }, (_, i) => `/g${i % 50}/k${i}`).sort();

/** Puts all keys through a proxy, one after the other. */
async function write(proxy: ProxyProcess, value: string): Promise<void> {
  const client = shardOf([`https://${proxy.endpoint}`], { tls: { caFile: clients.caFile } });
  try {
    for (const name of names) await put(client, name, value);
  } finally {
    client.close();
  }
}

async function read(proxy: ProxyProcess): Promise<string[]> {
  const get = ["get", "--prefix", "/", "--cacert", clients.caFile];
  const { stdout } = await etcdctl(`https://${proxy.endpoint}`, ...get);
  return stdout.split("\n").filter((line) => line !== "");
}

const moved = async (): Promise<string[]> => {
  const { stdout } = await etcdctl(etcds[2]!.etcd.endpoint, "get", "--prefix", "/", "--keys-only");
  return stdout.split("\n").filter((line) => line !== "");
};

test("a new shard with its own TLS files joins, while clients write through proxies with workers", async () => {
  await write(proxies[0]!, "before");
  const { path } = await configured(file(true));
  const applying = await Applying.start(file(true), "--yes");
  await applying.until(/Plan 1 is recorded/);
  assert.equal(await applying.end("SIGINT"), 0, applying.text);
  await ok(braid("apply", "--pause", "--config", path));
  for (const proxy of proxies) {
    await write(proxy, "recorded");
    writeFileSync(proxy.configFile, stringify({ listen: [proxy.endpoint], ...file(true) }));
    await proxy.restart();
    assert.deepEqual(await moved(), [], "no key moves before all proxies have the file");
  }
  await ok(braid("apply", "--resume", "--config", path));
  let isDone = false;
  const writing = proxies.map(async (proxy) => {
    do await write(proxy, "moving");
    while (!isDone);
  });
  const { code, stdout } = await braid("apply", "--watch", "--config", path);
  isDone = true;
  await Promise.all(writing);
  assert.equal(code, 0);
  // It may be done before the command has begun to watch.
  assert.match(stdout, /Plan 1 is done|No plan is active/);
  assert.ok((await moved()).length > 0, "keys have moved");
  for (const proxy of proxies) {
    await write(proxy, "after");
    assert.deepEqual(
      await read(proxy),
      names.flatMap((name) => [name, "after"]),
    );
  }
});
