import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code } from "../../src/status/error.js";
import { routes } from "../../src/transport/gateway/routes.js";
import { CHEAP, OWN } from "../auth/support.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { startStore, type TestStore } from "../support/store.js";
import { newSeed, random } from "../watch/random.js";
import { type Case, cases } from "./cases.js";
import { mutate } from "./mutate.js";
import { type Answer, ask, b64 } from "./support.js";

let etcd: EtcdProcess;
let store: TestStore;

before(async () => {
  [etcd, store] = await Promise.all([startEtcd(CHEAP), startStore({ etcd: CHEAP, config: { auth: OWN } })]);
});

after(async () => {
  await Promise.all([etcd?.remove(), store?.remove()]);
});

/** The parts of a response that must be equal. */
interface Comparable {
  readonly status: number;
  readonly type: string | undefined;
  readonly content: unknown;
}

for (const [name, list] of Object.entries(cases)) {
  test(`the same as from etcd: ${name}`, async () => {
    for (const each of list) {
      const label = `${each.method ?? "POST"} ${each.path} ${String(each.body ?? "").slice(0, 200)}`;
      if (each.instead !== undefined) {
        const { status, text } = await ask(store.endpoint, each);
        assert.equal(status, each.instead.status, label);
        assert.equal(JSON.parse(text).code, each.instead.code, label);
        continue;
      }
      const [theirs, ours] = await Promise.all([etcd, store].map(({ endpoint }) => askAs(endpoint, each)));
      if (each.since35 && theirs.status === 404) {
        assert.ok(ours.status === 200 || ours.status === 405, `${label}: ${ours.status}`);
      } else assert.deepEqual(comparable(ours, each), comparable(classic(theirs), each), label);
    }
  });
}

/** Tokens by endpoint and user. */
const tokens = new Map<string, string>();

async function askAs(endpoint: string, { as, login, ...asked }: Case): Promise<Answer> {
  const authorization = tokens.get(`${endpoint} ${as}`);
  const headers = { ...asked.headers, ...(authorization && { authorization }) };
  const answer = await ask(endpoint, { ...asked, headers });
  if (login !== undefined) tokens.set(`${endpoint} ${login}`, JSON.parse(answer.text).token);
  return answer;
}

/** Builds of etcd with a newer grpc-gateway (Debian's 3.5) send in JSON what the others send as a line of text. */
function classic(answer: Answer): Answer {
  const type = "text/plain; charset=utf-8";
  if (answer.status === 404 && answer.text.includes('"Not Found"'))
    return { ...answer, type, text: "Not Found\n" };
  if (answer.status === 501)
    return { ...answer, status: 405, type, text: answer.text && "Method Not Allowed\n" };
  return answer;
}

/** Removes ids and terms, which differ between stores, and the revision of a watch's first frame, which may be older here. */
function comparable(answer: Answer, { badJson, ignore = [], path }: Case): Comparable {
  const status = answer.status === 412 ? 400 : answer.status;
  const { type } = answer;
  if (answer.text === "") return { status, type: undefined, content: "" };
  const isJson = type === "application/json" || answer.text.startsWith('{"health"');
  // etcd runs its checks in random order.
  if (!isJson) return { status, type, content: answer.text.split("\n").sort() };
  const values = answer.text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
  if (badJson) return { status, type, content: values.map(({ code }) => code) };
  for (const value of values) {
    strip(value, ["cluster_id", "member_id", "raft_term", ...ignore]);
    if (status >= 400) delete value.error;
    if (value.result?.created) delete value.result.header.revision;
  }
  // The leases of one stream are on several shards, which respond independently.
  if (path.endsWith("/keepalive")) values.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  const content = path.startsWith("/v3/maintenance/alarm") ? values.map(withoutHeader) : values;
  return { status, type, content };
}

