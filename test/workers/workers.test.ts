import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants, copyFileSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Etcd3 } from "etcd3";
import { endWithParent } from "../../src/dev/guard.js";
import { freePort } from "../../src/dev/ports.js";
import { Scrape } from "../ops/scrape.js";
import { braid, braidCommand, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { Running } from "../support/running.js";
import { type ProxyProcess, startStore, storeConfig, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";

/** The processes that a process has started and that run. */
function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Processor time that a process has used, as the kernel counts it. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const began = Date.now();

interface Answer {
  readonly header: { readonly revision: string };
}

/** A client with one connection of its own: connections are dealt out in turn, so two of them are on two workers. */
class Client {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 1 });
  closed = false;

  constructor(private readonly endpoint: string) {}

  async post(path: string, body: object): Promise<Answer> {
    const call = request(`http://${this.endpoint}${path}`, { method: "POST", agent: this.agent });
    call.once("socket", (socket) => {
      if (!socket.listeners("close").includes(this.onClose)) socket.on("close", this.onClose);
    });
    call.end(JSON.stringify(body));
    const [response] = await once(call, "response");
    let text = "";
    for await (const chunk of response.setEncoding("utf8")) text += chunk;
    assert.equal(response.statusCode, 200, text);
    return JSON.parse(text);
  }

  put(key: string): Promise<Answer> {
    return this.post("/v3/kv/put", { key: base64(key), value: "" });
  }

  close(): void {
    this.agent.destroy();
  }

  private readonly onClose = (): void => {
    this.closed = true;
  };
}

const base64 = (text: string) => Buffer.from(text).toString("base64");
/** Keys on all shards. */
const key = (i: number) => `/tenant${i % 7}/key${i}`;

