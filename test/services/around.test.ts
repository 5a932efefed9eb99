import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { combine } from "../../src/rpc/service.js";
import { createAuth } from "../../src/services/auth.js";
import { createCluster, memberIdOf } from "../../src/services/cluster.js";
import { createIdentity } from "../../src/services/identity.js";
import { lowest } from "../../src/services/maintenance/versions.js";
import { createMaintenance } from "../../src/services/maintenance.js";
import { openShard, type ShardClient } from "../../src/shard/client.js";
import { Code, StatusError } from "../../src/status/error.js";
import type { Timeline } from "../../src/timeline/view.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import type { GrpcServer } from "../../src/transport/server.js";
import { MemberListResponse, StatusResponse } from "../../src/wire/messages.js";
import { Auth, Cluster, KV, Maintenance } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { said } from "../support/said.js";
import { shardSet } from "../support/shardSet.js";

const EMPTY = new Uint8Array(0);
const OTHER_PROXY = "http://10.0.0.2:2379";
const log = { debug() {}, info() {}, warn() {} };
const READ = { idempotent: true };

const open = (name: string, endpoint: string, index = 0): ShardClient =>
  openShard({ index, name, endpoints: [endpoint], requestTimeoutMs: 20_000, connectTimeoutMs: 1_000, log });

