import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { measure } from "../../src/app/store/measure.js";
import { openSurvey } from "../../src/app/store/survey.js";
import { compareWithStore } from "../../src/cli/planTarget.js";
import { SHARD_FLAGS } from "../../src/dev/etcd.js";
import { freePort } from "../../src/dev/ports.js";
import { createLog } from "../../src/ops/log.js";
import { createRouter } from "../../src/routing/create.js";
import type { CallOptions } from "../../src/shard/shard.js";
import { StatusError } from "../../src/status/error.js";
import { RangeRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { at, configured, type File, over, revisions, withEtcds } from "../store/configured.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import {
  addWithoutMoving,
  expectedMoves,
  fill,
  movesOf,
  plan,
  planned,
  post,
  serving,
} from "./planSupport.js";

/** With the limits that a shard needs. */
const FITTING = { flags: SHARD_FLAGS };

/** A store over a, b and c. */
let store: EtcdProcess[];
/** Not in any store. */
let spare: EtcdProcess;
/** A store of its own. */
let other: EtcdProcess;
let currentFile: string;

const keys = Array.from({ length: 600 }, (_, i) => `/g${i % 60}/d${i % 120}/k${i}`);
const current = (): File => over("abc", store);
/** With one more shard. */
const larger = (etcd: EtcdProcess = spare): File => over("abcd", [...store, etcd]);
const withRules = (routing: NonNullable<File["routing"]>): File => ({ ...current(), routing });
/** Two segments under /g, one elsewhere. */
const FINER = { rules: [{ prefix: "/g", segments: 2 }] };

before(async () => {
  [store, [spare, other]] = await Promise.all([startEtcds(3), startEtcds(2, FITTING)]);
  const proxies = await Promise.all([serving(current()), serving(over("z", [other]))]);
  await fill(proxies[0], keys);
  await Promise.all(proxies.map((proxy) => proxy.kill()));
  currentFile = (await configured(current())).path;
});

after(() => Promise.all([...store, spare, other].map((etcd) => etcd.remove())));

test("the file of the store: nothing to do, exit code 0", async () => {
  const { code, stdout, stderr } = await plan(current());
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^\S+shards\.yaml has the shard map of the store\. There is nothing to do\.\n$/);
  const report = await planned(0, current());
  assert.deepEqual([report.changes, report.problems, report.keys], [[], [], null]);
  assert.match(report.store!, /^[0-9a-f]{16}$/);
});

test("one more shard: exit code 3, the keys that move are counted, nothing is written", async () => {
  const before = await revisions([...store, spare]);
  const { code, stdout, stderr } = await plan(larger());
  assert.deepEqual([code, stderr], [3, ""]);
  const report = await planned(3, larger());
  assert.deepEqual(await revisions([...store, spare]), before);
  const expected = await expectedMoves(current(), larger(), keys);
  assert.ok(expected.length === 3, "all shards give keys to the new one");
  assert.deepEqual(movesOf(report), expected);
  assert.deepEqual(report.changes, [{ of: "shards", message: "shard d is new" }]);
  assert.deepEqual(report.problems, []);
  const total = expected.reduce((sum, move) => sum + Number(move.split(" ")[2]), 0);
  const { moving, movingBytes, shards, rate, seconds, sampled } = report.keys!;
  assert.deepEqual([report.keys!.total, moving, rate, seconds], [600, total, 5_000, total / 5_000]);
  // Each value has one byte.
  const bytes = keys.reduce((sum, key) => sum + key.length + 1, 0) / keys.length;
  assert.ok(Math.abs(movingBytes / moving - bytes) < 1, `${movingBytes} bytes of ${moving} keys`);
  assert.equal(sampled, total);
  assert.deepEqual(
    shards.map(({ name, state }) => [name, state]),
    [..."abc"].map((name) => [name, "kept"]).concat([["d", "new"]]),
  );
  assert.equal(shards[3].after, total);
  const moved = total.toLocaleString("en");
  assert.match(stdout, /^Changes from the store to \S+:\n {2}shard d is new\n/);
  assert.match(stdout, new RegExp(`^${moved} of 600 keys \\(\\d+%\\) move, counted at revision \\d+:$`, "m"));
  for (const [from, to, count, groups] of expected.map((move) => move.split(" ")))
    assert.match(stdout, new RegExp(`^${from} +${to} +${groups} +${count} +\\d+\\.\\d KiB$`, "m"));
  assert.match(stdout, new RegExp(`^d +0 +${moved} +new$`, "m"));
  assert.match(stdout, /Nothing was changed\. `braid apply` makes these changes\.\n$/);
});

