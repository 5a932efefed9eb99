import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Attempts } from "../../src/console/attempts.js";
import { figuresOf, quantile, rate } from "../../src/console/figures.js";
import { Gate } from "../../src/console/gate.js";
import { readMetrics } from "../../src/console/metricsText.js";
import type { RequestError } from "../../src/console/requestError.js";
import { SAMPLE_MS, Samples } from "../../src/console/samples.js";
import { MAX_SESSIONS, Sessions } from "../../src/console/sessions.js";
import { type WatchSources, watchesReport } from "../../src/console/watches.js";
import { packageRoot } from "../../src/ops/package.js";
import type { UnaryHandler } from "../../src/rpc/call.js";
import { Code, StatusError } from "../../src/status/error.js";
import { AuthenticateRequest } from "../../src/wire/messages.js";
import { Auth } from "../../src/wire/paths.js";

/** A client's stream, as the report reads it. */
type WatchSource = WatchSources["sessions"] extends ReadonlySet<infer T> ? T : never;

const NOBODY = { login: undefined };

test("sessions are bounded in number and time", () => {
  let now = 0;
  const sessions = new Sessions(() => now);
  const first = sessions.begin(NOBODY);
  const second = sessions.begin(NOBODY);
  assert.equal(sessions.find(first), NOBODY);
  assert.equal(sessions.find("guess"), undefined);
  for (let i = 0; i < MAX_SESSIONS - 1; i++) sessions.begin(NOBODY);
  assert.equal(sessions.count, MAX_SESSIONS);
  assert.equal(sessions.find(first), undefined, "the oldest is over");
  assert.equal(sessions.find(second), NOBODY);
  sessions.end(second);
  assert.equal(sessions.find(second), undefined);

  const used = sessions.begin(NOBODY);
  const idle = sessions.begin(NOBODY);
  for (; now < 12 * 3_600_000; now += 1_800_000) assert.equal(sessions.find(used), NOBODY);
  assert.equal(sessions.find(idle), undefined, "unused for an hour");
  now += 1_800_000;
  assert.equal(sessions.find(used), undefined, "after twelve hours, even in use");
  sessions.begin(NOBODY);
  assert.equal(sessions.count, 1, "sessions that are over leave no trace");
});

test("failed logins are bounded for each address, and for all together", () => {
  let now = 0;
  const attempts = new Attempts(() => now);
  const fail = (address: string) => {
    attempts.check(address);
    attempts.failed(address);
  };
  for (let i = 0; i < 10; i++) fail("a");
  assert.throws(() => fail("a"), { status: 429, headers: { "retry-after": "60" } });
  for (let i = 0; i < 90; i++) fail(`address ${i}`);
  assert.throws(() => fail("another"), { status: 429 });
  now += 60_000;
  for (let i = 0; i < 1_000; i++) {
    fail("a");
    attempts.succeeded("a");
  }
});

test("failed logins at the same time are bounded, also while it is not known yet whether there are users", async () => {
  let guesses = 0;
  const authenticate: UnaryHandler = (_, request, reply) => {
    if (AuthenticateRequest.decode(request).name !== "") guesses++;
    setImmediate(() => reply(new StatusError(Code.INVALID_ARGUMENT, "etcdserver: authentication failed")));
  };
  const gate = new Gate({
    handlers: { unary: new Map([[Auth.Authenticate, authenticate]]), stream: new Map() },
    callerOf: () => ({ access: () => assert.fail("no shard is asked") }),
    shards: undefined as never,
    password: undefined,
    now: () => 0,
  });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 50 }, (_, i) => gate.login("anna", `guess ${i}`, "10.0.0.1")),
  );
  const statuses = outcomes.map((each) => each.status === "rejected" && (each.reason as RequestError).status);
  assert.deepEqual(statuses, [...Array(10).fill(401), ...Array(40).fill(429)]);
  assert.equal(guesses, 10);
});

