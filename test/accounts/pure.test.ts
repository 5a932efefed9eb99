import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Counting } from "../../src/accounts/counting.js";
import { Groups } from "../../src/accounts/groups.js";
import { RequestRates, sampled } from "../../src/accounts/requests.js";
import { Top } from "../../src/accounts/top.js";
import { watchesByGroup } from "../../src/accounts/watches.js";
import { KnownMaps } from "../../src/reshard/knownMaps.js";
import { compareBytes } from "../../src/routing/bytes.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { Hasher } from "../../src/routing/hash.js";
import type { RoutingRule } from "../../src/routing/map.js";
import type { Call, Reply, UnaryHandler } from "../../src/rpc/call.js";
import { NONE } from "../../src/rpc/service.js";
import { Code, StatusError } from "../../src/status/error.js";
import type { Tenant } from "../../src/tenants/tenant.js";
import { Tenants } from "../../src/tenants/tenants.js";
import { textRange } from "../../src/watch/keys.js";
import { DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { bytes, Random, rule, seed, shards, text } from "../routing/support.js";

async function groupsBy(...rules: RoutingRule[]): Promise<Groups> {
  const { text: inForce } = await fingerprint({ shards: shards("a", "b", "c"), rules });
  return new Groups(new KnownMaps({ placement: { inForce, plan: undefined } }, await Hasher.load()));
}

function tenantsWith(...prefixes: string[]): Tenants {
  const tenants = new Tenants({ processes: () => 1, now: () => 0, log: { warn: () => {} } });
  tenants.configure(
    prefixes.map((prefix) => ({
      name: prefix.replaceAll("/", ""),
      prefix: bytes(prefix),
      user: undefined,
      mode: "enforce",
      limits: { burstSeconds: 2 },
    })),
  );
  return tenants;
}

test("counts are those of a simple count, also where groups are inside of others", async (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const groups = await groupsBy(
    rule("/n/", 0),
    rule("/n/a/", 2),
    rule("/n/a/b", 0),
    rule("x", 1, "b"),
    rule("", 1),
  );
  const tenants = tenantsWith("/n/", "/n/a/", "/n/b", "x/", "/none/");
  const tenantOf = tenants.finder();
  for (let round = 0; round < 50; round++) {
    const texts = new Set<string>();
    while (texts.size < 300)
      texts.add(random.pick(["/n/", "/n/a", "/n/a/b", "x", "", "/"]) + random.text("/ab!\0\xff", 6));
    texts.delete("");
    const keys = [...texts].map(bytes).sort(compareBytes);
    const counting = new Counting(tenants.all());
    const wanted = new Map<string, { keys: number; bytes: number; tenants: Set<Tenant | undefined> }>();
    const byTenant = new Map<string, number>([...tenants.all()].map(({ name }) => [name, 0]));
    for (const key of keys) {
      const size = random.below(100);
      const place = groups.ofKey(key);
      const tenant = tenantOf(key);
      counting.add(key, size, place, tenant);
      const group = text(place.group);
      const known = wanted.get(group) ?? { keys: 0, bytes: 0, tenants: new Set() };
      wanted.set(group, {
        keys: known.keys + 1,
        bytes: known.bytes + size,
        tenants: known.tenants.add(tenant),
      });
      if (tenant !== undefined) byTenant.set(tenant.name, byTenant.get(tenant.name)! + 1);
    }
    const count = counting.result();
    assert.deepEqual(
      new Map(count.groups.map((each) => [text(each.group), [each.keys, each.bytes, each.tenant]])),
      new Map(
        [...wanted].map(([group, each]) => [
          group,
          [each.keys, each.bytes, each.tenants.size === 1 ? [...each.tenants][0] : undefined],
        ]),
      ),
    );
    assert.equal(count.groups.length, wanted.size, "each group is counted once");
    assert.deepEqual(new Map([...count.tenants].map(([{ name }, { keys }]) => [name, keys])), byTenant);
    assert.equal(
      [...count.shards.values()].reduce((sum, each) => sum + each.keys, 0),
      keys.length,
    );
  }
});

test("of very many groups, the largest are kept, in memory that does not grow", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const groups = await groupsBy(rule("", 1));
  const counting = new Counting([], 100);
  const add = (name: string, keys: number, size: number) => {
    for (let i = 0; i < keys; i++) {
      const key = bytes(`${name}/${i}`);
      counting.add(key, size, groups.ofKey(key), undefined);
    }
  };
  const fill = (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      add(`/group-with-a-name-of-some-length-${String(i).padStart(9, "0")}`, 1, 10);
      if (i % 10_000 === 5)
        add(`/group-with-a-name-of-some-length-${String(i).padStart(9, "0")}~many`, 5, 10);
      if (i % 10_000 === 7)
        add(`/group-with-a-name-of-some-length-${String(i).padStart(9, "0")}~large`, 1, 9_000);
    }
  };
  fill(0, 20_000);
  collect();
  const before = process.memoryUsage().heapUsed;
  fill(20_000, 200_000);
  collect();
  const growth = process.memoryUsage().heapUsed - before;
  assert.ok(growth < 5_000_000, `${growth} bytes`);
  const found = counting.result();
  assert.ok(found.groups.length <= 200);
  assert.equal(found.groups.filter(({ keys }) => keys === 5).length, 20);
  assert.equal(found.groups.filter(({ bytes }) => bytes === 9_000).length, 20);
  // Each name is a prefix of the next.
  const nested = new Counting([], 100);
  for (let length = 1; length < 5_000; length++) {
    const key = new Uint8Array(length).fill(0x61);
    nested.add(key, 1, groups.ofKey(key), undefined);
  }
  const [total] = nested.result().shards.values();
  assert.ok(total!.keys > 0);
});

