import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { freePort } from "../../src/dev/ports.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { Authority } from "../support/certificates.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { ProxyProcess, storeConfig } from "../support/store.js";

describe("braid health", () => {
  let shards: readonly EtcdProcess[];
  before(async () => {
    shards = await startEtcds(1);
  });
  after(() => Promise.all(shards.map((shard) => shard.remove())));

  async function prepare(
    more: Readonly<Record<string, unknown>>,
    listen = "127.0.0.1",
  ): Promise<ProxyProcess> {
    const port = await freePort();
    const file = join(temporaryFolder(), "shards.yaml");
    writeFileSync(file, storeConfig(shards, port, { listen: [`${listen}:${port}`], ...more }));
    return new ProxyProcess(file, port);
  }
  const ask = (proxy: ProxyProcess) => braid("health", "--config", proxy.configFile);

  test("finds a proxy that listens everywhere alive, also when its shards are down", async () => {
    const proxy = await prepare({ advertise: ["http://127.0.0.1:1"] }, "0.0.0.0");
    await proxy.start();
    const wanted = { code: 0, stdout: `The proxy at 127.0.0.1:${proxy.port} is alive.\n`, stderr: "" };
    assert.deepEqual(await ask(proxy), wanted);
    await shards[0]!.kill("SIGSTOP");
    assert.deepEqual(await ask(proxy), wanted);
    await shards[0]!.kill("SIGCONT");
    await proxy.kill();
  });

  test("asks over TLS, and at metrics.listen where there is one", async () => {
    const { certFile, keyFile } = new Authority().issue();
    const secure = await prepare({ tls: { certFile, keyFile } });
    await secure.start();
    assert.equal((await ask(secure)).code, 0);
    await secure.kill();
    const metrics = `127.0.0.1:${await freePort()}`;
    const apart = await prepare({ tls: { certFile, keyFile }, metrics: { listen: metrics } });
    await apart.start();
    assert.equal((await ask(apart)).stdout, `The proxy at ${metrics} is alive.\n`);
    await apart.kill();
  });

  test("ends with 1 when the proxy hangs or is not there", async () => {
    const proxy = await prepare({});
    await proxy.start();
    await proxy.kill("SIGSTOP");
    const hangs = await ask(proxy);
    assert.equal(hangs.code, 1);
    assert.equal(hangs.stderr, `braid: the proxy at ${proxy.endpoint}: no response within 3 s\n`);
    await proxy.kill();
    const gone = await ask(proxy);
    assert.equal(gone.code, 1);
    assert.match(gone.stderr, /ECONNREFUSED/);
  });
});
