import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PlanStore } from "../../src/app/reshard/planStore.js";
import { recordPlan } from "../../src/app/reshard/recordPlan.js";
import { readCluster, writeMark } from "../../src/app/store/marks.js";
import { openSurvey } from "../../src/app/store/survey.js";
import type { StatusReport } from "../../src/cli/statusReport.js";
import { SHARD_FLAGS } from "../../src/dev/etcd.js";
import { createLog } from "../../src/ops/log.js";
import type { PlanProgress } from "../../src/reshard/progress.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { openShard } from "../../src/shard/client.js";
import type { StatusError } from "../../src/status/error.js";
import { configured, type File, over, post, revisions } from "../store/configured.js";
import { braid } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { until } from "../support/until.js";
import { Actor, Applying, apply, controlAt, marksAt } from "./applySupport.js";
import { fill, plan, serving } from "./planSupport.js";

/** Of the timeline host a, the shards b and c, and clusters that are in no store. */
let etcds: EtcdProcess[];

before(async () => {
  etcds = await startEtcds(4, { flags: SHARD_FLAGS });
  const proxy = await serving(store("ab"));
  await fill(
    proxy,
    Array.from({ length: 200 }, (_, i) => `/g${i % 40}/k${i}`),
  );
  await proxy.kill();
});

after(() => Promise.all((etcds ?? []).map((etcd) => etcd.remove())));

const store = (names: string): File => over(names, etcds);

async function status(file: File): Promise<StatusReport> {
  const { path } = await configured(file);
  const { code, stdout, stderr } = await braid("status", "--json", "--config", path);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** Nothing is written while `body` runs. */
async function unchanged(body: () => Promise<void>): Promise<void> {
  const before = await revisions(etcds);
  await body();
  assert.deepEqual(await revisions(etcds), before, "nothing was written");
}

test("the file of the store: nothing to do, exit code 0", async () => {
  await unchanged(async () => {
    const { code, stdout, stderr } = await apply(store("ab"));
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /There is nothing to do\.\n$/);
  });
});

test("without a terminal and without --yes, the plan is shown and nothing is done: exit code 2", async () => {
  await unchanged(async () => {
    const shown = await apply(store("abc"));
    assert.equal(shown.code, 2);
    assert.match(shown.stdout, /shard c is new\n.* of 200 keys \(\d+%\) move/s);
    assert.match(shown.stderr, /nothing was changed: there is no terminal to ask\. .* give --yes\n$/);
    const { code, stderr } = await apply(store("abc"), "--json");
    assert.equal(code, 2);
    assert.match(stderr, /with --json, nobody is asked/);
  });
});

test("problems are shown, and nothing is done: exit code 2", async () => {
  const current = (await configured(store("ab"))).path;
  const refused: [file: File, problem: RegExp][] = [
    [
      { ...store("abc"), timeline: { host: "c" } },
      /shards\.yaml:\d+: the timeline moves from shard "a" to shard "c": first apply the new shard with the timeline where it is/,
    ],
    [
      over("ab", [etcds[0], etcds[2]]),
      /shard "b" .*: it is the etcd cluster \d+, but in this store the name belongs to the etcd cluster \d+/,
    ],
  ];
  await unchanged(async () => {
    for (const [file, problem] of refused) {
      const { code, stdout } = await apply(file, "--yes", "--current", current);
      assert.equal(code, 2, stdout);
      assert.match(stdout, /Problems that must be solved first:/);
      assert.match(stdout, problem);
    }
  });
});

test("options that exclude each other: exit code 2", async () => {
  const refused: [args: string[], text: RegExp][] = [
    [["--pause", "--resume"], /--pause and --resume exclude each other/],
    [["--watch", "--turn-back"], /--watch and --turn-back exclude each other/],
    [["--pause", "--yes"], /--yes is for a file to apply, not for --pause/],
    [["--turn-back", "--max-keys-per-second", "5"], /--max-keys-per-second is for .* not for --turn-back/],
    [["--max-keys-per-second", "-1"], /whole number of at least 0/],
  ];
  for (const [args, text] of refused) {
    const { code, stderr } = await braid("apply", ...args);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, text);
  }
});

