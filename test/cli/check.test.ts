import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { mayCrash } from "../../src/cli/probes.js";
import { SHARD_FLAGS } from "../../src/dev/etcd.js";
import { freePort } from "../../src/dev/ports.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { Authority } from "../support/certificates.js";
import { type EtcdCluster, type EtcdProcess, startCluster, startEtcd } from "../support/etcd.js";

const folder = temporaryFolder();
let cluster: EtcdCluster;
let single: EtcdProcess;
let host: EtcdProcess;

before(async () => {
  const shard = { flags: SHARD_FLAGS };
  [cluster, single, host] = await Promise.all([startCluster(3, shard), startEtcd(shard), startEtcd()]);
});

after(async () => {
  await Promise.all([cluster?.remove(), single?.remove(), host?.remove()]);
});

function check(a: readonly string[], b: readonly string[], rest = "") {
  const path = join(folder, "shards.yaml");
  writeFileSync(
    path,
    `shards:
  - { name: a, endpoints: ${JSON.stringify(a)} }
  - { name: b, endpoints: ${JSON.stringify(b)} }
limits: { connectTimeoutMs: 1000 }
${rest}`,
  );
  return braid("check", "--config", path);
}

test("everything answers: exit code 0 and a row for every endpoint", async () => {
  const { code, stdout } = await check(
    cluster.endpoints,
    [single.endpoint],
    `timeline: { endpoints: ["${host.endpoint}"] }`,
  );
  assert.equal(code, 0, stdout);
  const rows = stdout.split("\n").map((line) => line.split(/ {2,}/));
  const states = cluster.endpoints.map((endpoint) => rows.find((row) => row[1] === endpoint)?.[2]);
  assert.deepEqual(states.toSorted(), ["follower", "follower", "leader"]);
  const row = rows.find((row) => row[1] === single.endpoint)!;
  assert.equal(row[0], "shard b");
  assert.match(row[3], /^3\.\d+\.\d+/);
  assert.equal(row[4], "1");
  assert.equal(rows.find((row) => row[1] === host.endpoint)?.[0], "timeline");
  assert.match(stdout, /No problems found\.\n$/);
});

test("shards with a limit of operations that is too low for clients' transactions are named", async () => {
  const { code, stdout } = await check(cluster.endpoints, [host.endpoint]);
  assert.equal(code, 1);
  assert.match(stdout, /shard b: its etcds need --max-txn-ops=130 or higher/);
  assert.doesNotMatch(stdout, /shard a: its etcds need/);
});

test("an endpoint that does not answer: exit code 1, the others are still shown", async () => {
  const nobody = `127.0.0.1:${await freePort()}`;
  const { code, stdout } = await check([...cluster.endpoints, nobody], [single.endpoint]);
  assert.equal(code, 1);
  assert.match(stdout, new RegExp(`shard a, ${nobody}: .*refused`));
  assert.match(stdout, new RegExp(`shard b +${single.endpoint} +leader`));
});

test("an endpoint of another cluster in a shard, and one cluster as two shards: exit code 1", async () => {
  const mixed = await check([cluster.endpoints[0], host.endpoint], [single.endpoint]);
  assert.equal(mixed.code, 1);
  assert.match(
    mixed.stdout,
    new RegExp(`shard a, ${host.endpoint}: belongs to another cluster than ${cluster.endpoints[0]}`),
  );
  const twice = await check([cluster.endpoints[0]], [cluster.endpoints[1]]);
  assert.equal(twice.code, 1);
  assert.match(
    twice.stdout,
    new RegExp(`shard b, ${cluster.endpoints[1]}: is the same cluster as shard a, ${cluster.endpoints[0]}`),
  );
});

test("etcds with a known crash are named, others are not", () => {
  for (const version of ["3.3.25", "3.4.0", "3.4.22", "3.5.0", "3.5.6"])
    assert.ok(mayCrash(version), version);
  for (const version of ["3.4.23", "3.4.44", "3.5.7", "3.5.30", "3.6.0-rc.1", "3.7.3", "4.0.0"])
    assert.ok(!mayCrash(version), version);
});

test("a certificate that cannot be used with a user of the proxies' own is named among the problems", async () => {
  const authority = new Authority();
  const { certFile, keyFile } = authority.issue({ commonName: "root" });
  const { code, stdout, stderr } = await check(
    ["https://127.0.0.1:1"],
    [single.endpoint],
    `auth: { user: braid, password: secret }
shardTls: ${JSON.stringify({ caFile: authority.caFile, certFile, keyFile })}`,
  );
  assert.equal(code, 1, stderr);
  assert.match(stdout, /Problems:.*its CommonName is "root"/s);
  assert.equal(stderr, "");
});
