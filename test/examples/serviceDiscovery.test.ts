import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ControlPlane } from "../../examples/service-discovery/controlPlane.js";
import { DIRECTORIES, digest, EVERYTHING } from "../../examples/service-discovery/routes.js";
import { endWithParent } from "../../src/dev/guard.js";
import { etcdctl } from "../support/etcdctl.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";

const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const program = fileURLToPath(
  new URL(`../../examples/service-discovery/dataPlane.${extension}`, import.meta.url),
);

/** A data plane in a process of its own. */
class Plane {
  private readonly child: ChildProcess;
  /** The last line that it wrote. */
  last = "";
  errors = "";

  constructor(endpoints: readonly string[]) {
    const loader = extension === "ts" ? ["--import", import.meta.resolve("tsx")] : [];
    this.child = spawn(process.execPath, [...loader, program], {
      env: { ...process.env, ENDPOINTS: endpoints.join(","), ETCD_USER: "gateway", ETCD_PASSWORD: "g" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    endWithParent(this.child);
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.last = text.trimEnd().split("\n").at(-1)!;
    });
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.errors += text;
    });
  }

  get digest(): string | undefined {
    return /digest=(\w+)/.exec(this.last)?.[1];
  }

  get revision(): number {
    return Number(/revision=(\d+)/.exec(this.last)?.[1]);
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
}

describe("service discovery", () => {
  let store: TestStore;
  let planes: Plane[];
  let control: ControlPlane;
  const root = ["--user", "root:r"];

  before(async () => {
    store = await startStore({
      proxies: 2,
      etcd: { flags: ["--bcrypt-cost", "4"] },
      // Tokens that nobody uses for a second are no good any more.
      config: { auth: { user: "root", password: "r", tokenTtlSeconds: 1 } },
    });
    const steps = [
      ["user", "add", "root:r"],
      ["user", "grant-role", "root", "root"],
      ["user", "add", "gateway:g"],
      ["role", "add", "reader"],
      ["role", "grant-permission", "reader", "read", EVERYTHING, "--prefix"],
      ["user", "grant-role", "gateway", "reader"],
      ["auth", "enable"],
    ];
    await etcdctl(store.endpoint, "role", "add", "root");
    for (const step of steps) {
      const { code, stderr } = await etcdctl(store.endpoint, ...step);
      assert.equal(code, 0, `${step.join(" ")}: ${stderr}`);
    }
    const endpoints = store.proxies.map(({ endpoint }) => endpoint);
    control = new ControlPlane({
      hosts: endpoints.map((endpoint) => `http://${endpoint}`),
      auth: { username: "root", password: "r" },
    });
    planes = [new Plane(endpoints), new Plane([...endpoints].reverse())];
  });
  after(async () => {
    for (const plane of planes) plane.kill("SIGKILL");
    control.close();
    await store.remove();
  });

  /** What is stored, as the data planes print it. */
  async function stored(): Promise<string> {
    const { stdout, stderr } = await etcdctl(
      store.proxies[1]!.endpoint,
      ...root,
      ...["get", EVERYTHING, "--prefix", "-w", "json"],
    );
    assert.equal(stderr, "");
    const { kvs = [] } = JSON.parse(stdout) as { kvs?: { key: string; value?: string }[] };
    const plain = (text = "") => Buffer.from(text, "base64").toString();
    return digest(kvs.map(({ key, value }) => [plain(key), plain(value)]));
  }

  async function allEqual(): Promise<void> {
    const wanted = await stored();
    for (const [i, plane] of planes.entries()) {
      await until(`data plane ${i} has what is stored (${plane.errors})`, () => plane.digest === wanted);
    }
  }

  /** Writes in all directories; every third change deletes. */
  async function write(from: number, count: number): Promise<void> {
    for (let i = from; i < from + count; i++) {
      const key = `${DIRECTORIES[i % 3]}${i % 14}`;
      await control.change(key, (old) => (i % 7 === 6 ? undefined : `${i} after ${old?.length ?? 0}`));
    }
  }

  test("data planes load what is there, and follow", async () => {
    await write(0, 20);
    await allEqual();
    await control.register(`${DIRECTORIES[2]}instances/1`, "10.0.0.7:80");
    await write(20, 20);
    await allEqual();
  });

  test("a proxy is killed, then a shard: nothing is lost", async () => {
    const writing = write(40, 60);
    await store.proxies[0]!.kill("SIGKILL");
    await write(200, 10);
    await store.shards[1]!.kill("SIGKILL");
    const other = write(300, 20);
    await store.shards[1]!.restart();
    await store.proxies[0]!.start();
    await Promise.all([writing, other]);
    await allEqual();
  });

  test("what a data plane missed is compacted, and its token has expired: it loads anew", async () => {
    const [plane] = planes;
    plane!.kill("SIGSTOP");
    const before = plane!.revision;
    await write(400, 20);
    const { stdout } = await etcdctl(store.proxies[1]!.endpoint, ...root, "get", "-w", "json", "none");
    const { revision } = JSON.parse(stdout).header;
    assert.ok(revision > before + 10);
    const compaction = await etcdctl(store.proxies[1]!.endpoint, ...root, "compaction", String(revision));
    assert.equal(compaction.code, 0, compaction.stderr);
    // The proxies come back on their own ports; the stopped data plane finds its connection gone.
    for (const proxy of store.proxies) await proxy.restart("SIGKILL");
    plane!.kill("SIGCONT");
    await write(500, 5);
    await allEqual();
  });

  test("instances go with their lease", async () => {
    await control.unregister();
    const { stdout, stderr } = await etcdctl(
      store.endpoint,
      ...root,
      ...["get", `${DIRECTORIES[2]}instances/`, "--prefix", "--keys-only"],
    );
    assert.equal(stdout + stderr, "");
    await allEqual();
  });
});
