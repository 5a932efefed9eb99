import assert from "node:assert/strict";
import { test } from "node:test";
import type { Calls } from "../../src/console/calls.js";
import { keyPage } from "../../src/console/keyTree.js";
import type { KeyEntry } from "../../src/console/report.js";
import { Code, StatusError } from "../../src/status/error.js";
import type { RangeRequest } from "../../src/wire/messages.js";
import { Random } from "../kv/model.js";
import { textOf } from "./support.js";

const SLASH = 0x2f;

/** A store of some keys, in order. Like an etcd, it visits all keys of a Range to count them. */
class Keys {
  visited = 0;
  ranges = 0;
  /** Ranges that a limit lets pass. */
  left = Number.POSITIVE_INFINITY;

  constructor(private readonly keys: readonly string[]) {}

  readonly call = async (_: unknown, { key, rangeEnd, limit, countOnly }: RangeRequest) => {
    if (this.left-- <= 0) throw new StatusError(Code.RESOURCE_EXHAUSTED, "above a limit");
    const [from, to] = [key, rangeEnd].map((bytes) => Buffer.from(bytes).toString("latin1"));
    const begin = this.at(from!);
    const end = to === "\0" ? this.keys.length : this.at(to!);
    const found = this.keys.slice(begin, end);
    this.ranges++;
    this.visited += found.length;
    const kvs = countOnly ? [] : found.slice(0, limit).map((each) => ({ key: Buffer.from(each, "latin1") }));
    return { kvs, count: found.length, more: !countOnly && found.length > limit, header: { revision: 7 } };
  };

  private at(key: string): number {
    let [low, high] = [0, this.keys.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const page = (keys: Keys, prefix: string, from?: string) => {
  const start = from === undefined ? undefined : Buffer.from(from, "base64url");
  return keyPage(keys as unknown as Calls, Buffer.from(prefix, "latin1"), start, SLASH);
};

/** The entries of all pages, as text with the number of keys. */
async function entriesOf(keys: Keys, prefix: string): Promise<string[]> {
  const entries: KeyEntry[] = [];
  for (let next: string | null | undefined; next !== null; ) {
    const { entries: more, next: after }: Awaited<ReturnType<typeof page>> = await page(keys, prefix, next);
    entries.push(...more);
    next = after;
  }
  return entries.map((entry) =>
    entry.kind === "key"
      ? Buffer.from(entry.key, "base64url").toString("latin1")
      : `${latin1(entry.prefix)} ${entry.keys}`,
  );
}

const latin1 = (encoded: string): string => Buffer.from(encoded, "base64url").toString("latin1");

/** What the tree should have. */
function expected(keys: readonly string[], prefix: string): string[] {
  const folders = new Map<string, number>();
  for (const key of keys.filter((each) => each.startsWith(prefix))) {
    const cut = key.indexOf("/", prefix.length);
    const name = cut < 0 ? key : key.slice(0, cut + 1);
    folders.set(name, cut < 0 ? 0 : (folders.get(name) ?? 0) + 1);
  }
  return [...folders].map(([name, count]) => (count === 0 ? name : `${name} ${count}`));
}

test("1,000 folders of 1,000 keys: a page does not visit all keys for each of them", async () => {
  const digits = (n: number) => String(n).padStart(4, "0");
  const all = Array.from(
    { length: 1_000_000 },
    (_, i) => `/app/g${digits(Math.floor(i / 1_000))}/k${digits(i % 1_000)}`,
  );
  const keys = new Keys(all);
  const { entries, next, keys: count } = await page(keys, "/app/");
  assert.equal(count, 1_000_000);
  assert.equal(entries.length, 100);
  assert.ok(keys.visited < 4_000_000, `${keys.visited} keys visited`);
  assert.ok(keys.ranges < 350, `${keys.ranges} ranges`);
  const last = entries.at(-1)!;
  assert.deepEqual(
    [last.kind === "folder" && textOf(last.prefix), next && textOf(next)],
    ["/app/g0099/", "/app/g00990"],
  );
});

test("1,000 folders with random names", async () => {
  const random = new Random(1);
  const names = Array.from({ length: 1_000 }, () =>
    random
      .below(2 ** 31)
      .toString(16)
      .padStart(8, "0"),
  ).sort();
  const all = names.flatMap((name) =>
    Array.from({ length: 200 }, (_, i) => `/app/${name}/${String(i).padStart(3, "0")}`),
  );
  const keys = new Keys(all);
  const { entries } = await page(keys, "/app/");
  assert.equal(entries.length, 100);
  assert.ok(
    keys.visited < 2_000_000 && keys.ranges < 400,
    `${keys.visited} keys visited in ${keys.ranges} ranges`,
  );
});

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
test(`SEED=${seed}: random trees have every key once, and the right numbers`, async () => {
  const random = new Random(seed);
  for (let round = 0; round < 200; round++) {
    const alphabet = random.pick(["a/", "ab/", "/\xff", "\0\x01/\xfe\xff", "/0", "abcdefgh/"]);
    const word = () =>
      Array.from({ length: random.below(6) }, () => alphabet[random.below(alphabet.length)]).join("");
    const prefix = random.chance(0.3) ? "" : `${word()}/`;
    const size = random.pick([3, 50, 400, 1_500]);
    const all = new Set(
      Array.from({ length: size }, () => `${random.chance(0.9) ? prefix : ""}${word()}${word()}`),
    );
    // Large folders end beyond a Range.
    if (random.chance(0.5)) for (let i = 0; i < 250; i++) all.add(`${prefix}${word().slice(0, 1)}/${i}`);
    all.delete("");
    const sorted = [...all].filter((key) => key !== "").sort();
    assert.deepEqual(await entriesOf(new Keys(sorted), prefix), expected(sorted, prefix), `round ${round}`);
  }
});

test("a limit on ranges ends a page early, and the next one goes on; with nothing to show, it is an error", async () => {
  const keys = Array.from({ length: 10 }, (_, i) =>
    Array.from({ length: 150 }, (_, j) => `/${i}/${100 + j}`),
  ).flat();
  const store = new Keys(keys);
  // Each folder takes two Ranges: its first keys, and their number. The limit comes before the one or the other.
  for (const each of [4, 5, 7]) {
    const entries: KeyEntry[] = [];
    let pages = 0;
    for (let next: string | null | undefined; next !== null; pages++) {
      store.left = each;
      const got: Awaited<ReturnType<typeof page>> = await page(store, "/", next);
      entries.push(...got.entries);
      next = got.next;
    }
    const texts = entries.map((entry) =>
      entry.kind === "folder" ? `${latin1(entry.prefix)} ${entry.keys}` : "key",
    );
    assert.deepEqual(texts, expected(keys, "/"), `${each} Ranges at a time`);
    assert.ok(pages > 1);
  }
  store.left = 1;
  await assert.rejects(page(store, "/"), { code: Code.RESOURCE_EXHAUSTED });
});