test("--rate sets the speed of the estimate", async () => {
  const report = await planned(3, larger(), "--rate", "10");
  assert.equal(report.keys!.seconds, report.keys!.moving / 10);
  const { stdout } = await plan(larger(), "--rate", "0.01");
  assert.match(stdout, /At 0\.01 keys per second, this takes about \d+\.\d hours\./);
  assert.equal((await plan(larger(), "--rate", "fast")).code, 2);
});

const CHANGED: [name: string, file: () => File, change: RegExp][] = [
  [
    "another weight",
    () => ({
      ...current(),
      shards: current().shards.map((each, i) => ({ ...each, weight: i === 1 ? 3 : 1 })),
    }),
    /^weight: shard b has weight 3 instead of 1$/,
  ],
  [
    "a pin",
    () => withRules({ rules: [{ prefix: "/g1", shard: "c" }] }),
    /^rule: the rule for prefix "\/g1" \(.*shard c\) is new$/,
  ],
  ["a finer rule", () => withRules(FINER), /^rule: the rule for prefix "\/g" .* is new$/],
  [
    "a coarser rule",
    () => withRules({ rules: [{ prefix: "/", segments: 0 }] }),
    /^rule: the rule for prefix "\/" .* is new$/,
  ],
];

for (const [name, file, change] of CHANGED) {
  test(`${name}: the keys that move are counted`, async () => {
    const report = await planned(3, file());
    const expected = await expectedMoves(current(), file(), keys);
    assert.ok(expected.length > 0);
    assert.deepEqual(movesOf(report), expected);
    const changes = report.changes.map(({ of, message }) => `${of}: ${message}`);
    assert.equal(changes.filter((each) => change.test(each)).length, 1, changes.join("\n"));
    assert.equal(report.keys!.splits.length, name === "a finer rule" ? 60 : 0);
  });
}

test("the groups that a finer rule splits are listed", async () => {
  const { stdout } = await plan(withRules(FINER));
  assert.match(
    stdout,
    /The new rules split 60 groups\. .* will be refused:\nGROUP +KEYS +PARTS +SHARDS\n"\/g0" +10 +2 +[12]\n/,
  );
  assert.match(stdout, /and 50 more \(--json lists all\)/);
  const { splits } = (await planned(3, withRules(FINER))).keys!;
  const moved = await expectedMoves(current(), withRules(FINER), keys);
  assert.ok(moved.length > 0 && splits.some(({ shards }) => shards === 2));
  for (const { keys, parts, pinned } of splits) assert.deepEqual([keys, parts, pinned], [10, 2, false]);
});

test("another order of the shards changes nothing", async () => {
  const file = { ...current(), timeline: { host: "a" } };
  file.shards.reverse();
  const { code, stdout } = await plan(file);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /There is nothing to do\./);
});

test("all keys of a shard that is removed move, and the store knows where the shard is", async () => {
  const file = over("ac", [store[0], store[2]]);
  const report = await planned(3, file);
  assert.deepEqual(movesOf(report), await expectedMoves(current(), file, keys));
  assert.deepEqual(report.changes, [{ of: "shards", message: "shard b is gone" }]);
  const removed = report.keys!.shards[1];
  assert.deepEqual([removed.name, removed.state, removed.after], ["b", "removed", 0]);
  assert.ok(removed.before > 0);
});

