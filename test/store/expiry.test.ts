import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { Proxy as Braid } from "../../src/app/proxy.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { bytes, EtcdClient, openProxy } from "../watch/support.js";

/* What happens to the keys without any client's doing. */

let shards: EtcdProcess[];
let proxy: Braid;
let client: EtcdClient;

before(async () => {
  shards = await startEtcds(2);
  proxy = await openProxy(shards);
  client = new EtcdClient(proxy.addresses[0]);
});
after(async () => {
  client.close();
  await proxy.stop();
  await Promise.all(shards.map((etcd) => etcd.remove()));
});

test("keys of an expired lease leave reads over several shards, too, though nobody watches", async () => {
  // Where a lease lives is its id's affair; some of these have their home where their keys are, and no other part.
  for (let id = 1n; id <= 8n; id++) {
    await client.grant({ id, ttl: 1 });
    await client.put({ key: bytes(`a${id}`), value: bytes("v"), lease: id });
  }
  const read = async () => (await client.range({ key: bytes("a"), rangeEnd: bytes("c") })).count;
  assert.equal(await read(), 8);
  const begin = Date.now();
  while ((await read()) > 0) {
    assert.ok(Date.now() - begin < 15_000, `${await read()} keys are still there`);
    await pause(100);
  }
});
