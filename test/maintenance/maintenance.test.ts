import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openShard, type ShardClient } from "../../src/shard/client.js";
import { Code, StatusError } from "../../src/status/error.js";
import {
  AlarmAction,
  AlarmRequest,
  DowngradeRequest,
  DowngradeResponse,
  HashResponse,
  MemberAddRequest,
} from "../../src/wire/messages.js";
import { Cluster, Maintenance } from "../../src/wire/paths.js";
import { temporaryFolder } from "../support/braid.js";
import { type EtcdCluster, type EtcdProcess, startCluster, startEtcd } from "../support/etcd.js";
import { type CommandResult, etcdctl } from "../support/etcdctl.js";
import { type ProxyProcess, startProxyProcess } from "../support/store.js";
import { until } from "../support/until.js";

// Two proxies over a shard of one member and a shard of three, with a dedicated timeline host.
let single: EtcdProcess;
let host: EtcdProcess;
let cluster: EtcdCluster;
let proxies: ProxyProcess[] = [];
let proxy: ShardClient;

const NOSPACE = 1;
const EMPTY = new Uint8Array(0);
const ON_SINGLE = "/single/key";
const ON_CLUSTER = "/cluster/key";

before(async () => {
  [single, host, cluster] = await Promise.all([startEtcd(), startEtcd(), startCluster(3)]);
  const config = {
    shards: [
      { name: "single", endpoints: [single.endpoint] },
      { name: "cluster", endpoints: cluster.endpoints },
    ],
    timeline: { endpoints: [host.endpoint] },
    routing: {
      rules: [
        { prefix: "/single/", shard: "single" },
        { prefix: "/cluster/", shard: "cluster" },
      ],
    },
  };
  proxies = [await startProxyProcess([], config), await startProxyProcess([], config)];
  proxy = connection("proxy", proxies[0]!.endpoint);
});

after(async () => {
  proxy?.close();
  await Promise.all(proxies.map((each) => each.kill()));
  await Promise.all([single?.remove(), host?.remove(), cluster?.remove()]);
});

function connection(name: string, endpoint: string): ShardClient {
  const log = { debug() {}, info() {}, warn() {} };
  const limits = { requestTimeoutMs: 20_000, connectTimeoutMs: 2_000 };
  return openShard({ index: 0, name, endpoints: [endpoint], ...limits, log });
}

const ctl = (...args: string[]): Promise<CommandResult> => etcdctl(proxies[0]!.endpoint, ...args);

/** Runs a command on the first proxy. It must succeed. Resolves to its output. */
async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await ctl(...args);
  assert.equal(code, 0, `etcdctl ${args.join(" ")}: ${stderr}`);
  return stdout;
}

async function refusal(...args: string[]): Promise<string> {
  const { code, stderr } = await ctl(...args);
  assert.notEqual(code, 0, args.join(" "));
  return stderr;
}

/** `endpoint hashkv` of a proxy. */
async function hashKv(endpoint: string, revision = 0): Promise<{ hash: number; compact_revision: number }> {
  const args = ["endpoint", "hashkv", "--rev", String(revision), "-w", "json"];
  const { code, stdout, stderr } = await etcdctl(endpoint, ...args);
  assert.equal(code, 0, stderr);
  const { hash, compact_revision } = JSON.parse(stdout)[0].HashKV;
  return { hash, compact_revision };
}

async function head(): Promise<number> {
  return JSON.parse(await run("get", "x", "-w", "json")).header.revision;
}

interface Line {
  readonly time: string;
  readonly msg: string;
  readonly endpoint?: string;
}

