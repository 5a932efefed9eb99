import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Bucket } from "../../src/tenants/bucket.js";
import { TenantLeases } from "../../src/tenants/leases.js";
import { Prefixes } from "../../src/tenants/prefixes.js";
import { Tenant } from "../../src/tenants/tenant.js";
import { usageOfTxn } from "../../src/tenants/usage.js";
import { TxnRequest } from "../../src/wire/messages.js";

const bytes = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));

test("a bucket begins full, empties, and fills at its rate up to its capacity", () => {
  const bucket = new Bucket(10, 20, 0);
  for (let i = 0; i < 20; i++) {
    assert.ok(bucket.has(1, 0), `token ${i}`);
    bucket.take(1);
  }
  assert.ok(!bucket.has(1, 0));
  assert.equal(bucket.wait(1, 0), 100);
  assert.ok(!bucket.has(1, 99));
  assert.ok(bucket.has(1, 100));
  assert.ok(!bucket.has(2, 100));
  assert.ok(bucket.has(20, 1e9) && bucket.wait(1, 1e9) === 0);
  bucket.take(21);
  assert.ok(!bucket.has(1, 1e9), "no more than the capacity was saved up");
});

test("what is larger than the capacity passes a full bucket, which then has to make up for it", () => {
  const bucket = new Bucket(10, 20, 0);
  assert.ok(bucket.has(50, 0));
  bucket.take(50);
  assert.equal(bucket.wait(1, 0), 3_100);
  assert.ok(!bucket.has(1, 3_000));
  assert.ok(bucket.has(1, 3_100));
});

test("a bucket that is resized keeps what was used", () => {
  const bucket = new Bucket(1, 10, 0);
  bucket.take(4);
  bucket.resize(2, 20, 0);
  assert.ok(bucket.has(16, 0) && !bucket.has(17, 0));
  bucket.resize(1, 2, 0);
  assert.ok(!bucket.has(1, 0), "4 of 2 are used");
  bucket.give(1);
  assert.ok(bucket.has(1, 0));
});

const tenantOfUser = (user: string) =>
  new Tenant({ name: user, user, prefix: undefined, mode: "enforce", limits: { burstSeconds: 2 } }, 1, 0);

test("leases that expire leave no trace, even if nobody asks how many there are", () => {
  const leases = new TenantLeases();
  const tenant = tenantOfUser("shop");
  for (let i = 0; i < 100_000; i++) leases.renewed(BigInt(i + 1), 5, tenant, i * 10);
  // 500 of them are alive.
  assert.ok(tenant.liveLeases < 2_000, `${tenant.liveLeases} leases are remembered`);
  leases.sweep(tenant, 99_999 * 10);
  assert.equal(tenant.liveLeases, 500);
});

test("a lease stays with its tenant, whoever renews it", () => {
  const leases = new TenantLeases();
  const [shop, other] = [tenantOfUser("shop"), tenantOfUser("other")];
  leases.renewed(1n, 10, shop, 0);
  leases.renewed(2n, 10, shop, 0);
  leases.renewed(1n, 10, undefined, 9_000);
  leases.renewed(2n, 10, other, 9_000);
  leases.renewed(3n, 10, other, 9_000);
  leases.renewed(4n, 10, undefined, 9_000);
  leases.sweep(shop, 11_000);
  assert.deepEqual([shop.liveLeases, other.liveLeases], [2, 1]);
  leases.ended(2n);
  leases.sweep(shop, 19_001);
  assert.deepEqual([shop.liveLeases, other.liveLeases], [0, 0]);
});

test("prefixes: the longest one that contains a range, compared with a simple search", () => {
  const seed = Number(process.env.SEED ?? randomInt(2 ** 31));
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >> 8) % below;
  };
  const alphabet = ["\x00", "/", "a", "\xff"];
  const word = (most: number) =>
    bytes(Array.from({ length: random(most + 1) }, () => alphabet[random(4)]).join(""));
  const endOf = (prefix: Uint8Array) => {
    for (let i = prefix.length - 1; i >= 0; i--)
      if (prefix[i]! < 255) return Buffer.concat([prefix.subarray(0, i), Uint8Array.of(prefix[i]! + 1)]);
    return undefined;
  };
  for (let round = 0; round < 200; round++) {
    const texts = new Map(
      Array.from({ length: random(8) }, () => word(3)).map((each) => [String(each), each]),
    );
    const all = [...texts.values()];
    const prefixes = new Prefixes(all.map((prefix) => ({ prefix, value: prefix })));
    for (let i = 0; i < 100; i++) {
      const key = word(5);
      const rangeEnd = random(2) === 0 ? bytes("") : random(3) === 0 ? bytes("\x00") : word(5);
      const isUnbounded = rangeEnd.length === 1 && rangeEnd[0] === 0;
      // Reversed ranges have no keys, so it does not matter what they count for.
      if (rangeEnd.length > 0 && !isUnbounded && Buffer.compare(key, rangeEnd) >= 0) continue;
      const expected = all
        .filter((prefix) => {
          if (Buffer.compare(key.subarray(0, prefix.length), prefix) !== 0) return false;
          const end = endOf(prefix);
          if (rangeEnd.length === 0 || end === undefined) return true;
          return !isUnbounded && Buffer.compare(rangeEnd, end) <= 0;
        })
        .sort((a, b) => b.length - a.length)[0];
      assert.deepEqual(prefixes.find(key, rangeEnd), expected, `SEED=${seed}`);
    }
  }
});

test("a transaction counts by what its keys belong to, and by the branch that uses more", () => {
  const put = (key: string, size = 1) => ({
    kind: "put" as const,
    request: { key: bytes(key), value: new Uint8Array(size) },
  });
  const range = (key: string) => ({ kind: "range" as const, request: { key: bytes(key) } });
  const remove = (key: string) => ({ kind: "deleteRange" as const, request: { key: bytes(key) } });
  const request = TxnRequest.decode(
    TxnRequest.encode({
      compare: [{ key: bytes("c1") }],
      success: [put("a1", 5), put("a2", 2), range("a3"), put("b1")],
      failure: [
        put("a1", 9),
        range("a1"),
        range("a2"),
        remove("b1"),
        remove("b2"),
        { kind: "txn", request: { success: [put("a4")] } },
      ],
    }),
  );
  const usage = usageOfTxn(request, (key) => String.fromCharCode(key[0]!), "nothing");
  assert.deepEqual(Object.fromEntries(usage), {
    a: { puts: 2, ranges: 2, transactions: 2, values: 2, largestValue: 9 },
    b: { puts: 2, ranges: 0, transactions: 1, values: 1, largestValue: 1 },
    c: { puts: 0, ranges: 0, transactions: 1, values: 0, largestValue: 0 },
  });
  const empty = usageOfTxn(TxnRequest.decode(new Uint8Array(0)), () => "other", "nothing");
  assert.deepEqual(
    [...empty],
    [["nothing", { puts: 0, ranges: 0, transactions: 1, values: 0, largestValue: 0 }]],
  );
});