test("the largest of many items are found", (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const numbers = Array.from({ length: 5_000 }, () => random.below(1e6));
  const top = new Top<number>(7, (number) => number);
  for (const number of numbers) top.add(number);
  assert.deepEqual(top.largest(), numbers.toSorted((a, b) => b - a).slice(0, 7));
});

test("a range has a group if all its keys have it", async () => {
  const groups = await groupsBy(rule("/two/", 2), rule("/pin/", 0, "c"), rule("", 1));
  const of = (key: string, end: string) => {
    const place = groups.ofRange(bytes(key), bytes(end));
    return place && text(place.group);
  };
  assert.equal(of("/a/x", ""), "/a");
  assert.equal(of("/a/", "/a0"), "/a");
  assert.equal(of("/a/x", "/a/y"), "/a");
  assert.equal(of("/a", "/b"), undefined, "/ab is another group");
  assert.equal(of("/", "0"), undefined);
  assert.equal(of("/a/", "\0"), undefined);
  assert.equal(of("\0", "\0"), undefined);
  assert.equal(of("/two/a/", "/two/a0"), undefined);
  assert.equal(of("/two/a/b/", "/two/a/b0"), "/two/a/b");
  assert.equal(of("/pin/", "/pin0"), "/pin");
  assert.equal(groups.ofRange(bytes("/pin/"), bytes("/pin0"))!.shard, "c");
});

test("rates of requests: right after a while, they fall, and a flood of groups does not hide a busy one", () => {
  const rates = new RequestRates(0, 100);
  const place = (group: string) => ({ group: bytes(group), shard: "a" });
  // 32 requests a second.
  for (let ms = 500; ms <= 20_000; ms += 500) rates.add(place("/busy"), undefined, 16, ms);
  const early = rates.all(20_000).get("/busy")!.requestsPerSecond;
  assert.ok(Math.abs(early - 32) < 3, String(early));
  for (let ms = 20_500; ms <= 400_000; ms += 500) {
    rates.add(place("/busy"), undefined, 16, ms);
    rates.add(place(`/flood-${ms}`), undefined, 16, ms);
  }
  const groups = rates.all(400_000);
  assert.ok(groups.size <= 100);
  const late = groups.get("/busy")!.requestsPerSecond;
  assert.ok(Math.abs(late - 32) < 3, String(late));
  const minuteLater = rates.all(460_000).get("/busy")!.requestsPerSecond;
  assert.ok(Math.abs(minuteLater - 32 / Math.E) < 2, String(minuteLater));
  assert.equal(rates.all(3_000_000).size, 0, "forgotten");
});

