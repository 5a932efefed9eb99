import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Client, credentials } from "@grpc/grpc-js";
import { Code } from "../../src/status/error.js";
import { TxnResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { ask, b64 } from "../gateway/support.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { startStore, type TestStore } from "../support/store.js";

/*
 * Nested transactions, compared with a plain etcd. There only the limit of 128 operations bounds them. Each level uses one,
 * so the deepest transaction has 129 levels, the innermost one empty.
 */

let etcd: EtcdProcess;
let store: TestStore;
let clients: readonly Client[];

before(async () => {
  [etcd, store] = await Promise.all([startEtcd(), startStore({ shards: 2 })]);
  clients = [etcd, store].map(({ endpoint }) => new Client(endpoint, credentials.createInsecure()));
});

after(async () => {
  for (const client of clients) client.close();
  await Promise.all([etcd.remove(), store.remove()]);
});

const BRANCHES = { success: 0x12, failure: 0x1a };
const PUT = delimited(0x12, delimited(0x12, delimited(0x0a, Buffer.from("key"))));
const RANGE = delimited(0x12, delimited(0x0a, delimited(0x0a, Buffer.from("key"))));
/** Reads both shards. */
const ALL = delimited(
  0x12,
  delimited(0x0a, Buffer.concat([delimited(0x0a, Buffer.of(0)), delimited(0x12, Buffer.of(0))])),
);
const INNERMOST: Readonly<Record<string, Buffer>> = {
  nothing: Buffer.alloc(0),
  "a put": PUT,
  "a range": RANGE,
};

function delimited(tag: number, content: Buffer): Buffer {
  const length: number[] = [];
  for (let rest = content.length; ; rest = Math.floor(rest / 128)) {
    length.push(rest < 128 ? rest : (rest & 127) | 128);
    if (rest < 128) return Buffer.concat([Buffer.from([tag, ...length]), content]);
  }
}

/** `levels` transactions, each in a branch of the one around it. */
function nested(levels: number, innermost: Buffer, branch: number): Buffer {
  let bytes = innermost;
  for (let i = 1; i < levels; i++) bytes = delimited(branch, delimited(0x22, bytes));
  return bytes;
}

const asIs = (bytes: Uint8Array): Buffer => Buffer.from(bytes);

interface Outcome {
  readonly code: number;
  readonly text: string;
  /** Levels of the response. */
  readonly levels: number;
}

function txn(client: Client, request: Buffer): Promise<Outcome> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(KV.Txn, asIs, asIs, request, (error, response) => {
      if (error) resolve({ code: error.code, text: error.details, levels: 0 });
      else resolve({ code: Code.OK, text: "", levels: levelsOf(TxnResponse.decode(response!)) });
    });
  });
}

function levelsOf({ responses }: TxnResponse): number {
  const [first] = responses;
  return 1 + (first?.kind === "txn" ? levelsOf(first.response) : 0);
}

test("nested transactions are accepted and refused as by etcd, at any depth", async () => {
  for (const levels of [2, 50, 99, 100, 101, 127, 128, 129, 130, 256, 257, 1_000, 10_000]) {
    for (const [name, innermost] of Object.entries(INNERMOST)) {
      for (const [branch, tag] of Object.entries(BRANCHES)) {
        const request = nested(levels, innermost, tag);
        const [theirs, ours] = await Promise.all(clients.map((client) => txn(client, request)));
        assert.deepEqual(ours, theirs, `${levels} levels with ${name} in ${branch}`);
      }
    }
  }
});

test("nested transactions over several shards, too", async () => {
  for (const levels of [100, 101, 128, 129, 10_000]) {
    const request = nested(levels, ALL, BRANCHES.success);
    const [theirs, ours] = await Promise.all(clients.map((client) => txn(client, request)));
    assert.deepEqual(ours, theirs, `${levels} levels`);
  }
});

test("nested transactions in JSON, too", async () => {
  const put = { success: [{ requestPut: { key: b64("key"), value: "" } }] };
  for (const levels of [100, 101, 128, 129, 130, 256, 257, 1_000]) {
    const start = '{"success":[{"requestTxn":'.repeat(levels - 1);
    const asked = { path: "/v3/kv/txn", body: `${start}${JSON.stringify(put)}${"}]}".repeat(levels - 1)}` };
    const [theirs, ours] = await Promise.all([etcd, store].map(({ endpoint }) => ask(endpoint, asked)));
    assert.equal(ours!.status, theirs!.status, `${levels} levels: ${ours!.text.slice(0, 200)}`);
    if (ours!.status === 200) continue;
    assert.equal(JSON.parse(ours!.text).code, JSON.parse(theirs!.text).code);
    // Deeper ones fail earlier, with another error.
    if (levels <= 256) assert.equal(JSON.parse(ours!.text).message, JSON.parse(theirs!.text).message);
  }
});