/** The services beside KV, Watch and Lease, on a timeline at revision 42. */
describe("Status, MemberList and unsupported methods", () => {
  let etcds: EtcdProcess[];
  let shards: ShardClient[];
  let server: GrpcServer;
  /** The proxy, as a client of it. */
  let proxy: ShardClient;
  let syncFails: StatusError | undefined;
  const timeline = {
    head: 41,
    raftTerm: 7,
    compactRevision: 0,
    locator: {} as Timeline["locator"],
    cutAt: () => 1,
    lastAt: () => 1,
    toRevision: () => 1,
    toShardRevision: () => 1,
    isSealed: () => true,
    seal: async () => {},
    async sync() {
      if (syncFails) throw syncFails;
      this.head = 42;
    },
    async refresh() {
      this.head = 42;
    },
    async beginWrite() {
      this.head = 42;
    },
  };

  before(async () => {
    etcds = await startEtcds(2);
    shards = etcds.map((etcd, i) => open(`s${i}`, etcd.endpoint, i));
    const clientUrls: string[] = [OTHER_PROXY];
    const identity = createIdentity({ clusterId: 5n, memberId: memberIdOf(OTHER_PROXY), timeline });
    const handlers = combine([
      createMaintenance({
        shards: shardSet(shards),
        backends: () => [],
        timeline,
        identity,
        range: () => assert.fail("nobody asks for a hash"),
        host: shards[0]!,
        log,
      }),
      createCluster({ identity, shards: shardSet(shards), members: [clientUrls] }),
      createAuth({
        shards: shardSet(shards),
        currentHost: () => shards[0]!,
        timeline,
        identity,
        genKey: undefined,
        access: undefined,
      }),
    ]);
    server = await serveHttp2(handlers, { listen: ["127.0.0.1:0"], maxReceiveBytes: 2_000_000 });
    proxy = open("proxy", server.addresses[0]!);
  });
  after(async () => {
    for (const shard of [...shards, proxy]) shard.close();
    await server.shutdown(0);
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  });

  const status = async () => StatusResponse.decode(await proxy.call(Maintenance.Status, EMPTY, READ));
  const refusal = (path: string, request = EMPTY): Promise<StatusError> =>
    proxy.call(path, request, READ).then(
      () => assert.fail(`${path} succeeded`),
      (error: StatusError) => said(error),
    );

  test("status: the store as one member that leads, at the newest revision", async () => {
    const direct = await Promise.all(
      shards.map(async (shard) => StatusResponse.decode(await shard.call(Maintenance.Status, EMPTY, READ))),
    );
    const whole = await status();
    assert.deepEqual(whole.header, {
      clusterId: 5n,
      memberId: memberIdOf(OTHER_PROXY),
      revision: 42,
      raftTerm: 7,
    });
    assert.equal(whole.leader, memberIdOf(OTHER_PROXY));
    assert.equal(whole.version, direct[0]!.version);
    assert.equal(whole.dbSize, direct[0]!.dbSize + direct[1]!.dbSize);
    assert.equal(whole.raftTerm, 7);
    assert.equal(whole.raftIndex, whole.raftAppliedIndex);
    assert.ok(whole.raftIndex > 0);
    assert.deepEqual(whole.errors, []);
    assert.equal(whole.isLearner, false);
    // Fields of etcd 3.6 and later, none with older ones.
    const { storageVersion, dbSizeQuota, downgradeInfo } = direct[0]!;
    assert.equal(downgradeInfo !== undefined, lowest("3.6.0", whole.version) === "3.6.0");
    assert.deepEqual(
      [whole.storageVersion, whole.dbSizeQuota, whole.downgradeInfo],
      [storageVersion, 2 * dbSizeQuota, downgradeInfo],
    );
  });

  test("status: raft indices grow with writes", async () => {
    const first = await status();
    const put = Buffer.from("\x0a\x01k\x12\x01v");
    await shards[1]!.call(KV.Put, put, { idempotent: false });
    assert.ok((await status()).raftIndex > first.raftIndex);
  });

  test("etcdctl: endpoint status, member list, alarm list", async () => {
    const address = server.addresses[0]!;
    const table = await etcdctl(address, "endpoint", "status", "-w", "table");
    assert.equal(table.code, 0, table.stderr);
    const row = table.stdout.split("\n").find((line) => line.includes(address))!;
    const cells = row.split("|").map((cell) => cell.trim());
    assert.equal(cells[2], memberIdOf(OTHER_PROXY).toString(16));
    assert.match(cells[3]!, /^3\.\d+\.\d+/);
    assert.match(cells[4]!, /^\d+ [kM]B$/);
    assert.equal(cells[5], "true");

    const members = await etcdctl(address, "member", "list");
    assert.equal(
      members.stdout.trim(),
      `${memberIdOf(OTHER_PROXY).toString(16)}, started, 10.0.0.2:2379, , ${OTHER_PROXY}, false`,
    );
    const list = await etcdctl(address, "alarm", "list");
    assert.deepEqual([list.code, list.stdout], [0, ""], list.stderr);
  });

  test("the status has the alarms by shard", async () => {
    // AlarmRequest{action: ACTIVATE, alarm: CORRUPT} and back.
    const activate = Buffer.from([0x08, 1, 0x18, 2]);
    await shards[0]!.call(Maintenance.Alarm, activate, { idempotent: false });
    await shards[1]!.call(Maintenance.Alarm, activate, { idempotent: false });
    const { errors } = await status();
    assert.equal(errors.length, 2);
    assert.match(errors[0]!, /^shard "s0": .*CORRUPT/);
    assert.match(errors[1]!, /^shard "s1": .*CORRUPT/);
    const deactivate = Buffer.from([0x08, 2, 0x18, 2]);
    for (const shard of shards) await shard.call(Maintenance.Alarm, deactivate, { idempotent: false });
    assert.deepEqual((await status()).errors, []);
  });

  test("member list: a stable member for each proxy, without a revision", async () => {
    const list = MemberListResponse.decode(await proxy.call(Cluster.MemberList, EMPTY, READ));
    assert.equal(list.header?.revision, 0);
    assert.deepEqual(
      list.members.map(({ id, clientUrls, peerUrls }) => [id, clientUrls, peerUrls]),
      [[memberIdOf(OTHER_PROXY), [OTHER_PROXY], []]],
    );
    // Pinned, because members keep their ids in all versions.
    assert.equal(memberIdOf("http://127.0.0.1:2379").toString(16), "fd7470c0c372512b");
  });

  test("unsupported methods are refused with an alternative", async () => {
    const table: [path: string, text: RegExp][] = [
      [Maintenance.Snapshot, /^etcd-braid: .*`braid snapshot save/],
    ];
    for (const [path, text] of table) {
      const error = await refusal(path);
      assert.equal(error.code, Code.UNIMPLEMENTED, path);
      assert.match(error.message, text);
    }
  });

  test("without authentication, clients with a user name work as with etcd", async () => {
    const error = await refusal(Auth.Authenticate);
    assert.equal(error.code, Code.FAILED_PRECONDITION);
    assert.equal(error.message, "etcdserver: authentication is not enabled");
    const answer = StatusResponse.decode(await proxy.call(Auth.AuthStatus, EMPTY, READ));
    assert.equal(answer.header?.clusterId, 5n);
    assert.match((await refusal(Auth.AuthEnable)).message, /^etcd-braid: the proxies would be locked out/);
    const { code, stderr } = await etcdctl(server.addresses[0]!, "--user", "root:x", "member", "list");
    assert.equal(code, 0, stderr);
  });

  test("status with a shard and the timeline unreachable: figures stay, errors name them", async () => {
    const before = await status();
    await etcds[1]!.kill();
    syncFails = new StatusError(Code.UNAVAILABLE, 'shard "s1": no endpoint reachable');
    const during = await status();
    assert.equal(during.version, before.version);
    assert.equal(during.dbSize, before.dbSize);
    assert.ok(during.raftIndex >= before.raftIndex);
    assert.equal(during.header?.revision, 42);
    const down = 'shard "s1": no endpoint reachable';
    assert.deepEqual(during.errors, [down, `timeline: ${down}`]);
    const list = await refusal(Maintenance.Alarm);
    assert.match(list.message, /shard "s1": no endpoint reachable/);
    syncFails = undefined;
    await etcds[1]!.restart();
  });
});