test("Prometheus' text is read with its labels", () => {
  const text = '# HELP x y\nx{a="1",b="q\\"\\\\\\n"} 2\nx 3.5\ny 1\nbroken\n';
  assert.deepEqual(
    [...readMetrics(text, (name) => name === "x")],
    [
      [
        "x",
        [
          { labels: { a: "1", b: 'q"\\\n' }, value: 2 },
          { labels: {}, value: 3.5 },
        ],
      ],
    ],
  );
});

test("rates and quantiles are those between two scrapes, also after a restart", () => {
  assert.equal(rate(10, 30, 2_000), 10);
  assert.equal(rate(30, 10, 2_000), 5);
  assert.equal(rate(30, 10, 0), null);
  const bounds = [0.001, 0.002, 0.004, Number.POSITIVE_INFINITY];
  assert.equal(quantile(0.5, [1, 1, 1, 1], [1, 1, 1, 1], bounds), null);
  assert.equal(quantile(0.5, [5, 5, 5, 5], [5, 105, 105, 105], bounds), 0.0015);
  assert.equal(quantile(0.99, [0, 0, 0, 0], [0, 0, 0, 10], bounds), 0.004);
  assert.equal(quantile(0.5, [9, 9, 9, 9], [4, 4, 4, 4], bounds), 0.0005);
});

test("the history has the last 15 minutes, and no more", () => {
  const samples = new Samples();
  const at = (i: number) => 1_000_000 + i * SAMPLE_MS;
  for (let i = 0; i < 1_000; i++) {
    samples.add(figuresOf(`braid_requests_total{method="KV.Put",code="OK"} ${i * 20}\n`, at(i)));
  }
  const history = samples.history(0);
  assert.equal(history.at.length, 450);
  assert.equal(history.at.at(-1), at(999));
  assert.ok(history.requests.every((each) => each === 10));
  assert.deepEqual(samples.history(at(997)).at, [at(998), at(999)]);
  assert.equal(samples.newest!.at - samples.earlier!.at, 10_000, "rates are measured over 10 s");
});

test("watches are reported with the slow clients first, and not more than a page can show", () => {
  const head = 50;
  const sessionOf = (i: number) => {
    const watcher = { range: { begin: `/${i}/`, end: `/${i}0` }, state: "synced", next: i };
    const stream = { usage: { client: `10.0.0.1:${i}` }, queuedBytes: i === 7 ? 1_000 : 0 };
    const watches = Array.from({ length: 30 }, (_, id) => ({ id, watcher }));
    const state = { stream, since: 0, count: watches.length, watches, isSlow: i === 150, eventsSent: i };
    return { state } as unknown as WatchSource;
  };
  const report = watchesReport({
    sessions: new Set(Array.from({ length: 200 }, (_, i) => sessionOf(i))),
    hub: { watermark: ({ next }) => Math.min(head, next) },
    timeline: { head },
    userOf: () => "anna",
    workers: 1,
  });
  const { streams, watches, slow, queuedBytes, clients } = report;
  assert.deepEqual([streams, watches, slow, queuedBytes, clients.length], [200, 6_000, 1, 1_000, 100]);
  assert.deepEqual(
    clients.slice(0, 2).map(({ client, lag, shown, user }) => [client, lag, shown.length, user]),
    [
      ["10.0.0.1:150", 0, 20, "anna"],
      ["10.0.0.1:7", 43, 20, "anna"],
    ],
  );
});

test("the page has at most 150 KB when compressed", () => {
  const folder = join(packageRoot, "dist/src/console/page");
  const sizes = readdirSync(folder)
    .filter((name) => name.startsWith("page."))
    .map((name) => gzipSync(readFileSync(join(folder, name))).length);
  assert.ok(sizes.length === 3 && sizes.every((size) => size > 0));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  assert.ok(total < 150_000, `${total} bytes`);
});