test("without an active plan there is nothing to watch, pause or turn back", async () => {
  const watch = await apply(store("ab"), "--watch");
  assert.deepEqual([watch.code, watch.stdout], [0, "No plan is active.\n"]);
  assert.equal((await apply(store("ab"), "--watch", "--json")).stdout, '{"type":"none"}\n');
  for (const flag of ["--pause", "--resume", "--turn-back"]) {
    const { code, stderr } = await apply(store("ab"), flag);
    assert.deepEqual([code, stderr], [1, "braid: no plan is active\n"]);
  }
});

test("in a terminal, it asks, and does nothing without yes: exit code 1", async () => {
  await unchanged(async () => {
    const declined = ["n\n", "\n", "yess\n", "\u0004", "\u0003"].map(async (answer) => {
      const applying = await Applying.inTerminal(store("abc"));
      await applying.until(/Apply this plan\? \[y\/N\]/);
      applying.type(answer);
      assert.equal(await applying.done(), 1, answer);
      assert.match(applying.text, /Nothing was changed\.\r\n$/);
    });
    await Promise.all(declined);
  });
});

test("a plan is recorded with marks, addresses and control, and goes on without the command", async () => {
  const applying = await Applying.start(store("abcd"), "--yes", "--max-keys-per-second", "700");
  await applying.until(/waiting for a proxy to take the plan; is one running/);
  assert.match(applying.text, /^Plan 1 is recorded\./m);
  const actor = await Actor.open(store("ab"), etcds[0]);
  try {
    const { plan, shards } = actor.timeline.placement;
    const { config } = await configured(store("abcd"));
    assert.deepEqual([plan?.number, plan?.below], [1, (await fingerprint(config.map)).text]);
    assert.deepEqual(
      shards.map(({ index, name, endpoints }) => ({ index, name, endpoints })),
      [..."abcd"].map((name, index) => ({ index, name, endpoints: [etcds[index].endpoint] })),
    );
    const id = actor.timeline.log.base.store;
    for (const [i, name] of [..."abcd"].entries()) {
      const [mark] = await marksAt(etcds[i]);
      assert.deepEqual([mark.store, mark.name, mark.index, mark.host.name], [id, name, i, "a"]);
    }
    const own = await revisions(etcds);
    assert.deepEqual(
      shards.slice(2).map(({ cut }) => cut),
      own.slice(2),
      "the marks are not part of the timeline",
    );
    const control = (await controlAt(etcds[0]))!;
    assert.deepEqual([control.plan, control.paused, control.maxKeysPerSecond], [1, false, 700]);
    assert.ok(control.keys! > 0 && control.keys! < 200 && control.bytes! > control.keys!);
  } finally {
    actor.close();
  }
  assert.equal(await applying.end(), 0);
  assert.match(
    applying.text,
    /The plan goes on without this command\. To watch it again: braid apply --watch\n$/,
  );
  const report = await status(store("ab"));
  assert.deepEqual(
    [report.plan!.plan, report.plan!.state, report.plan!.maxKeysPerSecond],
    [1, "unattended", 700],
  );
});

// From here on, plan 1 is active.

test("a second plan is refused while one is active: exit code 2", async () => {
  await unchanged(async () => {
    for (const file of [store("abcd"), store("abc")]) {
      const { code, stdout, stderr } = await apply(file, "--yes");
      assert.deepEqual([code, stdout], [2, ""]);
      assert.match(stderr, /plan 1 is already active\. `braid apply --watch` shows it\n$/);
    }
    assert.equal((await plan(store("abc"))).code, 2);
  });
});

test("a plan is paused and continued, and its rate changes; what it moves in total stays", async () => {
  const before = (await controlAt(etcds[0]))!;
  const paused = await apply(store("ab"), "--pause");
  assert.equal(paused.code, 0);
  assert.match(paused.stdout, /^Plan 1 is paused: /);
  assert.deepEqual(await controlAt(etcds[0]), { ...before, paused: true });
  const shown = (await status(store("ab"))).plan!;
  assert.deepEqual([shown.state, shown.advice], ["paused", "`braid apply --resume` continues it"]);
  const resumed = await apply(store("ab"), "--resume", "--max-keys-per-second", "50");
  assert.match(resumed.stdout, /^Plan 1 continues with at most 50 keys per second\./);
  assert.deepEqual(await controlAt(etcds[0]), { ...before, maxKeysPerSecond: 50 });
  const json = await apply(store("ab"), "--resume", "--max-keys-per-second", "0", "--json");
  assert.deepEqual(JSON.parse(json.stdout), { type: "resumed", plan: 1, maxKeysPerSecond: null });
  assert.deepEqual(await controlAt(etcds[0]), { ...before, maxKeysPerSecond: null });
});