test("a file without the timeline host needs the file in force", async () => {
  const file = over("bc", [store[1], store[2]]);
  const refused = await plan(file);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /the timeline of this store is on shard "a" .*--current/);
  const report = await planned(3, file, "--current", currentFile);
  assert.deepEqual(
    report.changes.map(({ message }) => message),
    ["shard a is gone", 'the timeline moves from shard "a" to shard "b"'],
  );
});

test("a store that records the addresses of its shards needs no other file", async () => {
  await withEtcds(3, async (etcds) => {
    const file = over("ab", etcds);
    await (await serving(file)).kill();
    await addWithoutMoving(file, over("abc", etcds));
    const whole = over("abc", etcds);
    assert.deepEqual((await planned(0, whole)).changes, []);
    const removed = await planned(3, file);
    assert.deepEqual(removed.changes, [{ of: "shards", message: "shard c is gone" }]);
    whole.shards[2].endpoints = [`localhost:${etcds[2].port}`];
    const elsewhere = await planned(3, whole);
    const text = `shard c has the endpoints localhost:${etcds[2].port} instead of ${etcds[2].endpoint}`;
    assert.deepEqual(elsewhere.changes, [{ of: "endpoints", message: text }]);
    assert.equal(elsewhere.keys!.moving, 0);
    const status = await braid("status", "--config", (await configured(file)).path);
    assert.equal(status.code, 0, status.stdout);
    assert.match(status.stdout, new RegExp(`^c +1 +ok .* ${etcds[2].endpoint}$`, "m"));
  });
});