test("requests are sampled: each kind counts for its group, and failed ones do not", async (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const groups = await groupsBy(rule("", 1));
  const tenants = tenantsWith("/put/");
  const rates = new RequestRates(0);
  const handled: string[] = [];
  const handler: UnaryHandler = ({ path }, request, reply) => {
    handled.push(path);
    const isBad = Buffer.from(request).includes("/denied");
    reply(isBad ? new StatusError(Code.PERMISSION_DENIED, "no") : undefined, request);
  };
  const paths = [KV.Range, KV.Put, KV.DeleteRange, KV.Txn];
  const service = { unary: new Map(paths.map((path) => [path, handler])), stream: NONE };
  const now = () => 60_000;
  const { unary } = sampled(service, { rates, groups, tenants, now, random: () => random.below(1e6) / 1e6 });
  const put = (key: string) => PutRequest.encode({ key: bytes(key), value: bytes("v") });
  const requests: [path: string, request: Uint8Array][] = [
    [KV.Put, put("/put/a")],
    [KV.Range, RangeRequest.encode({ key: bytes("/list/"), rangeEnd: bytes("/list0") })],
    [KV.DeleteRange, DeleteRangeRequest.encode({ key: bytes("/del/a") })],
    [
      KV.Txn,
      TxnRequest.encode({ success: [{ kind: "put", request: { key: bytes("/txn/a"), value: bytes("") } }] }),
    ],
    [KV.Put, put("/denied/a")],
    [KV.Range, RangeRequest.encode({ key: bytes("\0"), rangeEnd: bytes("\0") })],
    [KV.Txn, TxnRequest.encode({})],
    [KV.Put, Uint8Array.of(0x0a, 0xff)],
  ];
  const rounds = 100_000;
  let replies = 0;
  for (let i = 0; i < rounds; i++) {
    for (const [path, request] of requests) {
      const reply: Reply = (_, response) => {
        assert.equal(response, request);
        replies++;
      };
      unary.get(path)!({ path } as Call, request, reply);
    }
  }
  assert.deepEqual([handled.length, replies], [rounds * requests.length, rounds * requests.length]);
  const all = rates.all(60_000);
  assert.deepEqual([...all.keys()].sort(), ["/del", "/list", "/put", "/txn"]);
  // A minute is 1 - 1/e of the memory.
  for (const [name, { requestsPerSecond, tenant }] of all) {
    const counted = requestsPerSecond * 60 * (1 - 1 / Math.E);
    assert.ok(Math.abs(counted / rounds - 1) < 0.15, `${name}: ${counted} of ${rounds}`);
    assert.equal(tenant?.name, name === "/put" ? "put" : undefined);
  }
});

test("watches count for the group of their range, as many as there are", async () => {
  const groups = await groupsBy(rule("", 1));
  const tenants = tenantsWith("/a/");
  const stream = (...ranges: [string, string][]) => ({
    state: {
      watches: [
        { watcher: undefined },
        ...ranges.map(([key, end]) => ({ watcher: { range: textRange(bytes(key), bytes(end)) } })),
      ],
    },
  });
  const found = watchesByGroup(
    [
      stream(["/a/", "/a0"], ["/a/k", ""], ["/b/k\xff", ""]),
      stream(["/a/", "/a0"], ["\0", "\0"], ["/c", "\0"]),
    ],
    groups,
    tenants,
  );
  assert.deepEqual(
    [...found.values()].map(({ group, watches, tenant }) => [text(group), watches, tenant?.name]),
    [
      ["/a", 3, "a"],
      ["/b", 1, undefined],
    ],
  );
});
