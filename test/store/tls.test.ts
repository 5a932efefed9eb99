import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { connect } from "node:tls";
import { Etcd3 } from "etcd3";
import { FrameType, PREFACE, Setting } from "../../src/http2/protocol.js";
import { RawPeer } from "../http2/raw.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { Authority } from "../support/certificates.js";
import { etcdctl, startEtcdctl } from "../support/etcdctl.js";
import { startStore, type TestStore } from "../support/store.js";
import { startTlsEtcd, type TlsEtcd } from "../support/tlsEtcd.js";
import { until } from "../support/until.js";

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
    http2: { maxStreams: 777 },
    tenants: [{ name: "group1", prefix: "/group1/" }],
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

test("braid tenant show reads what a tenant uses over mutual TLS", async () => {
  const show = ["tenant", "show", "group1", "--config", store.proxies[0]!.configFile, "--json"];
  const { code, stdout, stderr } = await braid(...show, ...certificates());
  assert.equal(code, 0, stderr);
  assert.equal(JSON.parse(stdout).usage["operations put"], 1);
  const without = await braid(...show, "--cacert", outside.caFile);
  assert.equal(JSON.parse(without.stdout).usage, null);
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
  assert.match(await getPage("/version"), /"etcdserver"/);
});

test("metrics tell when certificates expire; settings for HTTP/2 reach the clients", async () => {
  const metrics = await getPage("/metrics");
  for (const labels of ['use="clients",shard=""', 'use="shard",shard="shard0"']) {
    const name = `braid_tls_certificate_expiry_timestamp_seconds{${labels}} `;
    const seconds = Number(metrics.split(name)[1]?.split("\n")[0]);
    assert.ok(Math.abs(seconds - Date.now() / 1_000 - 3_600) < 300, `${name}${seconds}`);
  }
  const { port } = store.proxies[0];
  const socket = connect({ host: "127.0.0.1", port, ...identity(), ALPNProtocols: ["h2"] });
  const peer = new RawPeer(socket);
  peer.write(PREFACE);
  const { payload } = await peer.frame(({ type }) => type === FrameType.SETTINGS);
  const settings = new Map<number, number>();
  for (let at = 0; at < payload.length; at += 6) {
    settings.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
  }
  assert.equal(settings.get(Setting.MAX_CONCURRENT_STREAMS), 777);
  socket.destroy();
});

test("SIGHUP reads the files again: what cannot be used is named in the log, and the old stays in use", async () => {
  const [running] = store.proxies;
  const key = readFileSync(server.keyFile);
  writeFileSync(server.keyFile, readFileSync(proxy.keyFile));
  process.kill(running.pid, "SIGHUP");
  const problem = `${server.keyFile}: is not the key of the certificate in ${server.certFile}`;
  await until("the log names the file", () => running.logs().includes(problem));
  assert.match(await getPage("/version"), /"etcdserver"/);
  writeFileSync(server.keyFile, key);
  process.kill(running.pid, "SIGHUP");
  await until("the log tells that it is good", () =>
    /TLS files reloaded/.test(running.logs().split(problem)[1]!),
  );
});

function identity() {
  const [ca, cert, key] = [outside.caFile, client.certFile, client.keyFile].map((file) => readFileSync(file));
  return { ca, cert, key };
}

function getPage(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${url}${path}`, { ...identity(), agent: false }, (response) => {
      text(response).then(resolve, reject);
    });
    outgoing.once("error", reject).end();
  });
}

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