test("a shard that was emptied after a plan had removed it cannot come back", async () => {
  const etcds = await startEtcds(3, FITTING);
  try {
    const [smaller, whole] = ["ab", "abc"].map((names) => over(names, etcds));
    await (await serving(smaller)).kill();
    const [, , c] = etcds;
    for (let i = 0; i < 5; i++) await etcdctl(c.endpoint, "put", "/used", "before");
    await etcdctl(c.endpoint, "del", "/used");
    await addWithoutMoving(smaller, whole);
    await addWithoutMoving(whole, smaller);
    assert.deepEqual((await planned(3, whole)).problems, [], "as it was, it can");
    // With the same addresses and token, it is the same cluster for etcd.
    await c.kill();
    rmSync(c.dir, { recursive: true });
    await c.restart();
    const { problems } = await planned(2, whole);
    const text =
      /shard "c" .*: the etcd cluster \d+ is at revision 1, below \d+ that it had as shard "c" of this store: /;
    assert.match(problems.join("\n"), text);
    assert.match(
      problems.join("\n"),
      /begin with another --initial-cluster-token, and give the shard another name/,
    );
  } finally {
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
});

test("another cluster for a shard needs another name; then all keys of the shard move", async () => {
  const members = [store[0], spare, store[2]];
  const report = await planned(2, over("abc", members), "--current", currentFile);
  assert.equal(report.problems.length, 1);
  const taken =
    /shard "b" .*: it is the etcd cluster \d+, but in this store the name belongs to the etcd cluster \d+/;
  assert.match(report.problems[0], taken);
  const renamed = await planned(3, over("adc", members), "--current", currentFile);
  const moves = movesOf(renamed);
  assert.ok(moves.some((move) => move.startsWith("b d ")));
  assert.deepEqual(moves, await expectedMoves(current(), over("adc", members), keys));
  assert.equal(renamed.keys!.shards.find(({ name }) => name === "b")!.after, 0);
});

test("another timeline host is a change that moves no keys; a new shard cannot become the host at once", async () => {
  for (const [timeline, text] of [
    [{ host: "b" }, 'the timeline moves from shard "a" to shard "b"'],
    [{ endpoints: at(spare) }, 'the timeline moves from shard "a" to a cluster that is not a shard'],
  ] as const) {
    const report = await planned(3, { ...current(), timeline });
    assert.deepEqual(report.changes, [{ of: "timeline", message: text }]);
    assert.equal(report.keys!.moving, 0);
  }
  const file = { ...over("abcd", [...store, spare]), timeline: { host: "d" } };
  const { problems } = await planned(2, file);
  assert.match(problems.join(), /from shard "a" to shard "d": first apply the new shard/);
});

test("a store of one shard that gets more is told what becomes of transactions", async () => {
  const report = await planned(3, over("zy", [other, spare]));
  assert.ok(
    report.warnings.some((text) =>
      /The store has one shard, so a transaction may write to any keys/.test(text),
    ),
  );
});

/** Problems; each with the line of the file that it names. */
const PROBLEMS: [name: string, file: () => File | Promise<File>, problem: RegExp, line: RegExp][] = [
  [
    "a new shard of another store",
    () => larger(other),
    /shard "d" \(127[.\d:]+\): the etcd cluster \d+ belongs to another store \([0-9a-f]{16}\), as its shard "z"/,
    /endpoints/,
  ],
  [
    "a new shard that cannot be reached",
    async () => ({
      shards: [...current().shards, { name: "d", endpoints: [`127.0.0.1:${await freePort()}`] }],
    }),
    /shard "d" .*no endpoint reachable/,
    /endpoints/,
  ],
  [
    "a member of a new shard that cannot be reached",
    async () => ({
      shards: [
        ...current().shards,
        { name: "d", endpoints: [spare.endpoint, `127.0.0.1:${await freePort()}`] },
      ],
    }),
    /shard "d" .*: 127[.\d:]+: .*refused/,
    /endpoints/,
  ],
  [
    "another name for a shard",
    () => over("aqc", store),
    /shard "q" .* is shard "b" of this store, and the name of a shard cannot change/,
    /name: q/,
  ],
  [
    "the endpoints of two shards exchanged",
    () => over("abc", [store[0], store[2], store[1]]),
    /shard "b" .* is shard "c" of this store/,
    /endpoints/,
  ],
  [
    "one cluster for two shards",
    () => {
      const file = larger();
      file.shards.push({ name: "e", endpoints: [`localhost:${spare.port}`] });
      return file;
    },
    /shard "e" .* is the same etcd cluster as shard "d"/,
    /endpoints/,
  ],
];

for (const [name, file, problem, line] of PROBLEMS) {
  test(`${name} is a problem: exit code 2`, async () => {
    const { path } = await configured(await file());
    const { code, stdout } = await braid("plan", "--config", path, "--current", currentFile, "--json");
    assert.equal(code, 2, stdout);
    const { problems } = JSON.parse(stdout);
    const found = problems.find((text: string) => problem.test(text));
    assert.ok(found, stdout);
    const text = readFileSync(path, "utf8").split("\n");
    const near = Number(/shards\.yaml:(\d+): /.exec(found)![1]);
    assert.match(text.slice(near - 2, near).join("\n"), line);
    const shown = await braid("plan", "--config", path, "--current", currentFile);
    assert.equal(shown.code, 2);
    assert.match(shown.stdout, /Problems that must be solved first:\n {2}\S+shards\.yaml:\d+: /);
  });
}

test("a new shard must be empty, and accept what clients may send", async () => {
  const small = await startEtcd({ flags: ["--max-txn-ops", "129", "--max-request-bytes", "1580000"] });
  const exact = await startEtcd(FITTING);
  try {
    assert.deepEqual((await planned(3, larger(exact))).problems, []);
    const { problems } = await planned(2, larger(small));
    assert.match(problems[0], /shard "d" .*: its etcds need --max-txn-ops=130 or higher/);
    assert.match(problems[1], /shard "d" .*: its etcds need --max-request-bytes=1581056 or higher/);
    assert.equal(problems.length, 2);
    await etcdctl(exact.endpoint, "lease", "grant", "600");
    await etcdctl(exact.endpoint, "put", "/found", "x");
    const dirty = (await planned(2, larger(exact))).problems.join("\n");
    assert.match(dirty, /it is not empty: it holds 1 key \(the first is "\/found"\)/);
    assert.match(dirty, /it is not empty: it holds 1 lease;/);
  } finally {
    await Promise.all([small, exact].map((etcd) => etcd.remove()));
  }
});

test("a cluster with keys of proxies, but no mark, is not empty", async () => {
  await withEtcds(1, async ([etcd]) => {
    const body = { key: Buffer.from("\0braid/token-key").toString("base64"), value: "AA==" };
    await fetch(`${etcd.url}/v3/kv/put`, { method: "POST", body: JSON.stringify(body) });
    const { problems } = await planned(2, larger(etcd));
    assert.match(problems.join(), /it is not empty: it holds keys of proxies/);
  });
});

test("a shard of the store that is down is a problem, and the changes are still shown", async () => {
  await store[1].kill();
  try {
    const { code, stdout } = await plan(larger());
    assert.equal(code, 2);
    assert.match(stdout, /shard d is new/);
    assert.match(stdout, /The keys could not be counted, because a shard cannot be read\./);
    assert.match(stdout, /shards\.yaml:\d+: shard "b" \([\d.:]+\): no endpoint reachable/);
    const removed = await plan(over("ac", [store[0], store[2]]), "--current", currentFile);
    assert.equal(removed.code, 2);
    assert.match(removed.stdout, /shard "b": no endpoint reachable/);
  } finally {
    await store[1].restart();
  }
  await store[0].kill();
  try {
    const { code, stderr } = await plan(larger());
    assert.equal(code, 1);
    assert.match(stderr, /shard "a": no endpoint reachable/);
  } finally {
    await store[0].restart();
  }
});

test("keys that were written to a wrong shard without the proxies are a problem", async () => {
  const { map } = (await configured(current())).config;
  const router = await createRouter(map);
  const key = keys.find((each) => router.shardOf(Buffer.from(each)) !== 1)!;
  await etcdctl(store[1].endpoint, "put", key, "x");
  // Only sealed revisions count, so a proxy has to see it.
  const proxy = await serving(current());
  await etcdctl(proxy.endpoint, "get", "--prefix", "");
  await proxy.kill();
  try {
    const { problems } = await planned(2, larger());
    assert.equal(problems.length, 1);
    assert.ok(
      problems[0].startsWith(`shard "b": it holds 1 key of other shards by the rules in force`),
      problems[0],
    );
    assert.ok(problems[0].includes(key));
  } finally {
    await etcdctl(store[1].endpoint, "del", key);
  }
});

test("clusters without a store: exit code 1; a file that cannot be used: exit code 2", async () => {
  await withEtcds(1, async ([etcd]) => {
    const { code, stderr } = await plan(over("a", [etcd]));
    assert.equal(code, 1);
    assert.match(stderr, /there is no store on these clusters/);
  });
  const path = join(temporaryFolder(), "shards.yaml");
  writeFileSync(path, "shards: []\n");
  for (const args of [
    ["--config", path],
    ["--config", currentFile, "--current", path],
  ]) {
    const { code, stderr } = await braid("plan", ...args);
    assert.equal(code, 2);
    assert.match(stderr, /shards: must not be empty/);
  }
});

test("20,000 keys are read in pages, also while the store is compacted", async () => {
  await withEtcds(2, async (two) => {
    const etcds = [...two, spare];
    const file: File = { ...over("ab", etcds), routing: { rules: [{ prefix: "/big", shard: "a" }] } };
    const many = [
      ...Array.from({ length: 14_000 }, (_, i) => `/big/k${i}`),
      ...Array.from({ length: 6_000 }, (_, i) => `/g${i % 60}/k${i}`),
    ];
    const proxy = await serving(file);
    await fill(proxy, many, "x".repeat(2_000));
    const to: File = { ...over("abc", etcds), routing: { rules: [{ prefix: "/big", segments: 2 }] } };
    const expected = await expectedMoves(file, to, many);
    const report = await planned(3, to);
    assert.deepEqual(movesOf(report), expected);
    assert.equal(report.keys!.total, 20_000);
    const bytes = report.keys!.movingBytes / report.keys!.moving;
    assert.ok(bytes > 2_005 && bytes < 2_015, `${bytes} bytes for each key`);
    assert.deepEqual(report.keys!.splits, [
      { name: "/big", pinned: true, keys: 14_000, parts: 14_000, shards: 3 },
    ]);

    const { config } = await configured(to);
    const survey = await openSurvey(config, undefined, createLog("silent"));
    try {
      const { timeline, map, shards } = survey;
      assert.ok(!(timeline instanceof StatusError) && map !== undefined);
      const target = compareWithStore(survey, timeline, map, config);
      let pages = 0;
      const { client } = shards[0].cluster!;
      const call = client.call.bind(client);
      // The store is compacted before the second page of the first shard.
      client.call = async (path: string, request: Uint8Array, options: CallOptions) => {
        const isPage = path === KV.Range && RangeRequest.decode(request).limit > 0;
        if (isPage && ++pages === 2) {
          const written = (await post(proxy, "kv/put", { key: "L2JpZy9rMA==" })) as {
            header: { revision: string };
          };
          await post(proxy, "kv/compaction", { revision: written.header.revision, physical: true });
        }
        return call(path, request, options);
      };
      const measured = await measure(survey, target.from, target.to, () => {});
      assert.ok(pages > 3, `${pages} pages`);
      assert.equal(measured.keys, 20_000);
      assert.equal(measured.revision, timeline.fold.head + 1);
    } finally {
      survey.close();
      await proxy.kill();
    }
  });
});

test("a store that has had as many shards as it can have takes only these again", async () => {
  const { config } = await configured(larger());
  const survey = await openSurvey(config, undefined, createLog("silent"));
  try {
    const { timeline, map } = survey;
    assert.ok(!(timeline instanceof StatusError) && map !== undefined);
    const { shards } = timeline.fold.placement.snapshot();
    while (shards.length < 255)
      shards.push({
        index: shards.length,
        name: `earlier${shards.length}`,
        endpoints: [],
        clusterId: "1",
        cut: 1,
      });
    assert.deepEqual(compareWithStore(survey, timeline, map, config).problems, []);
    shards.push({ index: 255, name: "earlier255", endpoints: [], clusterId: "1", cut: 1 });
    const { problems, newShards } = compareWithStore(survey, timeline, map, config);
    assert.match(
      problems.map(({ message }) => message).join(),
      /^shard "d": a store can have 256 shards over time/,
    );
    assert.deepEqual(newShards, []);
  } finally {
    survey.close();
  }
});

test("while clients write, no shard seems to have lost data", async () => {
  const proxy = await serving(current());
  let isOver = false;
  const write = async (): Promise<void> => {
    for (let i = 0; !isOver; i = (i + 1) % keys.length) await fill(proxy, [keys[i]]);
  };
  const writing = [write(), write(), write(), write()];
  try {
    const { config } = await configured(current());
    for (let i = 0; i < 10; i++) {
      const survey = await openSurvey(config, undefined, createLog("silent"));
      const { timeline, map } = survey;
      assert.ok(!(timeline instanceof StatusError) && map !== undefined);
      const { problems, changes } = compareWithStore(survey, timeline, map, config);
      survey.close();
      assert.deepEqual([problems, changes], [[], []]);
    }
  } finally {
    isOver = true;
    await Promise.all(writing);
    await proxy.kill();
  }
});
