import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Proxy as Braid } from "../../src/app/proxy.js";
import { openStore, type Store } from "../../src/app/store/store.js";
import { createLog } from "../../src/ops/log.js";
import { createIdentity } from "../../src/services/identity.js";
import { createWatch, type WatchService } from "../../src/services/watch.js";
import type { Caller } from "../../src/shard/caller.js";
import type { Shard } from "../../src/shard/shard.js";
import { Code, StatusError } from "../../src/status/error.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { Watch } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { shardSet } from "../support/shardSet.js";
import { until } from "../support/until.js";
import { TestStream } from "./service.js";
import { bytes, configOf, EtcdClient, openProxy } from "./support.js";

/* Clients retry at once if their watch is refused because a shard is unavailable. So the refusal is delayed. */

const LIMITS = { historyBytes: 1 << 20, streamBufferBytes: 1 << 20, progressNotifyMs: 600_000 };
/** Least delay of a refusal; timers may be early. */
const HELD_MS = 990;

let shards: EtcdProcess[];

before(async () => {
  shards = await startEtcds(2);
});
after(() => Promise.all(shards.map((shard) => shard.remove())));

test("a client that requires a leader retries while the shard is down, and is served when it is back", async () => {
  const proxy: Braid = await openProxy(shards);
  const client = new EtcdClient(proxy.addresses[0]);
  const key = bytes("b/x");
  const wanting = { hasleader: "true" };
  const held: number[] = [];
  const refused = async () => {
    const stream = client.watch(wanting);
    await stream.create({ key });
    const since = performance.now();
    await assert.rejects(
      stream.until("end", () => false),
      { code: Code.UNAVAILABLE, details: "etcdserver: no leader" },
    );
    held.push(performance.now() - since);
  };
  const first = client.watch(wanting);
  await first.create({ key });
  await shards[1].kill();
  await assert.rejects(
    first.until("end", () => false),
    { code: Code.UNAVAILABLE },
  );
  // Other shards' watches continue, and the hub keeps running.
  const other = client.watch(wanting);
  await other.create({ key: bytes("a/x") });
  await refused();
  await refused();
  for (const ms of held) assert.ok(ms > HELD_MS, `refused after ${ms} ms`);

  const restarted = shards[1].restart();
  for (let served = false; !served; ) {
    const stream = client.watch(wanting);
    await stream.create({ key });
    const since = performance.now();
    await restarted;
    let revision = 0;
    await until("it can be written", async () => {
      revision = await client.set("b/x", "back").catch(() => 0);
      return revision > 0;
    });
    served = await stream.reaches(0, revision).then(
      () => true,
      () => false,
    );
    if (!served) assert.ok(performance.now() - since > HELD_MS, "it came back, or the refusal was delayed");
    stream.close();
  }
  await other.reaches(0, await client.set("a/x", "1"));
  client.close();
  await proxy.stop();
});

interface Setting {
  readonly store: Store;
  readonly service: WatchService;
  /** Number of calls to the second shard for a client. */
  asked: number;
  /** The error of calls to it for a client. */
  failure: StatusError | undefined;
}

/** The Watch service with a second shard whose calls for a client can fail at once. */
async function setUp(): Promise<Setting> {
  const log = createLog("silent");
  const store = await openStore(configOf(shards), log);
  const { timeline } = store;
  const setting: { asked: number; failure: StatusError | undefined } = { asked: 0, failure: undefined };
  const [first, second] = store.shards.all();
  const failing: Shard = Object.create(second, {
    call: {
      value: (path: string, request: Uint8Array, options: Parameters<Shard["call"]>[2]) => {
        if (options.caller === undefined) return second.call(path, request, options);
        setting.asked++;
        const { failure } = setting;
        return failure === undefined
          ? second.call(path, request, { ...options, caller: undefined })
          : Promise.reject(failure);
      },
    },
  });
  const identity = createIdentity({ clusterId: store.id, memberId: 7n, timeline });
  const deps = {
    timeline,
    shards: shardSet([first, failing]),
    identity,
    limits: LIMITS,
    log,
    runtime: systemRuntime,
  };
  return Object.assign(setting, { store, service: createWatch(deps) });
}

/** Opens a client's stream with one watch that the second shard must permit. */
function watch({ service }: Setting): TestStream {
  const stream = Object.assign(new TestStream(Watch.Watch, 1 << 20), { caller: {} as Caller });
  service.stream.get(Watch.Watch)!(stream);
  stream.create({ key: bytes("b/x") });
  return stream;
}

const LOST = new StatusError(Code.DATA_LOSS, 'shard "shard1": it lost data');

test("a watch whose permission cannot be checked is refused after a second, or served if it can by then", async () => {
  const setting = await setUp();
  setting.failure = LOST;
  const since = performance.now();
  const stays = watch(setting);
  await stays.until(() => stays.error !== undefined);
  assert.ok(performance.now() - since > HELD_MS);
  assert.deepEqual(stays.error, LOST);
  assert.equal(setting.asked, 2);

  const comes = watch(setting);
  await until("the shard has failed", () => setting.asked === 3);
  setting.failure = undefined;
  await comes.until(() => comes.frames.some(({ created }) => created));
  assert.equal(comes.error, undefined);
  comes.cancel();

  // A refusal for lack of permission is not delayed.
  setting.failure = new StatusError(Code.PERMISSION_DENIED, "etcdserver: permission denied");
  const denied = watch(setting);
  await denied.until(() => denied.frames.length > 0);
  assert.equal(setting.asked, 5);
  denied.cancel();
  setting.service.stop?.();
  setting.store.close();
});

test("a client that leaves while its refusal is delayed leaves nothing behind", async () => {
  const setting = await setUp();
  setting.failure = LOST;
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const before = timers();
  const streams = Array.from({ length: 100 }, () => watch(setting));
  // Unrelated timers may come and go in the meantime.
  await until("they are held", () => setting.asked === 100 && timers() >= before + 90);
  for (const stream of streams) stream.cancel();
  await turn();
  assert.ok(timers() < before + 10);
  assert.equal(setting.asked, 100, "no shard is called for a client that has gone");
  assert.equal(setting.service.hub.stats.streams, 0);
  setting.service.stop?.();
  setting.store.close();
});
