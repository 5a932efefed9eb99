import assert from "node:assert/strict";
import { test } from "node:test";
import { deleteKeys, doomedOf } from "../../src/mover/deleting.js";
import { GivenUp } from "../../src/mover/givenUp.js";
import { DEFAULT_OPTIONS } from "../../src/mover/options.js";
import { Pace } from "../../src/mover/pace.js";
import type { MoverShard, MoverTxn, Page, PageRequest } from "../../src/mover/shard.js";
import { compareBounds, START } from "../../src/reshard/bound.js";
import { compareBytes } from "../../src/routing/bytes.js";
import { createRouter } from "../../src/routing/create.js";
import type { RoutingRule } from "../../src/routing/map.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import type { KeyValue } from "../../src/wire/messages.js";
import { bytes, text } from "./support.js";

const SLASH = 0x2f;
const RULES: RoutingRule[] = [{ prefix: bytes(""), delimiter: SLASH, segments: 1 }];
const PAGE = 1_000;

/** The part of a shard that deletions need. */
class Keys implements Pick<MoverShard, "name" | "range" | "txn"> {
  readonly name = "s0";
  gen = 7;
  readonly txns: MoverTxn[] = [];
  /** Called between a page and the deletions that follow from it. */
  read = () => {};

  constructor(readonly keys: Set<string>) {}

  async range({ from, to, limit }: PageRequest): Promise<Page> {
    const found = [...this.keys]
      .map(bytes)
      .filter((key) => compareBounds(from, key) <= 0 && compareBounds(key, to) < 0)
      .sort(compareBytes);
    const kvs = found.slice(0, limit).map((key) => ({ key }) as KeyValue);
    this.read();
    return { kvs, more: found.length > limit, revision: 1 };
  }

  async txn(txn: MoverTxn) {
    if (txn.gen !== this.gen) return { succeeded: false, changed: false, revision: 1 };
    this.txns.push(txn);
    for (const op of txn.ops) {
      assert.ok(op.kind === "delete");
      for (const key of this.keys) {
        const each = bytes(key);
        const isHit =
          op.end === undefined
            ? compareBytes(op.key, each) === 0
            : compareBytes(op.key, each) <= 0 && compareBytes(each, op.end) < 0;
        if (isHit) this.keys.delete(key);
      }
    }
    return { succeeded: true, changed: true, revision: 1 };
  }
}

/** Keys that leave shard 0 when a second shard joins, and some that stay. Most groups have several keys. */
async function open() {
  const shards = ["s0", "s1"].map((name) => ({ name, weight: 1 }));
  const one = await createRouter({ shards: shards.slice(0, 1), rules: RULES });
  const two = await createRouter({ shards, rules: RULES });
  const names = Array.from({ length: 60 }, (_, i) => `/${String(i).padStart(2, "0")}`);
  const keys = names.flatMap((name, i) => Array.from({ length: 1 + (i % 5) }, (_, n) => `${name}/${n}`));
  const shard = new Keys(new Set(keys));
  const range = { from: START, to: null };
  const run = (deleted = PAGE) => {
    const options = { ...DEFAULT_OPTIONS, pageKeys: PAGE, deleteKeys: deleted };
    const work = { options, pace: new Pace(systemRuntime) };
    return deleteKeys(shard as unknown as MoverShard, range, 7, work, doomedOf(range, one, two, 0));
  };
  const stays = (key: string) => two.shardOf(bytes(key)) === 0;
  return { keys, shard, run, stays };
}

test("keys that have moved are deleted with few operations, the others stay", async () => {
  const { keys, shard, run, stays } = await open();
  await run();
  assert.deepEqual([...shard.keys].sort(), keys.filter(stays));
  const groups = new Set(keys.filter((key) => !stays(key)).map((key) => key.slice(0, 3)));
  assert.equal(shard.txns.flatMap(({ ops }) => ops).length, groups.size, "one for each group");
});

test("a key that a client writes between those that have moved stays", async () => {
  const { keys, shard, run, stays } = await open();
  const moving = keys.filter((key) => !stays(key));
  // No key that stays is there to show where a range has to end.
  for (const key of keys) if (stays(key)) shard.keys.delete(key);
  const written = keys.filter(stays);
  assert.ok(written.some((key) => moving.some((each) => each < key) && moving.some((each) => each > key)));
  shard.read = () => {
    for (const key of written) shard.keys.add(key);
  };
  await run();
  assert.deepEqual([...shard.keys].sort(), written);
});

test("a transaction deletes no more keys than a client's write may wait for", async () => {
  const { keys, shard, run, stays } = await open();
  await run(3);
  assert.deepEqual([...shard.keys].sort(), keys.filter(stays));
  const sizes = shard.txns.map(({ ops }) => {
    const hit = (key: string) =>
      ops.some(
        (op) =>
          op.kind === "delete" &&
          (op.end === undefined ? text(op.key) === key : text(op.key) <= key && key < text(op.end)),
      );
    return keys.filter(hit).length;
  });
  assert.ok(Math.max(...sizes) <= 3, `${sizes}`);
});

test("nothing is deleted once another mover has raised gen", async () => {
  const { keys, shard, run } = await open();
  shard.gen = 8;
  await assert.rejects(run(), GivenUp);
  assert.equal(shard.keys.size, keys.length);
});
