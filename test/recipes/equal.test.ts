import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { type Answer, type Message, RecipeClient } from "./client.js";

/*
 * Lock and Election side by side on one etcd and on three shards behind two proxies. Every response must be the same, including
 * revisions, codes and texts.
 */

let etcd: EtcdProcess;
let store: TestStore;

before(async () => {
  [etcd, store] = await Promise.all([startEtcd(), startStore({ proxies: 2 })]);
});
after(async () => {
  await etcd?.remove();
  await store?.remove();
});

/** A system under test. Calls alternate between its proxies. */
class Stage {
  private readonly clients: readonly RecipeClient[];
  private turn = 0;

  constructor(endpoints: readonly string[]) {
    this.clients = endpoints.map((endpoint) => new RecipeClient(endpoint));
  }

  get next(): RecipeClient {
    return this.clients[this.turn++ % this.clients.length];
  }

  call(method: string, request: Message, deadline?: number): Promise<Answer> {
    return this.next.call(method, request, deadline);
  }

  /** Starts a call that waits, and resolves once its key is in the queue. */
  async wait(method: string, request: Message & { name: string; lease: number }, deadline?: number) {
    const pending = this.next.start(method, request, deadline);
    await this.inLine(`${request.name}/${request.lease.toString(16)}`);
    return pending;
  }

  inLine(key: string): Promise<void> {
    const name = key.slice(0, key.lastIndexOf("/") + 1);
    return until(`${key} stands in line`, async () => (await this.next.keys(name)).includes(key));
  }

  outOfLine(key: string): Promise<void> {
    const name = key.slice(0, key.lastIndexOf("/") + 1);
    return until(`${key} has left`, async () => !(await this.next.keys(name)).includes(key));
  }

  close(): void {
    for (const client of this.clients) client.close();
  }
}

/** Runs a story on both stages and compares its results. */
function same(name: string, story: (stage: Stage) => Promise<unknown>): void {
  test(name, async () => {
    const stages = [new Stage([etcd.endpoint]), new Stage(store.proxies.map(({ endpoint }) => endpoint))];
    const [expected, actual] = await Promise.all(stages.map(story));
    assert.deepEqual(strip(actual), strip(expected));
    for (const stage of stages) stage.close();
  });
}

/** A response without the ids of the cluster and member. */
function strip(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strip);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(
    ([name]) => !["cluster_id", "member_id", "raft_term"].includes(name),
  );
  return Object.fromEntries(kept.map(([name, field]) => [name, strip(field)]));
}

async function leases(stage: Stage, ...ids: number[]): Promise<void> {
  for (const id of ids) await stage.next.grant(id);
}

same("lock and unlock, again and again by the same session", async (stage) => {
  await leases(stage, 0xa1);
  const lock = { name: "mutex", lease: 0xa1 };
  return [
    await stage.call("Lock.Lock", lock),
    await stage.call("Lock.Lock", lock),
    await stage.call("Lock.Unlock", { key: "mutex/a1" }),
    await stage.call("Lock.Unlock", { key: "mutex/a1" }),
    await stage.call("Lock.Lock", lock),
    await stage.call("Lease.LeaseRevoke", { ID: 0xa1 }),
    await stage.call("Lock.Lock", lock),
  ];
});

same("a lock is handed on in the order of the line", async (stage) => {
  await leases(stage, 0xb1, 0xb2, 0xb3);
  const told: unknown[] = [await stage.call("Lock.Lock", { name: "/locks/line", lease: 0xb1 })];
  const second = await stage.wait("Lock.Lock", { name: "/locks/line", lease: 0xb2 });
  const third = await stage.wait("Lock.Lock", { name: "/locks/line", lease: 0xb3 });
  told.push(await stage.call("Lock.Unlock", { key: "/locks/line/b1" }), await second.answer);
  // A lock also ends with its lease.
  told.push(await stage.call("Lease.LeaseRevoke", { ID: 0xb2 }), await third.answer);
  return [...told, await stage.next.keys("/locks/line/")];
});

same("who goes away while waiting leaves the line", async (stage) => {
  await leases(stage, 0xc1, 0xc2, 0xc3, 0xc4);
  await stage.call("Lock.Lock", { name: "leaving", lease: 0xc1 });
  const goes = await stage.wait("Lock.Lock", { name: "leaving", lease: 0xc2 });
  const stays = await stage.wait("Lock.Lock", { name: "leaving", lease: 0xc3 });
  goes.cancel();
  await stage.outOfLine("leaving/c2");
  // Long enough to enter the queue before the deadline, also on a busy machine.
  const late = await stage.wait("Lock.Lock", { name: "leaving", lease: 0xc4 }, 4_000);
  // The status comes from the client or from etcd, whichever is first.
  assert.notEqual((await late.answer).code, 0);
  await stage.outOfLine("leaving/c4");
  await stage.call("Lock.Unlock", { key: "leaving/c1" });
  return [await stays.answer, await stage.next.keys("leaving/")];
});