/** The log of a proxy since `before`. */
function logged(each: ProxyProcess, before: string): Line[] {
  const lines = each.logs().slice(before.length).split("\n");
  return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

async function sizes(): Promise<number[]> {
  const all = [single, host, ...cluster.members].map((etcd) => etcd.endpoint).join(",");
  const { stdout } = await etcdctl(all, "endpoint", "status", "-w", "json");
  return JSON.parse(stdout).map(({ Status }: { Status: { dbSize: number } }) => Status.dbSize);
}

test("hashkv: the same through every proxy, changed by a write, repeatable in the past", async () => {
  await run("put", ON_SINGLE, "1");
  await run("put", ON_CLUSTER, "1");
  const revision = await head();
  const first = await hashKv(proxies[0]!.endpoint);
  assert.equal(first.compact_revision, -1);
  assert.deepEqual(await hashKv(proxies[1]!.endpoint), first);
  assert.deepEqual(await hashKv(proxies[1]!.endpoint, revision), first);
  await run("put", ON_CLUSTER, "2");
  const second = await hashKv(proxies[1]!.endpoint);
  assert.notEqual(second.hash, first.hash);
  assert.deepEqual(await hashKv(proxies[0]!.endpoint, revision), first);
  assert.match(
    await refusal("endpoint", "hashkv", "--rev", "1000000"),
    /OutOfRange desc = etcdserver: mvcc: required revision is a future revision/,
  );
});

test("hashkv: at and after a compaction, without later writes on the shards", async () => {
  const compacted = await head();
  await run("compaction", String(compacted));
  const hashes = await Promise.all(proxies.map(({ endpoint }) => hashKv(endpoint)));
  assert.deepEqual(hashes[1], hashes[0]);
  assert.equal(hashes[0]!.compact_revision, compacted);
  await run("put", ON_SINGLE, "2");
  assert.notEqual((await hashKv(proxies[1]!.endpoint)).hash, hashes[0]!.hash);
  assert.match(
    await refusal("endpoint", "hashkv", "--rev", String(compacted - 1)),
    /OutOfRange desc = etcdserver: mvcc: required revision has been compacted/,
  );
});

test("hash: one for the whole store", async () => {
  const answer = HashResponse.decode(await proxy.call(Maintenance.Hash, EMPTY, { idempotent: true }));
  assert.equal(answer.header?.revision, await head());
  assert.ok(answer.hash > 0);
});

test("defrag: every member of every backend, one at a time, leaders last; space is released", async () => {
  const value = "x".repeat(100_000);
  for (let i = 0; i < 20; i++) {
    await run("put", `${ON_SINGLE}/${i}`, value);
    await run("put", `${ON_CLUSTER}/${i}`, value);
  }
  await run("del", "--prefix", ON_SINGLE);
  await run("del", "--prefix", ON_CLUSTER);
  await run("compaction", "--physical", String(await head()));
  const before = await sizes();
  const logsBefore = proxies.map((each) => each.logs());
  const patiently = ["--command-timeout", "60s", "defrag"];
  const results = await Promise.all([0, 0, 1].map((i) => etcdctl(proxies[i]!.endpoint, ...patiently)));
  for (const { code, stderr, stdout } of results) {
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^Finished defragmenting etcd member\[/);
  }
  const after = await sizes();
  // 2 MB of the shards were deleted, and nothing of the timeline host.
  for (const member of [0, 2, 3, 4]) assert.ok(after[member]! < before[member]! / 2, `${before} ${after}`);

  const steps = proxies
    .flatMap((each, i) => logged(each, logsBefore[i]!))
    .filter(({ msg }) => msg.startsWith("defragment"))
    .toSorted((a, b) => (a.time < b.time ? -1 : 1));
  assert.equal(steps.length, 3 * 2 * 5);
  steps.forEach(({ msg, endpoint }, i) => {
    assert.equal(msg, i % 2 === 0 ? "defragmenting" : "defragmented");
    if (i % 2 === 1)
      assert.equal(endpoint, steps[i - 1]!.endpoint, "each member is done before the next begins");
  });
  const order = steps.filter((_, i) => i % 2 === 0).map(({ endpoint }) => endpoint);
  assert.equal(order[3], (await cluster.leader()).endpoint, "the shard's leader is its last member");
  assert.deepEqual([order[0], order[4]], [single.endpoint, host.endpoint]);
  assert.deepEqual(order, [...order.slice(0, 5), ...order.slice(0, 5), ...order.slice(0, 5)]);
});

test("defrag: a member that is down is named, the others are defragmented", async () => {
  const followers = cluster.members.filter((member) => member.isRunning);
  const leader = await cluster.leader();
  const down = followers.find((member) => member !== leader)!;
  await down.kill();
  const logsBefore = proxies[0]!.logs();
  const text = await refusal("--command-timeout", "30s", "defrag");
  assert.match(text, /shard "cluster": no endpoint reachable/);
  const lines = logged(proxies[0]!, logsBefore);
  assert.equal(lines.filter(({ msg }) => msg === "defragmented").length, 4);
  const failed = lines.filter(({ msg }) => msg === "not defragmented");
  assert.deepEqual(
    failed.map(({ endpoint }) => endpoint),
    [down.endpoint],
  );
  await down.restart();
});

test("timeline host without space: listed among alarms, defragmented although it refuses leases, disarmed", async () => {
  const direct = connection("host", host.endpoint);
  const alarm = { memberId: 1n, alarm: NOSPACE };
  const raise = AlarmRequest.encode({ action: AlarmAction.ACTIVATE, ...alarm });
  await direct.call(Maintenance.Alarm, raise, { idempotent: true });
  direct.close();
  const text = /timeline host takes no more entries until it has space again: .*database space exceeded/;
  assert.match(await refusal("put", ON_SINGLE, "v"), text);
  const next =
    /ResourceExhausted desc = etcdserver: mvcc: database space exceeded \(timeline host; nothing was/;
  assert.match(await refusal("put", ON_CLUSTER, "v"), next);
  assert.equal(await run("alarm", "list"), "memberID:1 alarm:NOSPACE \n");
  assert.match(proxies[0]!.logs(), /"cluster":"timeline host","alarms":"NOSPACE of member 1"/);
  const health = await fetch(`http://${proxies[0]!.endpoint}/health`);
  assert.equal(health.status, 503);
  assert.match(await health.text(), /ALARM NOSPACE on the timeline host/);
  await run("defrag", "--command-timeout", "30s");
  await run("alarm", "disarm");
  await until("writes are taken again", async () => (await ctl("put", ON_SINGLE, "v")).code === 0);
});

test("endpoint status while a shard hangs: in time for etcdctl, with the last known figures and an error", async () => {
  const [{ Status: before }] = JSON.parse(await run("endpoint", "status", "-w", "json"));
  await single.kill("SIGSTOP");
  const [{ Status: during }] = JSON.parse(await run("endpoint", "status", "-w", "json"));
  await single.kill("SIGCONT");
  assert.equal(during.version, before.version);
  assert.ok(during.dbSize >= before.dbSize / 2);
  assert.deepEqual(during.errors, ['shard "single": no answer within 3000 ms']);
});

test("alarms: one list for all shards, by shard in status and log, disarmed with etcdctl", async () => {
  const members = await etcdctl(single.endpoint, "member", "list", "-w", "json");
  const memberId = BigInt(/"member_id":(\d+)/.exec(members.stdout)![1]!);
  const direct = connection("single", single.endpoint);
  const raise = AlarmRequest.encode({ action: AlarmAction.ACTIVATE, memberId, alarm: NOSPACE });
  await direct.call(Maintenance.Alarm, raise, { idempotent: true });
  direct.close();

  assert.equal(await run("alarm", "list"), `memberID:${memberId} alarm:NOSPACE \n`);
  const [{ Status: status }] = JSON.parse(await run("endpoint", "status", "-w", "json"));
  assert.equal(status.errors.length, 1);
  assert.match(status.errors[0], /^shard "single": memberID:\d+ +alarm:NOSPACE/);
  assert.match(proxies[0]!.logs(), /"shard":"single","alarms":"NOSPACE of member [0-9a-f]+"/);
  assert.match(await refusal("put", ON_SINGLE, "v"), /etcdserver: mvcc: database space exceeded/);
  await run("put", ON_CLUSTER, "v");

  assert.equal(await run("alarm", "disarm"), `memberID:${memberId} alarm:NOSPACE \n`);
  assert.equal(await run("alarm", "list"), "");
  await run("put", ON_SINGLE, "v");
});

test("an alarm raised through a proxy is one alarm of the whole store", async () => {
  const alarm = { memberId: 7n, alarm: NOSPACE };
  const raise = AlarmRequest.encode({ action: AlarmAction.ACTIVATE, ...alarm });
  await proxy.call(Maintenance.Alarm, raise, { idempotent: true });
  for (const key of [ON_SINGLE, ON_CLUSTER]) {
    assert.match(await refusal("put", key, "v"), /database space exceeded/);
  }
  assert.equal(await run("alarm", "list"), "memberID:7 alarm:NOSPACE \n");
  await run("alarm", "disarm");
  assert.equal(await run("alarm", "list"), "");
  for (const key of [ON_SINGLE, ON_CLUSTER]) await run("put", key, "v");
  for (const kind of [0, 3, -1]) {
    await assert.rejects(
      proxy.call(Maintenance.Alarm, AlarmRequest.encode({ action: AlarmAction.ACTIVATE, alarm: kind }), {
        idempotent: true,
      }),
      new StatusError(Code.INVALID_ARGUMENT, `etcd-braid: there is no alarm ${kind} to raise`),
    );
  }
  const unknown = AlarmRequest.encode({ action: 3 });
  await assert.rejects(
    proxy.call(Maintenance.Alarm, unknown, { idempotent: true }),
    new StatusError(Code.INVALID_ARGUMENT, "etcd-braid: there is no alarm action 3"),
  );
});

test("move-leader: to a member of a shard; to the proxy itself without effect; others are bad transferees", async () => {
  const before = await cluster.leader();
  const { members } = JSON.parse((await etcdctl(before.endpoint, "member", "list", "-w", "json")).stdout);
  const other = cluster.members.find((member) => member !== before)!;
  const list = await etcdctl(before.endpoint, "member", "list");
  const target = list.stdout
    .split("\n")
    .find((line) => line.includes(other.url))!
    .split(",")[0]!;
  assert.equal(members.length, 3);
  assert.match(await run("move-leader", target), /Leadership transferred from/);
  assert.equal((await cluster.leader()).endpoint, other.endpoint);
  const own = (await run("member", "list")).split(",")[0]!;
  await run("move-leader", own);
  assert.match(
    await refusal("move-leader", "1234"),
    /FailedPrecondition desc = etcdserver: bad leader transferee/,
  );
});

test("downgrade: reports what all backends report", async () => {
  const [{ Status: status }] = JSON.parse(await run("endpoint", "status", "-w", "json"));
  const minor = Number(status.version.split(".")[1]);
  const validate = DowngradeRequest.encode({ version: `3.${minor - 1}.0` });
  const answer = proxy.call(Maintenance.Downgrade, validate, { idempotent: true });
  if (minor === 4) {
    await assert.rejects(answer, (error: StatusError) => {
      assert.equal(error.code, Code.UNIMPLEMENTED);
      assert.match(error.message, /^unknown method Downgrade/);
      return true;
    });
    return;
  }
  const { header, version } = DowngradeResponse.decode(await answer);
  assert.equal(header?.revision, await head());
  assert.match(version, new RegExp(`^3\\.${minor}(\\.|$)`));
});

test("member changes are refused with a pointer to the configuration; etcd's own errors come first", async () => {
  const own = (await run("member", "list")).split(",")[0]!;
  const url = "--peer-urls=http://127.0.0.1:1234";
  const table: [args: string[], text: RegExp][] = [
    [["member", "add", "x", url], /FailedPrecondition desc = etcd-braid: .*advertise.*shards\.yaml/],
    [["member", "add", "x", url, "--learner"], /FailedPrecondition desc = etcd-braid: .*advertise/],
    [["member", "remove", own], /FailedPrecondition desc = etcd-braid: .*advertise/],
    [["member", "remove", "1234"], /NotFound desc = etcdserver: member not found/],
    [["member", "update", own, url], /FailedPrecondition desc = etcd-braid: .*advertise/],
    [["member", "update", "1234", url], /NotFound desc = etcdserver: member not found/],
    [["member", "promote", own], /etcdserver: can only promote a learner member/],
    [["member", "promote", "1234"], /NotFound desc = etcdserver: member not found/],
  ];
  for (const [args, text] of table) assert.match(await refusal(...args), text, args.join(" "));
  // etcdctl does not send this.
  for (const peerUrls of [[], ["nonsense"], ["http://127.0.0.1"], ["http://127.0.0.1:1/path"]]) {
    await assert.rejects(
      proxy.call(Cluster.MemberAdd, MemberAddRequest.encode({ peerUrls }), { idempotent: true }),
      new StatusError(Code.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid"),
    );
  }
});

test("snapshot save is refused with an alternative", async () => {
  const text = await refusal("snapshot", "save", join(temporaryFolder(), "snapshot"));
  assert.match(text, /Unimplemented desc = etcd-braid: .*`braid snapshot save/);
});