test("--watch shows what the proxy records, as lines of JSON or text", async () => {
  const actor = await Actor.open(store("ab"), etcds[0]);
  const text = await Applying.start(store("ab"), "--watch", "--max-keys-per-second", "900");
  const json = await Applying.start(store("ab"), "--watch", "--json");
  const bar = await Applying.inTerminal(store("ab"), "--watch");
  const last = (): PlanProgress => json.lines.at(-1);
  try {
    await actor.take();
    await text.until(/^Plan 1 moves with at most 900 keys per second\.$/m);
    await until(
      "proxy and rate are shown",
      () => last()?.proxy === "test:1/a" && last().maxKeysPerSecond === 900,
    );
    assert.deepEqual([last().state, last().keys], ["moving", null]);
    const step = { from: "/a", to: null };
    await actor.report({ step, keys: 30, bytes: 2_048, steps: 2, lastPauseMs: 11.6, longestPauseMs: 20 });
    await until("the keys are shown", () => last().keys === 30);
    const { totalKeys } = last();
    assert.deepEqual([last().steps, last().step, last().phase, last().lastPauseMs], [2, step, "copy", 11.6]);
    const percent = Math.floor((100 * 30) / totalKeys!);
    await text.until(
      new RegExp(
        `^plan 1: 30 of ${totalKeys} keys \\(${percent}%\\), 2\\.0 KiB of [\\d.]+ KiB; .*2 steps, last pause 12 ms.*; ` +
          'moving "/a" to the end \\(copy\\)$',
        "m",
      ),
    );
    const full = Math.round((24 * percent) / 100);
    await bar.until(
      new RegExp(`\\x1b\\[3A\\x1b\\[Jplan 1 {2}\\[#{${full}}-{${24 - full}}\\] 30 of ${totalKeys} keys`),
    );
    bar.type("\u0003");
    assert.equal(await bar.done(), 0);
    assert.match(bar.text, /To watch it again: braid apply --watch\r\n$/);
    await actor.report({ keys: 30, steps: 2, waiting: 'shard "b": no endpoint reachable' });
    await until("the reason is shown", () => last().state === "waiting");
    assert.deepEqual(
      [last().reason, last().advice],
      [
        'shard "b": no endpoint reachable',
        "start the shard again; the move then continues. If a new shard is lost: `braid apply --turn-back`",
      ],
    );
    await text.until(
      /; waiting: shard "b": no endpoint reachable; start the shard again; the move then continues. If a new shard is lost: `braid apply --turn-back`$/m,
    );
    const shown = await braid("status", "--config", (await configured(store("ab"))).path);
    assert.match(
      shown.stdout,
      /^Plan: +number 1, at "\\x01"\n {2}30 of \d+ keys .*, 2 steps, longest pause 0 ms\n/m,
    );
    assert.match(shown.stdout, /^ {2}waiting: shard "b": no endpoint .*\n {2}by the proxy test:1\/a$/m);
    await actor.leave();
    await until("no proxy is shown", () => last().state === "unattended");
    await text.until(/; waiting for a proxy to take the plan; is one running/);
    assert.deepEqual(await Promise.all([text.end(), json.end("SIGTERM")]), [0, 0]);
    assert.deepEqual(last(), { type: "left", plan: 1 } as unknown);
  } finally {
    actor.close();
    await Promise.all([text.end(), json.end(), bar.end()]);
  }
});

test("--watch goes on when the timeline host is down for a while", async () => {
  const json = await Applying.start(store("ab"), "--watch", "--json");
  try {
    await json.until(/"unattended"/);
    await etcds[0].kill();
    await json.until(/"state":"waiting".*the timeline host cannot be read/);
    await etcds[0].restart();
    await until("it is read again", () => json.lines.at(-1).state === "unattended");
  } finally {
    assert.equal(await json.end(), 0);
  }
});