same("what is refused", async (stage) => {
  await leases(stage, 0xd1);
  const won = await stage.call("Election.Campaign", { name: "refusals", lease: 0xd1, value: "v" });
  const leader = won.response.leader as Message;
  return [
    won,
    await stage.call("Lock.Lock", { name: "refusals", lease: 4711 }),
    await stage.call("Lock.Lock", { name: "refusals", lease: -5 }),
    await stage.call("Lock.Unlock", {}),
    await stage.call("Lock.Unlock", { key: "refusals/none" }),
    await stage.call("Election.Campaign", { name: "refusals", lease: 4711 }),
    await stage.call("Election.Leader", { name: "nobody" }),
    await stage.call("Election.Proclaim", {}),
    await stage.call("Election.Resign", {}),
    await stage.call("Election.Proclaim", { leader: { lease: 0xd1 } }),
    await stage.call("Election.Resign", { leader: {} }),
    await stage.call("Election.Proclaim", { leader: { ...leader, rev: 1 }, value: "w" }),
    await stage.call("Election.Proclaim", { leader: { ...leader, lease: 4711 }, value: "w" }),
    await stage.call("Election.Resign", { leader: { ...leader, rev: 1 } }),
    await stage.call("Election.Leader", { name: "refusals" }),
  ];
});

same("an election from campaign to resignation", async (stage) => {
  await leases(stage, 0xe1, 0xe2);
  const candidate = { name: "/election/e", lease: 0xe1 };
  const won = await stage.call("Election.Campaign", { ...candidate, value: "one" });
  const leader = won.response.leader as Message;
  const told: unknown[] = [
    won,
    await stage.call("Election.Leader", { name: "/election/e" }),
    await stage.call("Election.Campaign", { ...candidate, value: "one" }),
    await stage.call("Election.Campaign", { ...candidate, value: "two" }),
    await stage.call("Election.Leader", { name: "/election/e" }),
    await stage.call("Election.Proclaim", { leader, value: "three" }),
    await stage.call("Election.Proclaim", { leader }),
  ];
  const next = await stage.wait("Election.Campaign", { name: "/election/e", lease: 0xe2, value: "next" });
  told.push(await stage.call("Election.Resign", { leader }), await next.answer);
  told.push(await stage.call("Election.Leader", { name: "/election/e" }));
  told.push(await stage.call("Election.Resign", { leader }));
  return told;
});

same("candidates that go away stand no more", async (stage) => {
  await leases(stage, 0xf1, 0xf2, 0xf3);
  const won = await stage.call("Election.Campaign", { name: "gone", lease: 0xf1, value: "one" });
  const goes = await stage.wait("Election.Campaign", { name: "gone", lease: 0xf2, value: "two" });
  const stays = await stage.wait("Election.Campaign", { name: "gone", lease: 0xf3, value: "three" });
  goes.cancel();
  await stage.outOfLine("gone/f2");
  await stage.call("Election.Resign", { leader: won.response.leader as Message });
  return [await stays.answer, await stage.next.keys("gone/")];
});

same("observers are told every leader and what they proclaim", async (stage) => {
  await leases(stage, 0x11, 0x12);
  const [early, late] = [stage.next.observe("watched"), stage.next.observe("watched")];
  const won = await stage.call("Election.Campaign", { name: "watched", lease: 0x11, value: "one" });
  await Promise.all([early.count(1), late.count(1)]);
  await stage.call("Election.Proclaim", { leader: won.response.leader as Message, value: "two" });
  await Promise.all([early.count(2), late.count(2)]);
  // Observers get nothing for a candidate.
  const next = await stage.wait("Election.Campaign", { name: "watched", lease: 0x12, value: "three" });
  const joined = stage.next.observe("watched");
  await joined.count(1);
  await stage.call("Election.Resign", { leader: won.response.leader as Message });
  await next.answer;
  await Promise.all([early.count(3), late.count(3), joined.count(2)]);
  await stage.call("Lease.LeaseRevoke", { ID: 0x12 });
  await leases(stage, 0x13);
  await stage.call("Election.Campaign", { name: "watched", lease: 0x13, value: "four" });
  await Promise.all([early.count(4), late.count(4), joined.count(3)]);
  for (const observer of [early, late, joined]) observer.cancel();
  return [early.seen, late.seen, joined.seen];
});

test("without a lease the proxy grants one of 60 seconds", async () => {
  const stages = [new Stage([etcd.endpoint]), new Stage(store.proxies.map(({ endpoint }) => endpoint))];
  const play = async (stage: Stage) => {
    const { response } = await stage.call("Lock.Lock", { name: "leaseless" });
    const won = (await stage.call("Election.Campaign", { name: "leaseless-election", value: "v" })).response;
    const leader = won.leader as Message;
    const lease = Number.parseInt((response.key as string).slice("leaseless/".length), 16);
    assert.equal(leader.key, `leaseless-election/${BigInt(leader.lease as string).toString(16)}`);
    const id = BigInt(`0x${(response.key as string).slice("leaseless/".length)}`).toString();
    const ttl = (await stage.call("Lease.LeaseTimeToLive", { ID: id })).response;
    assert.ok(lease > 0 && Number(ttl.TTL) > 50, JSON.stringify(ttl));
    return [
      ttl.grantedTTL,
      (response.header as Message).revision,
      (won.header as Message).revision,
      leader.rev,
    ];
  };
  const [expected, actual] = await Promise.all(stages.map(play));
  assert.deepEqual(actual, expected);
  for (const stage of stages) stage.close();
});
