import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ShardClient, ShardOptions } from "../../src/shard/client.js";
import { AbandonedError } from "../../src/shard/errors.js";
import type { StatusError } from "../../src/status/error.js";
import { KV, Watch } from "../../src/wire/paths.js";
import { type EtcdCluster, type EtcdProcess, startCluster } from "../support/etcd.js";
import { until } from "../support/until.js";
import { failureOf, get, put, putRequest, recordingLog, shardOf, watchRequest } from "./support.js";

describe("a cluster of three", () => {
  let cluster: EtcdCluster;
  /** Members that the test stops. */
  let followers: EtcdProcess[];
  before(async () => {
    cluster = await startCluster(3);
    const leader = await cluster.leader();
    followers = cluster.members.filter((member) => member !== leader);
  });
  after(() => cluster.remove());

  const connected = async (options: Partial<ShardOptions> = {}) => {
    const shard = shardOf(
      followers.map((member) => member.endpoint),
      options,
    );
    await put(shard, "k", "v");
    await until(() => shard.endpoints().every(({ state }) => state === "ready"));
    return shard;
  };
  const used = (shard: ShardClient) => {
    const url = shard.endpoints().find(({ inUse }) => inUse)?.url;
    return followers.find((member) => member.endpoint === url)!;
  };
  const stateOf = (shard: ShardClient, member: EtcdProcess) =>
    shard.endpoints().find(({ url }) => url === member.endpoint)?.state;

  test("the endpoint in use is killed: another one answers the next calls, and it comes back", async () => {
    const log = recordingLog();
    const shard = await connected({ log });
    const victim = used(shard);
    await victim.kill();
    // A read on the old connection is sent again elsewhere. The write after it finds that connection gone.
    assert.equal((await get(shard, "k"))?.value, "v");
    await put(shard, "k", "after");
    assert.equal((await get(shard, "k"))?.value, "after");
    assert.notEqual(used(shard), victim);
    await until(() => stateOf(shard, victim) === "failed");
    await victim.restart();
    await until(() => stateOf(shard, victim) === "ready");
    assert.notEqual(used(shard), victim, "the choice is sticky");
    const told = log.lines.filter(
      ({ fields }) => "endpoint" in fields && fields.endpoint === victim.endpoint,
    );
    // While it is down there is one line for each reason: its connection was lost, and perhaps a new one refused.
    const failures = told.slice(1, -1).map(({ fields }) => "error" in fields && fields.error);
    assert.ok(failures.length > 0);
    assert.equal(new Set(failures).size, failures.length, failures.join());
    assert.deepEqual(
      told.map(({ level, message }) => `${level}: ${message}`),
      [
        "info: endpoint connected",
        ...failures.map(() => "warn: endpoint failed"),
        "info: endpoint connected",
      ],
    );
    shard.close();
  });

  test("the endpoint in use is frozen: reads in flight and later writes go elsewhere until it answers again", async () => {
    const shard = await connected({ requestTimeoutMs: 6_000 });
    const victim = used(shard);
    const lost = new Promise<StatusError>((resolve) => {
      const stream = shard.stream(Watch.Watch, { message: () => {}, closed: resolve });
      stream.send(watchRequest("k"));
    });
    await get(shard, "k"); // by now the stream has also begun
    await victim.kill("SIGSTOP");
    // A write in flight stays in doubt. It ends with the connection or at the deadline.
    const doubtful = failureOf(put(shard, "doubtful", "1"));
    const given = shard.call(KV.Put, putRequest("given up", "1"), { idempotent: false, abandonSilent: true });
    const abandoned = failureOf(given);
    const started = Date.now();
    assert.equal((await get(shard, "k"))?.value, "v");
    assert.ok(Date.now() - started < 4_500, "answered long before the request's own timeout");
    await put(shard, "k", "meanwhile");
    assert.equal(stateOf(shard, victim), "silent");
    assert.match((await lost).message, /^shard "a": no answer$/, "a stream ends, to be opened elsewhere");
    assert.ok((await abandoned) instanceof AbandonedError);
    assert.ok(Date.now() - started < 4_500);
    assert.match((await doubtful).message, /whether the request took effect is unknown$/);
    await victim.kill("SIGCONT");
    await until(() => stateOf(shard, victim) === "ready");
    assert.ok(((await get(shard, "doubtful"))?.version ?? 0) <= 1);
    shard.close();
  });
});