test("a plan is turned back, also while a step is frozen; the rate stays, and the pause ends", async () => {
  const { config } = await configured(store("ab"));
  const survey = await openSurvey(config, undefined, createLog("silent"));
  const plans = await PlanStore.open(survey);
  const actor = await Actor.open(store("ab"), etcds[0]);
  const watching = await Applying.start(store("ab"), "--watch", "--json");
  try {
    await until("plan 1 is watched", () => watching.lines.some(({ plan }) => plan === 1));
    await actor.take();
    await actor.report({ keys: 12, bytes: 340, steps: 1 });
    await apply(store("ab"), "--pause");
    const freeze = await actor.freeze();
    const sync = plans.timeline.sync.bind(plans.timeline);
    let looks = 0;
    plans.timeline.sync = () => {
      looks++;
      return sync();
    };
    const turning = plans.turnBack(1);
    await until("it looks again", () => looks > 2);
    assert.equal(plans.timeline.placement.plan?.number, 1);
    await actor.thaw(freeze);
    assert.equal(await turning, 2);
    // Another operator saw plan 1, too. To turn it back again would let it go on.
    await assert.rejects(plans.turnBack(1), /plan 1 has been turned back meanwhile; it is plan 2 now/);
    const control = await controlAt(etcds[0]);
    await assert.rejects(
      plans.changeControl(1, (known) => known),
      /plan 1 is not active any more/,
    );
    assert.deepEqual(control, { plan: 2, paused: false, maxKeysPerSecond: 900, keys: 12, bytes: 340 });
    await until("the new number is shown", () => watching.lines.some(({ plan }) => plan === 2));
    assert.deepEqual(
      watching.lines.find(({ type }) => type === "turned back"),
      { type: "turned back", plan: 2, was: 1 },
    );
    await until("it goes down", () => watching.lines.at(-1).direction === "down");
  } finally {
    await watching.end();
    actor.close();
    plans.close();
    survey.close();
  }
});

test("--turn-back turns the way back around, and shows the plan to its end", async () => {
  const actor = await Actor.open(store("ab"), etcds[0]);
  const turning = await Applying.start(store("ab"), "--turn-back");
  try {
    await turning.until(/^Plan 2 is turned back: .* as plan 3\.$/m);
    await until("the plan goes up", async () => {
      await actor.timeline.sync();
      return actor.timeline.placement.plan?.up === true;
    });
  } finally {
    actor.close();
    assert.equal(await turning.end(), 0);
  }
});

test("the shards of a plan are numbered again when another plan has marked them", async () => {
  const three = await startEtcds(3, { flags: SHARD_FLAGS });
  try {
    const file = over("ab", three.slice(0, 2));
    await (await serving(over("a", three))).kill();
    // As if a command that would have added another shard first had died.
    const [{ store: id, host }] = await marksAt(three[0]);
    const limits = { requestTimeoutMs: 10_000, connectTimeoutMs: 2_000 };
    const client = openShard({
      index: 4,
      name: "b",
      endpoints: [three[1].endpoint],
      log: createLog("silent"),
      ...limits,
    });
    assert.ok(await writeMark(client, await readCluster(client), id, host, false));
    client.close();
    assert.equal((await marksAt(three[1]))[0].index, 4);
    const applying = await Applying.start(file, "--yes", "--json");
    await applying.until(/"recorded"/);
    assert.equal((await marksAt(three[1]))[0].index, 1);
    assert.equal(await applying.end(), 0);
  } finally {
    await Promise.all(three.map((etcd) => etcd.remove()));
  }
});

