import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ControlPlane } from "../../examples/service-discovery/controlPlane.js";
import { DataPlane } from "../../examples/service-discovery/dataPlane.js";
import { DIRECTORIES, digest, EVERYTHING } from "../../examples/service-discovery/routes.js";
import { SHARD_FLAGS } from "../../src/dev/etcd.js";
import { at, configured, type File } from "../store/configured.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl, startEtcdctl } from "../support/etcdctl.js";
import type { Running } from "../support/running.js";
import type { ProxyProcess } from "../support/store.js";
import { until } from "../support/until.js";
import { Applying } from "./applySupport.js";
import { fill, serving } from "./planSupport.js";

/* What clients hold while all keys move: etcd's own locks and elections, and a gateway's data plane with its routes. */

const NAMES = Array.from({ length: 8 }, (_, i) => `/locks/l${i}`);

let etcds: readonly EtcdProcess[];
let proxies: ProxyProcess[] = [];
let inForce = "a";

before(async () => {
  etcds = await startEtcds(4, { flags: SHARD_FLAGS });
  proxies = [await serving(file("a")), await serving(file("a"))];
  await fill(
    proxies[0]!,
    Array.from({ length: 400 }, (_, i) => `/g${i % 80}/k${i}`),
  );
});

after(async () => {
  await Promise.all(proxies.map((proxy) => proxy.kill()));
  await Promise.all((etcds ?? []).map((etcd) => etcd.remove()));
});

/** Locks are groups of their own, so that they spread over the shards. */
const file = (names: string): File => ({
  shards: [...names].map((name) => ({ name, endpoints: at(etcds["abcd".indexOf(name)]!) })),
  routing: { default: { segments: 2 } },
  // A new shard cannot become the host in the same plan.
  timeline: { host: [...names].find((name) => inForce.includes(name))! },
});

async function applyAll(...maps: string[]): Promise<void> {
  for (const names of maps) {
    const { path } = await configured(file(inForce));
    const applying = await Applying.start(file(names), "--yes", "--current", path);
    assert.equal(await applying.done(), 0, applying.text);
    inForce = names;
  }
}

/** The shards that hold keys below a prefix. */
async function shardsOf(prefix: string): Promise<number[]> {
  const held = await Promise.all(
    etcds.map(({ endpoint }) => etcdctl(endpoint, "get", "--prefix", prefix, "--keys-only")),
  );
  return held.flatMap(({ stdout }, shard) => (stdout.trim() === "" ? [] : shard));
}

const endpoint = (i: number): string => proxies[i % 2]!.endpoint;

test("locks and elections are held while their keys move, and pass on afterwards", async () => {
  const lock = async (name: string, i: number): Promise<Running> => {
    const holder = startEtcdctl(endpoint(i), "lock", name, "--ttl", "5");
    await holder.says(new RegExp(`${name}/`));
    return holder;
  };
  const holders = await Promise.all(NAMES.map(lock));
  const leader = startEtcdctl(endpoint(0), "elect", "/election/e", "first");
  await leader.says(/first/);
  const waiters = NAMES.map((name, i) => startEtcdctl(endpoint(i + 1), "lock", name, "--ttl", "5"));
  const follower = startEtcdctl(endpoint(1), "elect", "/election/e", "second");
  const queued = async (name: string) =>
    (await etcdctl(endpoint(0), "get", "--prefix", `${name}/`, "--keys-only")).stdout
      .split("\n")
      .filter(Boolean).length;
  for (const name of [...NAMES, "/election/e"])
    await until(`${name} has a waiter`, async () => (await queued(name)) === 2);

  await applyAll("abcd", "bcd", "cd");
  const held = await Promise.all(NAMES.map(shardsOf));
  assert.ok(
    held.every((shards) => shards.length === 1 && shards[0]! >= 2),
    "all locks have moved",
  );
  for (const name of [...NAMES, "/election/e"])
    assert.equal(await queued(name), 2, `${name} is held and waited for`);
  for (const waiter of waiters) assert.equal(waiter.output, "", "no lock has two holders");
  assert.doesNotMatch(follower.output, /second/);

  for (const [i, holder] of holders.entries()) {
    assert.equal(await holder.stop(), 0, holder.output);
    await waiters[i]!.says(new RegExp(`${NAMES[i]}/`));
  }
  await leader.stop();
  await follower.says(/second/);
  await Promise.all([...waiters, follower].map((each) => each.stop()));
});

test("a data plane follows its routes through plans without loading them again", async () => {
  const hosts = proxies.map((proxy) => proxy.endpoint);
  const control = new ControlPlane({ hosts: hosts.map((host) => `http://${host}`) });
  const abort = new AbortController();
  let loads = 0;
  const planes = hosts.map((host) => new DataPlane([host], undefined, () => {}));
  for (const plane of planes) {
    const clear = plane.entries.clear.bind(plane.entries);
    plane.entries.clear = () => {
      loads++;
      clear();
    };
  }
  const running = planes.map((plane) => plane.run(abort.signal));
  await control.change(`${DIRECTORIES[0]}0`, () => "begin");
  for (const plane of planes) await until("it has loaded", () => plane.entries.size > 0);
  const before = loads;
  assert.equal(before, planes.length, "each has loaded once");
  let writes = 0;
  let isWriting = true;
  const writing = (async () => {
    for (; isWriting; writes++) {
      const key = `${DIRECTORIES[writes % DIRECTORIES.length]}${writes % 30}`;
      await control.change(key, (old) =>
        writes % 7 === 6 ? undefined : `${writes} after ${old?.length ?? 0}`,
      );
    }
  })();
  try {
    await applyAll("abcd", "bc", "acd");
  } finally {
    isWriting = false;
    await writing;
  }
  const { stdout } = await etcdctl(endpoint(0), "get", EVERYTHING, "--prefix", "-w", "json");
  const { kvs } = JSON.parse(stdout) as { kvs: { key: string; value?: string }[] };
  const plain = (text = "") => Buffer.from(text, "base64").toString();
  const stored = digest(kvs.map(({ key, value }) => [plain(key), plain(value)]));
  for (const plane of planes)
    await until("it has what is stored", () => digest([...plane.entries]) === stored);
  assert.ok(writes > 20);
  assert.equal(loads, before, "nothing was loaded again");
  abort.abort();
  await Promise.all(running);
  control.close();
});