function strip(value: unknown, names: readonly string[]): void {
  if (typeof value !== "object" || value === null) return;
  for (const [name, member] of Object.entries(value)) {
    if (names.includes(name)) delete (value as Record<string, unknown>)[name];
    else strip(member, names);
  }
}

/** etcd 3.4 returns alarms without a header. */
function withoutHeader({ header, ...rest }: Record<string, unknown>): unknown {
  return rest;
}

test("a long list is complete", async () => {
  const value = Buffer.alloc(3_000, "x").toString("base64");
  for (let i = 0; i < 3; i++) {
    const success = Array.from({ length: 100 }, (_, j) => ({
      request_put: { key: b64(`long/${i}/${j}`), value },
    }));
    for (const { endpoint } of [etcd, store]) {
      const put = await ask(endpoint, { path: "/v3/kv/txn", body: JSON.stringify({ success }) });
      assert.equal(put.status, 200, put.text);
    }
  }
  const list: Case = {
    path: "/v3/kv/range",
    body: JSON.stringify({ key: b64("long/"), range_end: b64("long0") }),
  };
  const [theirs, ours] = await Promise.all([ask(etcd.endpoint, list), ask(store.endpoint, list)]);
  assert.ok(ours.text.length > 1_000_000);
  assert.deepEqual(comparable(ours, list), comparable(theirs, list));
});

test("every path of etcd is served, and reports malformed requests", async () => {
  for (const path of routes.keys()) {
    const { status, text } = await ask(store.endpoint, { path, body: "[" });
    assert.equal(status, 400, `${path}: ${text}`);
    const { code, message, error } = JSON.parse(text);
    assert.equal(code, 3);
    assert.match(message, /^invalid JSON: the request must be an object/);
    assert.equal(error, message);
  }
});

/** How long to send malformed requests. */
const FUZZ_MS = Number(process.env.FUZZ_MS ?? 4_000);
/** Methods that would affect other tests or the machine if a mutated body happened to be valid. */
const EXCLUDED = /auth\/enable|maintenance\/(defragment|downgrade|alarm)/;

test("malformed requests never get a server error, and the proxy keeps running", {
  timeout: FUZZ_MS + 60_000,
}, async () => {
  const next = random(newSeed("JSON gateway"));
  const all = Object.values(cases).flat();
  const bodies = all.map(({ body }) => String(body ?? ""));
  const paths = [...routes.keys()].filter((path) => !EXCLUDED.test(path));
  const counts = new Map<number, number>();
  const until = Date.now() + FUZZ_MS;
  const worker = async () => {
    while (Date.now() < until) {
      const which = next(all.length);
      const own = next(2) === 0 && routes.has(all[which].path) && !EXCLUDED.test(all[which].path);
      const path = own ? all[which].path : paths[next(paths.length)];
      const body = mutate(bodies[which], next);
      const waits = /watch$|keepalive$|observe$|lock\/lock$|campaign$/.test(path);
      const answer = await ask(store.endpoint, {
        path,
        body,
        ...(waits ? { lines: 1, timeoutMs: 40 } : { timeoutMs: 5_000 }),
      });
      counts.set(answer.status, (counts.get(answer.status) ?? 0) + 1);
      const label = `${path} ${JSON.stringify(body.toString("latin1"))}: ${answer.status} ${answer.text}`;
      if (answer.status === 0) assert.ok(waits, label);
      else if (answer.status >= 500) assert.equal(JSON.parse(answer.text).code, Code.UNIMPLEMENTED, label);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  console.log(`# statuses: ${[...counts].map(([status, count]) => `${status}: ${count}`).join(", ")}`);
  assert.ok((counts.get(400) ?? 0) > 100 && (counts.get(200) ?? 0) > 20, "requests of both kinds");
  const put = await ask(store.endpoint, { path: "/v3/kv/put", body: '{"key":"YWZ0ZXI=","value":"eA=="}' });
  assert.equal(put.status, 200, put.text);
  assert.ok([...store.proxies, ...store.shards].every(({ isRunning }) => isRunning));
});
