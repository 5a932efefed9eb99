import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { connect } from "../../src/app/store/connect.js";
import { findStoreContradictions, openStore, type Store } from "../../src/app/store/store.js";
import { contradictionLines, startError } from "../../src/cli/contradictions.js";
import { parseConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/types.js";
import { freePort } from "../../src/dev/ports.js";
import { createLog } from "../../src/ops/log.js";
import type { SharedTimeline } from "../../src/timeline/timeline.js";
import { PutRequest, RangeRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { peekHeader, peekRevision } from "../../src/wire/rewrite.js";
import { temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";

/** A configuration as in shards.yaml. */
export interface File {
  shards: { name: string; endpoints: string[]; weight?: number }[];
  timeline?: { host?: string; endpoints?: string[] };
  routing?: { default?: object; rules?: object[] };
  workers?: number;
}

export const at = ({ endpoint }: EtcdProcess): string[] => [endpoint];

/** Shards with these names of one letter. */
export const over = (names: string, etcds: readonly EtcdProcess[], timeline?: File["timeline"]): File => ({
  shards: [...names].map((name, i) => ({ name, endpoints: at(etcds[i]) })),
  ...(timeline && { timeline }),
});

const log = createLog("silent");
const folder = temporaryFolder();
let files = 0;

/** Writes the file; resolves to its path and what it says. */
export async function configured(file: File): Promise<{ path: string; port: number; config: Config }> {
  const path = join(folder, `${files++}-shards.yaml`);
  const port = await freePort();
  const limits = { connectTimeoutMs: 1_000 };
  writeFileSync(path, stringify({ listen: [`127.0.0.1:${port}`], limits, ...file }));
  return { path, port, config: parseConfig(readFileSync(path, "utf8"), path) };
}

/** Opens the store in this process. Its backends that are down are not waited for. */
export async function opened(file: File): Promise<Store> {
  const { config } = await configured(file);
  return openStore(config, log, AbortSignal.abort());
}

/** Opens the store and closes it again. */
export async function open(file: File): Promise<bigint> {
  const store = await opened(file);
  store.close();
  return store.id;
}

/** What each etcd's own revision is. */
export function revisions(etcds: readonly EtcdProcess[]): Promise<number[]> {
  return Promise.all(
    etcds.map(async (etcd) => Number((await post(etcd, "range", { key: "AA==" })).header.revision)),
  );
}

/** A call to the JSON gateway of an etcd. */
// biome-ignore lint/suspicious/noExplicitAny: what etcd answers
export async function post(etcd: EtcdProcess, method: string, body: object): Promise<any> {
  const answer = await fetch(`${etcd.url}/v3/kv/${method}`, { method: "POST", body: JSON.stringify(body) });
  assert.ok(answer.ok, `${method}: ${answer.status}`);
  return answer.json();
}

export const base64 = (text: string): string => Buffer.from(text, "latin1").toString("base64");

/**
 * The file cannot be opened, `braid check` finds the same, and nothing is written to the etcds. Resolves to the refusal's
 * lines, each with the line of the file that it names: `… → the line`.
 */
export async function refusals(file: File, etcds: readonly EtcdProcess[]): Promise<string> {
  const before = await revisions(etcds);
  const { path, config } = await configured(file);
  const store = await openStore(config, log, AbortSignal.abort()).catch((error: Error) => error);
  if (!(store instanceof Error)) store.close();
  assert.ok(store instanceof Error, "it is opened");
  const refused = startError(store, path);
  const found = contradictionLines(await findStoreContradictions(config, log), config, path);
  assert.equal(refused.split("\n  ").slice(1).join("\n"), found.join("\n"));
  assert.deepEqual(await revisions(etcds), before, "nothing was written");
  assert.doesNotMatch(store.message, /127\.0\.0\.1|localhost/, "clients are told no addresses");
  const text = readFileSync(path, "utf8").split("\n");
  return found
    .map((line) => `${line} → ${text[Number(/shards\.yaml:(\d+): /.exec(line)?.[1]) - 1]?.trim()}`)
    .join("\n");
}

const MARKS = { key: base64("\0braid/mark/"), range_end: base64("\0braid/mark0") };

/** Another cluster with the keys of an etcd, and a higher revision, as an operator restores one. */
export async function rebuild(
  etcd: EtcdProcess,
  isKept: (key: string) => boolean = () => true,
): Promise<EtcdProcess> {
  const copy = await startEtcd({ name: "copy" });
  const { kvs, header } = await post(etcd, "range", { key: "AA==", range_end: "AA==" });
  for (let n = kvs.length; n < Number(header.revision) + 1; n++)
    await post(copy, "put", { key: base64("x") });
  for (const { key, value } of kvs) {
    if (isKept(Buffer.from(key, "base64").toString("latin1"))) await post(copy, "put", { key, value });
  }
  return copy;
}

/** The names of an etcd's marks and claims: the store's id, and what follows it. */
export async function marksOf(etcd: EtcdProcess): Promise<string[]> {
  const { kvs = [] } = await post(etcd, "range", MARKS);
  return kvs.map(({ key }: { key: string }) =>
    Buffer.from(key, "base64").toString().slice("\0braid/mark/".length),
  );
}

export async function withEtcds(count: number, body: (etcds: EtcdProcess[]) => Promise<void>): Promise<void> {
  const etcds = await startEtcds(count);
  try {
    await body(etcds);
  } finally {
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
}

const WRITE = { idempotent: false } as const;
const READ = RangeRequest.encode({ key: Uint8Array.of(0) });
const put = (key: string) => PutRequest.encode({ key: Buffer.from(key) });

/** A proxy of an older version, which knows nothing of marks. */
export interface Older {
  readonly timeline: SharedTimeline;
  /** Puts a key on each shard; resolves to the store's revision. */
  write(): Promise<number>;
  close(): void;
}

/** Opens a store as an older version does, or makes one. */
export async function startOlder(file: File): Promise<Older> {
  const { config } = await configured(file);
  const { clients, timeline, disconnect } = await connect(config, log, async (shards) => {
    const answers = await Promise.all(
      shards.map((shard) => shard.call(KV.Range, READ, { idempotent: true })),
    );
    const headers = answers.map(peekHeader);
    return {
      revisions: headers.map(({ revision }) => revision),
      clusterIds: headers.map(({ clusterId }) => `${clusterId}`),
    };
  });
  await timeline.open();
  const write = async () => {
    for (const [i, client] of clients.entries()) {
      await timeline.seal(i, peekRevision(await client.call(KV.Put, put(`/k${i}`), WRITE)), true);
    }
    return timeline.head;
  };
  return { timeline, write, close: disconnect };
}