describe("two workers", () => {
  let store: TestStore;
  let proxy: ProxyProcess;

  before(async () => {
    store = await startStore({ config: { workers: 2 } });
    proxy = store.proxies[0]!;
  });
  after(() => store.remove());

  const lines = () =>
    proxy
      .logs()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  test("their writes have one order, which a watch on one of them sees", async () => {
    const etcd = new Etcd3({ hosts: proxy.endpoint });
    const seen: { key: string; revision: number }[] = [];
    const watcher = await etcd.watch().prefix("/tenant").create();
    watcher.on("put", ({ key, mod_revision }) =>
      seen.push({ key: key.toString(), revision: Number(mod_revision) }),
    );
    const clients = [new Client(proxy.endpoint), new Client(proxy.endpoint)];
    const written = new Map<string, number>();
    await Promise.all(
      clients.map(async (client, c) => {
        for (let i = 0; i < 60; i++) {
          const name = key(i * 2 + c);
          const { header } = await client.put(name);
          written.set(name, Number(header.revision));
        }
      }),
    );
    await until("the watch has seen them all", () => seen.length >= written.size);
    const revisions = [...written.values()].sort((a, b) => a - b);
    assert.deepEqual(
      revisions,
      revisions.map((_, i) => revisions[0]! + i),
      "revisions are dense",
    );
    assert.deepEqual(
      seen.map(({ revision }) => revision),
      revisions,
      "events come in order",
    );
    for (const { key, revision } of seen) assert.equal(written.get(key), revision);
    for (const client of clients) client.close();
    await watcher.cancel();
    etcd.close();
  });

  test("metrics are the totals of both, whoever is asked", async () => {
    const labels = { method: "KV.Put", code: "OK" };
    const url = `http://${proxy.endpoint}/metrics`;
    const before = (await Scrape.of(url)).sum("braid_requests_total", labels);
    const clients = [new Client(proxy.endpoint), new Client(proxy.endpoint)];
    for (const client of clients) for (let i = 0; i < 5; i++) await client.put(key(i));
    // Every fetch makes a connection, to the one worker and the other in turn.
    for (let i = 0; i < 4; i++) {
      const scrape = await Scrape.of(url);
      assert.equal(scrape.sum("braid_requests_total", labels), before + 10);
      assert.equal(scrape.sum("braid_workers", {}), 2);
      assert.equal(scrape.of("braid_build_info", {})[0]?.value, 1);
    }
    for (const client of clients) client.close();
  });

  test("the processor time of all processes counts, from their start", async () => {
    const url = `http://${proxy.endpoint}/metrics`;
    const used = [proxy.pid, ...childrenOf(proxy.pid)].reduce((sum, pid) => sum + cpuSeconds(pid), 0);
    const scrape = await Scrape.of(url);
    // The kernel's own figures are in hundredths of a second.
    assert.ok(scrape.sum("process_cpu_seconds_total", {}) >= used - 0.1, `${used} s were used`);
    const [start] = scrape.of("process_start_time_seconds", {});
    assert.ok(start !== undefined && start.value >= began / 1_000 && start.value <= Date.now() / 1_000);
  });

  test("one that is killed is replaced; clients of the other notice nothing", async () => {
    const clients = [new Client(proxy.endpoint), new Client(proxy.endpoint)];
    for (const client of clients) await client.put(key(0));
    const before = childrenOf(proxy.pid);
    assert.equal(before.length, 2);
    process.kill(before[0]!, "SIGKILL");
    await until("a client has lost its worker", () => clients.some(({ closed }) => closed));
    const left = clients.find(({ closed }) => !closed);
    assert.ok(left, "each worker had one of the two clients");
    const late = new Client(proxy.endpoint);
    for (let i = 0; i < 20; i++) {
      await left.put(key(i));
      await late.put(key(i));
    }
    assert.ok(!left.closed && !late.closed);
    await until("the worker is replaced", async () => {
      const scrape = await Scrape.of(`http://${proxy.endpoint}/metrics`);
      return scrape.sum("braid_workers", {}) === 2 && scrape.sum("braid_worker_restarts_total", {}) === 1;
    });
    assert.equal(childrenOf(proxy.pid).length, 2);
    const report = lines().find(({ msg }) => msg === "worker ended; it is replaced")!;
    assert.equal(report.signal, "SIGKILL");
    const served = lines().filter(({ msg, worker }) => msg === "serving" && worker === report.worker);
    assert.equal(served.length, 2, "the new one has the number of the old one");
    for (const client of [...clients, late]) client.close();
  });

  test("SIGHUP reaches both", async () => {
    writeFileSync(
      proxy.configFile,
      storeConfig(store.shards, proxy.port, { workers: 2, log: { level: "info", slowRequestMs: 1234 } }),
    );
    process.kill(proxy.pid, "SIGHUP");
    const reloaded = () =>
      lines().filter(
        ({ msg, applied }) => msg === "configuration reloaded" && String(applied) === "log.slowRequestMs",
      );
    await until("both have read it", () => reloaded().length === 2);
  });

  test("SIGTERM ends all of them, and the command with 0", async () => {
    const children = childrenOf(proxy.pid);
    assert.equal(await proxy.stop(), 0);
    await until("no worker is left", () => !children.some(isAlive));
  });

  test("workers do not outlive their primary", async () => {
    await proxy.start();
    const children = childrenOf(proxy.pid);
    assert.equal(children.length, 2);
    await proxy.kill("SIGKILL");
    await until("no worker is left", () => !children.some(isAlive));
  });

  test("what keeps them from starting is said once", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as { port: number };
    const file = join(temporaryFolder(), "shards.yaml");
    writeFileSync(file, storeConfig(store.shards, port, { workers: 2, log: { level: "warn" } }));
    const { code, stderr } = await braid("serve", "--config", file);
    taken.close();
    assert.equal(code, 1);
    assert.match(stderr, /^braid: the proxy did not start: cannot listen on .*already in use\n$/);
  });
});

