import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Client, credentials } from "@grpc/grpc-js";
import { freePort } from "../../src/dev/ports.js";
import { packageRoot, version } from "../../src/ops/package.js";
import { temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { loadProto } from "../support/proto.js";
import { storeConfig } from "../support/store.js";
import { until } from "../support/until.js";
import { skip, start } from "./support.js";

const braid = join(packageRoot, "dist/braid");
/** A folder without Node.js packages above it. */
const cwd = temporaryFolder();

/** The names of all services, as reflection lists them. */
async function listServices(endpoint: string): Promise<string[]> {
  const space = "grpc.reflection.v1";
  const root = loadProto("reflection_v1.proto");
  const [request, response] = ["Request", "Response"].map((end) =>
    root.lookupType(`${space}.ServerReflection${end}`),
  );
  const client = new Client(endpoint, credentials.createInsecure());
  const same = (bytes: Buffer): Buffer => bytes;
  const stream = client.makeBidiStreamRequest(`/${space}.ServerReflection/ServerReflectionInfo`, same, same);
  stream.end(Buffer.from(request!.encode(request!.fromObject({ list_services: "" })).finish()));
  const names: string[] = [];
  for await (const bytes of stream) {
    const answer = response!.toObject(response!.decode(bytes)) as {
      list_services_response: { service: { name: string }[] };
    };
    names.push(...answer.list_services_response.service.map(({ name }) => name));
  }
  client.close();
  return names;
}

describe("the single executable", { skip }, () => {
  let shards: readonly EtcdProcess[];
  before(async () => {
    shards = await startEtcds(2);
  });
  after(() => Promise.all(shards.map((shard) => shard.remove())));

  async function configure(
    more: Readonly<Record<string, unknown>>,
  ): Promise<{ file: string; endpoint: string }> {
    const port = await freePort();
    const file = join(temporaryFolder(), "shards.yaml");
    writeFileSync(file, storeConfig(shards, port, more));
    return { file, endpoint: `127.0.0.1:${port}` };
  }

  test("prints its version and nothing else", () => {
    const { status, stdout, stderr } = spawnSync(braid, ["--version"], { cwd, env: {}, encoding: "utf8" });
    assert.deepEqual([status, stdout, stderr], [0, `${version}\n`, ""]);
  });

  test("serves the console's page", async () => {
    const listen = `127.0.0.1:${await freePort()}`;
    const { file } = await configure({ metrics: { listen }, console: { enabled: true } });
    const proxy = start(braid, ["serve", "--config", file], { cwd });
    await proxy.says(/"serving"/);
    try {
      for (const name of ["", "page.js", "page.css", "api/overview"]) {
        const response = await fetch(`http://${listen}/console/${name}`);
        assert.equal(response.status, 200, name);
        assert.ok((await response.text()).length > 300, name);
      }
    } finally {
      await proxy.stop();
    }
  });

  test("names what is wrong with a configuration, and exits with 2", () => {
    const file = join(temporaryFolder(), "shards.yaml");
    writeFileSync(file, "shards:\n  - nam: a\n");
    const { status, stderr } = spawnSync(braid, ["check", "--config", file], {
      cwd,
      env: {},
      encoding: "utf8",
    });
    assert.equal(status, 2);
    assert.match(stderr, /shards\[0\]\.nam: is unknown; did you mean name\? \(line 2\)/);
  });

  test("serves with workers, without Node.js on the PATH", async () => {
    const { file, endpoint } = await configure({ workers: 2 });
    const proxy = start(braid, ["serve", "--config", file], { cwd, env: {} });
    await proxy.says(/all workers serve/);
    const put = await etcdctl(endpoint, "put", "/a/b", "c");
    assert.equal(put.stdout, "OK\n", put.stderr);
    assert.equal((await etcdctl(endpoint, "get", "/a/b")).stdout, "/a/b\nc\n");
    // JSON and reflection are loaded with their first call.
    const range = await fetch(`http://${endpoint}/v3/kv/range`, {
      method: "POST",
      body: '{"key":"L2EvYg=="}',
    });
    assert.match(await range.text(), /"value":"Yw=="/);
    assert.ok((await listServices(endpoint)).includes("etcdserverpb.KV"));
    proxy.kill("SIGTERM");
    assert.equal(await proxy.ended, 0, proxy.output);
  });

  test("has what is loaded only when it is needed: grpc-js and tracing", async () => {
    let received = "";
    const collector = createServer(async (request, response) => {
      for await (const chunk of request.setEncoding("utf8")) received += chunk;
      response.end("{}");
    }).listen(0, "127.0.0.1");
    await once(collector, "listening");
    const url = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`;
    const { file, endpoint } = await configure({
      transport: "grpc-js",
      tracing: { endpoint: url, sampleRatio: 1 },
    });
    const proxy = start(braid, ["serve", "--config", file], { cwd, env: {} });
    await proxy.says(/"serving"/);
    const put = await etcdctl(endpoint, "put", "/a/b", "c");
    assert.equal(put.stdout, "OK\n", put.stderr);
    await until("the span of the put has arrived", () => received.includes("etcdserverpb.KV/Put"));
    proxy.kill("SIGTERM");
    assert.equal(await proxy.ended, 0, proxy.output);
    collector.close();
    collector.closeAllConnections();
  });

  test("runs a store on this machine", async () => {
    const port = await freePort();
    const store = start(braid, ["dev", "--port", String(port), "--data", join(cwd, "store")], { cwd });
    await store.says(/The store is ready/);
    const put = await etcdctl(`127.0.0.1:${port}`, "put", "/a/b", "c");
    assert.equal(put.stdout, "OK\n", put.stderr);
    assert.equal(await store.stop(), 0, store.output);
  });

  test("comes with the licences of what is inside", () => {
    const notices = readFileSync(`${braid}-notices.txt`, "utf8");
    for (const name of ["@grpc/grpc-js", "pino", "zod"])
      assert.match(notices, new RegExp(`^${name} [0-9.]+ \\(.*\\)\\n\\n.*\\S`, "m"));
  });
});
