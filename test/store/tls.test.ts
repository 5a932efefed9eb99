import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Etcd3 } from "etcd3";
import { braid, temporaryFolder } from "../support/braid.js";
import { Authority } from "../support/certificates.js";
import { etcdctl, startEtcdctl } from "../support/etcdctl.js";
import { startStore, type TestStore } from "../support/store.js";
import { startTlsEtcd, type TlsEtcd } from "../support/tlsEtcd.js";

const inside = new Authority("authority of the shards");
const outside = new Authority("authority of the clients");
const server = outside.issue();
const client = outside.issue({ commonName: "some client" });
const proxy = inside.issue();

let backends: TlsEtcd[];
let store: TestStore;
let config: Record<string, unknown>;
let url: string;

before(async () => {
  backends = await Promise.all([0, 1].map(() => startTlsEtcd(inside.issue(), inside.caFile)));
  config = {
    tls: { ...server, clientCaFile: outside.caFile },
    shardTls: { caFile: inside.caFile, ...proxy },
    shards: backends.map((backend, i) => ({ name: `shard${i}`, endpoints: [backend.url] })),
  };
  store = await startStore({ backends: backends.map(({ etcd }) => etcd), config });
  url = `https://${store.endpoint}`;
});
after(async () => {
  await store?.remove();
  await Promise.all(backends.map(({ etcd }) => etcd.remove()));
});

const certificates = (pair = client) => [
  ...["--cacert", outside.caFile],
  ...["--cert", pair.certFile, "--key", pair.keyFile],
];

test("etcdctl over mutual TLS, through the proxy to shards with mutual TLS", async () => {
  const watch = startEtcdctl(url, ...certificates(), "watch", "--prefix", "/");
  const key = (i: number) => `/group${i}/key`;
  for (let i = 0; i < 8; i++) {
    assert.deepEqual(await etcdctl(url, ...certificates(), "put", key(i), `${i}`), {
      code: 0,
      stdout: "OK\n",
      stderr: "",
    });
  }
  const got = await etcdctl(url, ...certificates(), "get", "--prefix", "/", "--print-value-only");
  assert.equal(got.stdout, "0\n1\n2\n3\n4\n5\n6\n7\n");
  await watch.says(/\/group7\/key/);
  await watch.stop();
  const members = await etcdctl(url, ...certificates(), "member", "list");
  assert.match(members.stdout, new RegExp(`, ${url}, `));
});

test("a client without a certificate, or with one of another authority, is not let in", async () => {
  const flags = ["--dial-timeout", "2s", "--command-timeout", "2s"];
  const without = await etcdctl(url, "--cacert", outside.caFile, ...flags, "get", "x");
  assert.notEqual(without.code, 0);
  const other = await etcdctl(url, ...certificates(inside.issue()), ...flags, "get", "x");
  assert.notEqual(other.code, 0);
});

test("the npm client etcd3 and HTTPS on the same port", async () => {
  const credentials = {
    rootCertificate: readFileSync(outside.caFile),
    privateKey: readFileSync(client.keyFile),
    certChain: readFileSync(client.certFile),
  };
  const etcd3 = new Etcd3({ hosts: [url], credentials });
  await etcd3.put("/npm/key").value("value");
  assert.equal(await etcd3.get("/npm/key").string(), "value");
  etcd3.close();
  const { rootCertificate: ca, privateKey: key, certChain: cert } = credentials;
  const version = await new Promise<string>((resolve, reject) => {
    const outgoing = request(`${url}/version`, { ca, key, cert, agent: false }, (response) => {
      response.once("data", (chunk) => resolve(String(chunk)));
    });
    outgoing.once("error", reject).end();
  });
  assert.match(version, /"etcdserver"/);
});

test("braid check reaches shards over TLS and names what is wrong with files and shards", async () => {
  const good = await braid("check", "--config", store.proxies[0].configFile);
  assert.equal(good.code, 0, good.stdout + good.stderr);
  const file = join(temporaryFolder(), "shards.yaml");
  const expired = outside.issue({ hours: -1 });
  const shards = config.shards as { name: string; endpoints: string[] }[];
  writeFileSync(
    file,
    JSON.stringify({
      ...config,
      tls: expired,
      shards: [
        { ...shards[0], tls: { caFile: outside.caFile } },
        { ...shards[1], tls: { caFile: "/nowhere/ca.crt" } },
      ],
      limits: { connectTimeoutMs: 1000 },
    }),
  );
  const { code, stdout } = await braid("check", "--config", file);
  assert.equal(code, 1);
  assert.match(stdout, new RegExp(`tls: ${expired.certFile}: the certificate expired at 20`));
  assert.match(
    stdout,
    new RegExp(
      `shard shard0, ${backends[0].url}: its certificate is not signed by an authority in ${outside.caFile}`,
    ),
  );
  assert.match(
    stdout,
    new RegExp(`shard shard1, ${backends[1].url}: /nowhere/ca\\.crt: there is no such file`),
  );
});
