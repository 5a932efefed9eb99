import assert from "node:assert/strict";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openStore, type Store } from "../../src/app/store/store.js";
import { loadConfig } from "../../src/config/load.js";
import { freePort } from "../../src/dev/ports.js";
import { createLog } from "../../src/ops/log.js";
import type { Shard, ShardStream } from "../../src/shard/shard.js";
import type { Manifest } from "../../src/snapshot/manifest.js";
import { restoreSnapshot } from "../../src/snapshot/restore.js";
import { saveSnapshot } from "../../src/snapshot/save.js";
import { findTool } from "../../src/snapshot/tool.js";
import { ENDED_LEASE_TTL_SECONDS } from "../../src/snapshot/trim.js";
import { KV, Maintenance } from "../../src/wire/paths.js";
import { braid, spawnBraid, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { type ProxyProcess, startProxyProcess } from "../support/store.js";
import { until } from "../support/until.js";
import { Client, lines, toolOption } from "./support.js";

// Two shards and a timeline host of its own. What happens while a snapshot is taken is made to happen just then.
const folder = temporaryFolder();
const saved = join(folder, "saved");
let shards: EtcdProcess[] = [];
let host: EtcdProcess;
let proxy: ProxyProcess;
let client: Client;
let store: Store;
const started: EtcdProcess[] = [];
const proxies: ProxyProcess[] = [];
const clients: Client[] = [];

const routing = { rules: [0, 1].map((i) => ({ prefix: `/${i}/`, shard: `shard${i}` })) };

before(async () => {
  [shards, host] = await Promise.all([startEtcds(2), startEtcd()]);
  proxy = await startProxyProcess(shards, { routing, timeline: { endpoints: [host.endpoint] } });
  proxies.push(proxy);
  client = new Client(proxy.endpoint);
  clients.push(client);
  store = await openStore(loadConfig(proxy.configFile), createLog("silent"));
});

after(async () => {
  store?.close();
  for (const each of clients) each.close();
  await Promise.all(proxies.map((each) => each.kill()));
  await Promise.all([...shards, host, ...started].map((etcd) => etcd?.remove()));
});

/** A shard that has `action` done before each snapshot that is asked of it. */
function beforeSnapshot(shard: Shard, action: () => Promise<void>): Shard {
  return {
    index: shard.index,
    name: shard.name,
    unary: (...args) => shard.unary(...args),
    call: (...args) => shard.call(...args),
    close: () => {},
    stream: (path, events) => {
      const sent: Parameters<ShardStream["send"]>[] = [];
      let stream: ShardStream | undefined;
      let cancelled = false;
      void action().then(() => {
        if (cancelled) return;
        stream = shard.stream(path, events);
        for (const args of sent) stream.send(...args);
      });
      return {
        send: (...args) => sent.push(args),
        pause: () => stream?.pause(),
        resume: () => stream?.resume(),
        cancel: () => {
          cancelled = true;
          stream?.cancel();
        },
      };
    },
  };
}

function save(target: string, action: () => Promise<void>): Promise<Manifest> {
  const clusters = [...store.clients.all(), store.host].map((shard) => beforeSnapshot(shard, action));
  const { timeline } = store;
  return saveSnapshot({
    clusters,
    hostShard: timeline.hostShard,
    timeline,
    folder: target,
    braid: "test",
    progress: () => {},
  });
}

/** Nothing is left of what was begun. */
function assertNothing(target: string): void {
  const name = target.slice(folder.length + 1);
  assert.deepEqual(
    readdirSync(folder).filter((entry) => entry.includes(name)),
    [],
  );
}

test("what happens between the cut and the clusters' snapshots is not in the restored store", async () => {
  const lease = await client.grant(600);
  await client.put("/0/kept", "1");
  await client.put("/1/changed", "1");
  await client.put("/0/deleted", "1");
  await client.put("/1/again", "1");
  await client.delete("/1/again");
  await client.put("/0/leased", "1", lease);
  await client.put("/1/leased", "1", lease);
  const { kvs, header } = await client.all();
  let happened: Promise<void> | undefined;
  const later = async () => {
    await client.put("/1/changed", "2");
    await client.put("/0/kept", "2");
    await client.delete("/0/deleted");
    await client.put("/1/again", "2");
    await client.put("/0/new", "2");
    await client.revoke(lease);
  };
  const manifest = await save(saved, () => {
    happened ??= later();
    return happened;
  });
  assert.equal(manifest.revision, header?.revision);
  for (const { shard, revision, fileRevision } of manifest.clusters) {
    assert.ok(
      shard < 0 ? revision === fileRevision : revision < fileRevision,
      "the file goes beyond the cut",
    );
  }

  // One of the shards gets three members.
  const out = join(folder, "restored");
  const ports = await Promise.all([1, 2, 3].map(() => freePort()));
  const peers = ports.map((port) => `http://127.0.0.1:${port}`);
  const members = peers.flatMap((url, i) => ["-m", `shard0/m${i + 1}=${url}`]);
  const { code, stderr, stdout } = await braid(
    ...["snapshot", "restore", saved, "-d", out, ...members, ...toolOption()],
  );
  assert.equal(code, 0, stderr);
  assert.equal(stdout.match(/etcd --name/g)?.length, 5);
  const dir = (cluster: string, member: string) => join(out, cluster, member);
  const [first, second, timeline] = await Promise.all([
    Promise.all(
      peers.map((url, i) => {
        const flags = ["--listen-peer-urls", url, "--initial-advertise-peer-urls", url];
        return startEtcd({ name: `m${i + 1}`, dir: dir("shard0", `m${i + 1}`), flags });
      }),
    ),
    startEtcd({ dir: dir("shard1", "m1") }),
    startEtcd({ dir: dir("_timeline", "m1") }),
  ]);
  started.push(...first, second, timeline);
  const list = JSON.parse((await etcdctl(first[0]!.endpoint, "member", "list", "-w", "json")).stdout);
  assert.equal(list.members.length, 3);
  const restoredProxy = await startProxyProcess([], {
    routing,
    shards: [
      { name: "shard0", endpoints: first.map(({ endpoint }) => endpoint) },
      { name: "shard1", endpoints: [second.endpoint] },
    ],
    timeline: { endpoints: [timeline.endpoint] },
  });
  proxies.push(restoredProxy);
  const restored = new Client(restoredProxy.endpoint);
  clients.push(restored);
  assert.deepEqual(lines((await restored.all()).kvs), lines(kvs));
  // The lease had ended in the file; its keys shall not outlive it for long.
  const found = await restored.timeToLive(lease);
  assert.equal(found.grantedTtl, ENDED_LEASE_TTL_SECONDS);
  assert.equal(found.keys.length, 2);
  await restored.revoke(lease);
  const keys = (await restored.all()).kvs.map(({ key }) => Buffer.from(key).toString());
  assert.deepEqual(keys, ["/0/deleted", "/0/kept", "/1/changed"]);
  await restored.put("/1/again", "3");
});

test("every member has caught up with the cut before its file is taken, for leases have no revisions", async () => {
  const trace: string[] = [];
  const clusters = [...store.clients.all(), store.host].map(
    (shard): Shard => ({
      index: shard.index,
      name: shard.name,
      unary: (...args) => shard.unary(...args),
      close: () => {},
      call: async (...args) => {
        const answer = await shard.call(...args);
        trace.push(`${shard.index} answers ${args[0]} ${args[2].mayLag ?? false}`);
        return answer;
      },
      stream: (path, events) => {
        trace.push(`${shard.index} begins ${path}`);
        return shard.stream(path, events);
      },
    }),
  );
  const timeline: typeof store.timeline = Object.create(store.timeline, {
    sync: {
      value: async () => {
        await store.timeline.sync();
        trace.push("cut");
      },
    },
  });
  const target = join(folder, "caught-up");
  await saveSnapshot({
    clusters,
    hostShard: timeline.hostShard,
    timeline,
    folder: target,
    braid: "test",
    progress: () => {},
  });
  for (const { index } of clusters) {
    const own = trace.filter((line) => line === "cut" || line.startsWith(`${index} `));
    const expected = ["cut", `${index} answers ${KV.Range} false`, `${index} begins ${Maintenance.Snapshot}`];
    assert.deepEqual(own.slice(-3), expected);
  }
});

test("a compaction that overtakes the snapshot once costs a second try, each time an error", async () => {
  const compact = async () => {
    const revision = await client.put("/0/kept", "x");
    await client.put("/1/changed", "x");
    const { code, stderr } = await etcdctl(proxy.endpoint, "compaction", String(revision + 1));
    assert.equal(code, 0, stderr);
  };
  let once: Promise<void> | undefined;
  const target = join(folder, "overtaken");
  const before = store.timeline.head;
  const manifest = await save(target, () => {
    once ??= compact();
    return once;
  });
  assert.ok(manifest.revision > before);
  assert.equal((await braid("snapshot", "status", target)).code, 0);

  const always = join(folder, "always");
  let busy: Promise<void> = Promise.resolve();
  const again = () => {
    busy = busy.then(compact);
    return busy;
  };
  await assert.rejects(
    save(always, again),
    /shard "shard[01]" was compacted at \d+ while the snapshot was taken at \d+; 3 times in a row/,
  );
  assertNothing(always);
});

test("a snapshot with a damaged, shortened or missing file is refused, by name", async () => {
  const copy = join(folder, "damaged");
  const fresh = () => {
    rmSync(copy, { recursive: true, force: true });
    cpSync(saved, copy, { recursive: true });
  };
  const refused = async (text: RegExp) => {
    const out = join(folder, "never");
    const members = new Map();
    const input = { folder: copy, out, members, bumpRevision: 0, tool: toolOption()[1], say: () => {} };
    await assert.rejects(restoreSnapshot(input), text);
    assertNothing(out);
  };
  fresh();
  const path = join(copy, "shard-shard1.db");
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(path, bytes);
  await refused(/shard-shard1\.db is damaged/);
  const status = await braid("snapshot", "status", copy);
  assert.equal(status.code, 1);
  assert.match(status.stderr, /^braid: .*shard-shard1\.db is damaged: its SHA-256 is not/);
  fresh();
  writeFileSync(join(copy, "timeline"), "");
  await refused(/timeline has 0 bytes instead of \d+/);
  fresh();
  rmSync(join(copy, "timeline-host.db"));
  await refused(/timeline-host\.db is missing/);
  fresh();
  rmSync(join(copy, "manifest.json"));
  await refused(/is not a snapshot, or an incomplete one/);
});

test("folders in use, unknown members and missing programs are refused before anything is done", async () => {
  const config = ["--config", proxy.configFile];
  const used = await braid("snapshot", "save", saved, ...config);
  assert.equal(used.code, 1);
  assert.match(used.stderr, /saved exists and is not empty/);
  const out = join(folder, "out");
  mkdirSync(out);
  writeFileSync(join(out, "something"), "");
  const table: [args: string[], code: number, text: RegExp][] = [
    [[], 1, /out exists and is not empty/],
    [["-m", "shard0/m1=http://10.0.0.1"], 2, /: its peer URL: must be host:port/],
    [["-m", "shard0"], 2, /--member shard0: it must be <cluster>\/<name>=<peer URL>/],
    [
      ["-m", "x/m1=http://h:1"],
      2,
      /the snapshot has no cluster "x"; its clusters are shard0, shard1, _timeline/,
    ],
    [["-m", "shard0/a=http://h:1", "-m", "shard0/a=http://h:2"], 2, /is given twice/],
    [["--bump-revision", "-1"], 2, /number of at least 0/],
  ];
  for (const [args, code, text] of table) {
    const result = await braid("snapshot", "restore", saved, "--data", out, ...args);
    assert.equal(result.code, code, args.join(" "));
    assert.match(result.stderr, text);
  }
  rmSync(out, { recursive: true });
  const missing = await braid("snapshot", "restore", saved, "--data", out, "--etcdutl", "/nowhere/etcdutl");
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /etcdutl \(or etcdctl before 3\.6\) of version 3\.\d+ or newer/);
  await assert.rejects(
    findTool(toolOption()[1], ["3.4.23", "9.1.0"]),
    /is version 3\.\d+\.\d+, which is too old/,
  );
  assert.deepEqual(readdirSync(saved).toSorted(), [
    "manifest.json",
    "shard-shard0.db",
    "shard-shard1.db",
    "timeline",
    "timeline-host.db",
  ]);
});

test("an interrupted save leaves no folder behind that looks like one", async () => {
  const target = join(folder, "interrupted");
  await shards[1]!.kill("SIGSTOP");
  const running = spawnBraid(["snapshot", "save", target, "--config", proxy.configFile], { stdio: "ignore" });
  const ended = new Promise((resolve) => running.once("close", resolve));
  await until("it has begun", () => readdirSync(folder).some((name) => name.startsWith(".interrupted")));
  running.kill("SIGTERM");
  assert.equal(await ended, 1);
  assertNothing(target);
  await shards[1]!.kill("SIGCONT");
});

test("while a shard is down nothing is saved, and the error names it", async () => {
  const target = join(folder, "down");
  await shards[1]!.kill();
  const { code, stderr } = await braid("snapshot", "save", target, "--config", proxy.configFile);
  assert.equal(code, 1);
  assert.match(stderr, /shard "shard1": no endpoint reachable/);
  assertNothing(target);
});
