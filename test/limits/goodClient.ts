// A well-behaved client in a separate thread; its data is { endpoint, token }. It puts and gets a key over and over. The
// times of those calls mean little, because other tests use the etcds' disk; it times calls that the proxy serves alone.
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { openShard } from "../../src/shard/client.js";
import { PutRequest, RangeRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { EMPTY } from "../../src/wire/reader.js";

/** What the client has measured since the previous report. */
export interface Report {
  /** Timed calls that have ended, and the one under way. */
  readonly calls: number;
  /** 99th percentile of their duration, in milliseconds. */
  readonly p99: number;
  readonly errors: readonly string[];
}

const PAUSE_MS = 5;
const { endpoint, token } = workerData as { endpoint: string; token: string | undefined };
const connection = openShard({
  index: 0,
  name: "proxy",
  endpoints: [endpoint],
  requestTimeoutMs: 30_000,
  connectTimeoutMs: 10_000,
  log: { debug() {}, info() {}, warn() {} },
});

let times: number[] = [];
let errors: string[] = [];
let since: number | undefined;

parentPort!.on("message", () => {
  if (since !== undefined) times.push(performance.now() - since);
  times.sort((a, b) => a - b);
  const report: Report = { calls: times.length, p99: times[Math.floor(times.length * 0.99)] ?? 0, errors };
  times = [];
  errors = [];
  parentPort!.postMessage(report);
});

const metadata = token === undefined ? {} : { metadata: { token } };
const failed = (reason: unknown) => errors.push(String(reason));
const timed = async () => {
  for (;;) {
    since = performance.now();
    await connection.call("/grpc.health.v1.Health/Check", EMPTY, { idempotent: true }).catch(failed);
    times.push(performance.now() - since);
    since = undefined;
    await sleep(PAUSE_MS);
  }
};
const key = Buffer.from("good/client");
const put = PutRequest.encode({ key, value: Buffer.from("value") });
const get = RangeRequest.encode({ key });
const untimed = async () => {
  for (;;) {
    await connection.call(KV.Put, put, { idempotent: false, ...metadata }).catch(failed);
    await connection.call(KV.Range, get, { idempotent: true, ...metadata }).catch(failed);
    await sleep(PAUSE_MS);
  }
};
void timed();
void untimed();