describe("two workers over grpc-js", () => {
  test("serve", async () => {
    const store = await startStore({ shards: 1, config: { workers: 2, transport: "grpc-js" } });
    try {
      const etcds = [0, 1].map(() => new Etcd3({ hosts: store.endpoint }));
      for (const [i, etcd] of etcds.entries()) await etcd.put(`key${i}`).value("value");
      assert.equal(await etcds[0]!.get("key1").string(), "value");
      for (const etcd of etcds) etcd.close();
    } finally {
      await store.remove();
    }
  });
});

describe("workers that end before their time", () => {
  let shards: EtcdProcess[];

  before(async () => {
    shards = await startEtcds(1);
  });
  after(() => Promise.all(shards.map((shard) => shard.remove())));

  /** `braid serve` with two workers, run by `node`; with the port it listens on. */
  async function serve(more: object, node = process.execPath): Promise<Serving> {
    const file = join(temporaryFolder(), "shards.yaml");
    const port = await freePort();
    writeFileSync(file, storeConfig(shards, port, { workers: 2, ...more }));
    const child = spawn(node, [...braidCommand.slice(1), "serve", "--config", file], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    endWithParent(child);
    return { running: new Running(child), pid: child.pid!, port };
  }

  async function worker(pid: number): Promise<number> {
    let found: number | undefined;
    await until("there is a worker", () => {
      [found] = childrenOf(pid);
      return found !== undefined;
    });
    return found!;
  }

  const signals = {
    SIGKILL: /memory runs out/,
    SIGSEGV: /Node\.js crashed/,
    SIGUSR2: /another process sent it/,
  } as const;
  for (const [signal, advice] of Object.entries(signals)) {
    test(`the first one killed by ${signal} before it serves: the command says so, and what to do`, async () => {
      // Nothing listens there, so it waits.
      const nowhere = {
        shards: [{ name: "a", endpoints: [`127.0.0.1:${await freePort()}`] }],
        log: { level: "error" },
      };
      const { running, pid } = await serve(nowhere);
      process.kill(await worker(pid), signal as NodeJS.Signals);
      assert.equal(await running.ended, 1);
      const lines = running.output.trimEnd().split("\n");
      assert.equal(lines.length, 1, running.output);
      assert.ok(
        lines[0]!.startsWith(
          `braid: the proxy did not start: worker 1 was killed by ${signal} before it served; `,
        ),
        lines[0],
      );
      assert.match(lines[0]!, advice);
    });
  }

  test("one that is killed while all of them stop is named", async () => {
    const { running, pid } = await serve({});
    await running.says(/"msg":"all workers serve"/);
    const one = await worker(pid);
    process.kill(one, "SIGSTOP");
    process.kill(pid, "SIGTERM");
    await running.says(/"msg":"stopping"/); // the other one has it, so the primary has passed it on
    process.kill(one, "SIGKILL");
    assert.equal(await running.ended, 1);
    assert.match(running.output, /"worker":\d,"signal":"SIGKILL","msg":"worker did not stop gracefully"/);
  });

  test("one that cannot be started is named, and tried again", async () => {
    const node = join(temporaryFolder(), "node");
    copyFileSync(process.execPath, node, constants.COPYFILE_FICLONE);
    const { running, pid, port } = await serve({}, node);
    await running.says(/"msg":"all workers serve"/);
    renameSync(node, `${node}-away`);
    process.kill(await worker(pid), "SIGKILL");
    await running.says(
      /"signal":"SIGKILL","advice":"the system sends this .*"msg":"worker ended; it is replaced"/,
    );
    await running.says(/"error":"spawn .*ENOENT","advice":"check .*"msg":"worker ended; it is replaced"/);
    renameSync(`${node}-away`, node);
    await until(
      "both serve",
      async () => (await Scrape.of(`http://127.0.0.1:${port}/metrics`)).sum("braid_workers", {}) === 2,
    );
    process.kill(pid, "SIGTERM");
    assert.equal(await running.ended, 0);
  });
});

interface Serving {
  readonly running: Running;
  readonly pid: number;
  readonly port: number;
}