test("a plan is not recorded if the store or a new shard has changed since it was made", async () => {
  const three = await startEtcds(3, { flags: SHARD_FLAGS });
  const surveys: { close(): void }[] = [];
  const made = async (file: File) => {
    const { config } = await configured(file);
    const survey = await openSurvey(config, undefined, createLog("silent"));
    const plans = await PlanStore.open(survey);
    surveys.push(plans, survey);
    const order = {
      survey,
      map: (await fingerprint(config.map)).text,
      newShards: survey.clusters.filter(({ index }) => index > 0),
      maxKeysPerSecond: null,
      keys: null,
      bytes: null,
    };
    return () => recordPlan(plans, order).catch((error: StatusError) => error.message);
  };
  try {
    await (await serving(over("a", three))).kill();
    const dirty = await made(over("ab", three));
    await post(three[1], "put", { key: "YQ==" });
    assert.match(String(await dirty()), /shard "b" has changed since it was checked: run this again/);
    await post(three[1], "deleterange", { key: "YQ==" });
    const [first, second] = await Promise.all([
      made(over("ab", three)),
      made(over("ac", [three[0], three[2]])),
    ]);
    assert.equal(((await first()) as { number: number }).number, 1);
    assert.equal(await second(), "plan 1 is already active");
    assert.deepEqual(await marksAt(three[2]), [], "the refused plan has written nothing");
  } finally {
    for (const each of surveys) each.close();
    await Promise.all(three.map((etcd) => etcd.remove()));
  }
});

test("the end of a plan is shown, and when a removed shard may be switched off", async () => {
  const three = await startEtcds(3, { flags: SHARD_FLAGS });
  const [smaller, larger] = ["ab", "abc"].map((names) => over(names, three));
  try {
    await (await serving(smaller)).kill();
    const adding = await Applying.start(larger, "--yes");
    await adding.until(/Plan 1 is recorded/);
    const actor = await Actor.open(smaller, three[0]);
    try {
      await actor.take();
      await actor.report({ plan: 1, keys: 42, steps: 1, longestPauseMs: 12.4, phase: "idle" });
      await actor.finish();
      assert.equal(await adding.done(), 0, adding.text);
      assert.match(adding.text, /^Plan 1 is done: 42 keys moved in \d+\.\d s, longest pause 12 ms\.\n$/m);
      const [{ index }] = await marksAt(three[2]);

      // The file has the map from before, and does not name c, whose addresses the store knows now.
      const removing = await Applying.start(smaller, "--yes", "--json");
      await removing.until(/"recorded"/);
      const [{ type, warnings }] = removing.lines;
      assert.equal(type, "plan");
      assert.match(
        warnings.join(),
        /has had the map of this file before: the newest plan, number 1, has left it/,
      );
      await actor.report({ plan: 2, keys: 5, bytes: 50, steps: 1, longestPauseMs: 3, phase: "idle" });
      const moved = await actor.finish([index]);
      assert.equal(await removing.done(), 0, removing.text);
      const { seconds, ...end } = removing.lines.at(-1);
      assert.ok(seconds > 0);
      const removed = [{ name: "c", compactAt: moved + 1 }];
      assert.deepEqual(end, {
        type: "done",
        ...{ plan: 2, keys: 5, bytes: 50, steps: 1, longestPauseMs: 3 },
        removed,
      });
      assert.deepEqual((await status(smaller)).removed, removed);
      const shown = await braid("status", "--config", (await configured(smaller)).path);
      assert.match(
        shown.stdout,
        new RegExp(
          `^Removed shards:\n {2}shard c is still needed .* below ${moved + 1}: .*compaction ${moved + 1}`,
          "m",
        ),
      );
      await actor.timeline.place(7n, index);
      assert.deepEqual((await status(smaller)).removed, removed, "no lease can have a part there");
      await actor.timeline.compact(moved);
      assert.equal((await status(smaller)).removed[0].compactAt, moved + 1, "the compaction is too low");
      await post(three[1], "put", { key: "Yg==" });
      await post(three[1], "deleterange", { key: "Yg==" });
      await actor.timeline.seal(1, (await revisions(three))[1], true);
      await actor.timeline.compact(moved + 1);
      assert.deepEqual((await status(smaller)).removed, []);

      // The cluster comes back.
      const back = await Applying.inTerminal(larger);
      await back.until(/Apply this plan\? \[y\/N\]/);
      back.type("y\n");
      await back.until(/Plan 3 is recorded/);
      await actor.timeline.sync();
      assert.deepEqual(
        actor.timeline.placement.shards.map(({ name }) => name),
        ["a", "b", "c"],
      );
      await actor.finish();
      assert.equal(await back.done(), 0, back.text);
    } finally {
      actor.close();
    }
  } finally {
    await Promise.all(three.map((etcd) => etcd.remove()));
  }
});
