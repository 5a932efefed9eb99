import assert from "node:assert/strict";
import { connect } from "../../src/app/store/connect.js";
import type { PlanReport } from "../../src/cli/planReport.js";
import { createLog } from "../../src/ops/log.js";
import { START } from "../../src/reshard/bound.js";
import { createRouter } from "../../src/routing/create.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { encodeMark } from "../../src/timeline/mark.js";
import { configured, type File } from "../store/configured.js";
import { braid } from "../support/braid.js";
import type { CommandResult } from "../support/etcdctl.js";
import { ProxyProcess } from "../support/store.js";

/** Starts a proxy with this file. */
export async function serving(file: File): Promise<ProxyProcess> {
  const { path, port } = await configured(file);
  const proxy = new ProxyProcess(path, port);
  await proxy.start();
  return proxy;
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");

/** Puts keys through a proxy, many of one group together. The group of a key is its first segment. */
export async function fill(proxy: ProxyProcess, keys: readonly string[], value = "x"): Promise<void> {
  const groups = new Map<string, string[]>();
  for (const key of keys) {
    const group = key.split("/", 2).join("/");
    groups.set(group, [...(groups.get(group) ?? []), key]);
  }
  for (const members of groups.values()) {
    for (let at = 0; at < members.length; at += 100) {
      const success = members
        .slice(at, at + 100)
        .map((key) => ({ request_put: { key: base64(key), value: base64(value) } }));
      await post(proxy, "kv/txn", { success });
    }
  }
}

/** A call to the proxy's JSON gateway. */
export const post = (proxy: ProxyProcess, method: string, body: object): Promise<unknown> =>
  request(proxy.endpoint, method, body);

/** What the tests read of answers. */
interface Answer {
  readonly header: { readonly cluster_id: string; readonly revision: string };
}

async function request(endpoint: string, method: string, body: object): Promise<Answer> {
  const answer = await fetch(`http://${endpoint}/v3/${method}`, {
    method: "POST",
    body: JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method}: ${answer.status} ${await answer.clone().text()}`);
  return (await answer.json()) as Answer;
}

/** Runs `braid plan` with this file. */
export async function plan(file: File, ...args: string[]): Promise<CommandResult> {
  const { path } = await configured(file);
  return braid("plan", "--config", path, ...args);
}

/** Runs `braid plan --json`. Fails if the exit code is another. */
export async function planned(code: number, file: File, ...args: string[]): Promise<PlanReport> {
  const result = await plan(file, "--json", ...args);
  assert.equal(result.code, code, result.stdout + result.stderr);
  return JSON.parse(result.stdout);
}

/** Where each file's router places the keys: `a b 12 3` for 12 keys in 3 groups that move from a to b, sorted. */
export async function expectedMoves(from: File, to: File, keys: readonly string[]): Promise<string[]> {
  const [before, after] = await Promise.all(
    [from, to].map(async (file) => {
      const { map } = (await configured(file)).config;
      const router = await createRouter(map);
      return (key: string) => {
        const { shard, group } = router.explain(Buffer.from(key));
        return { shard: map.shards[shard].name, group: Buffer.from(group).toString() };
      };
    }),
  );
  const moves = new Map<string, { keys: number; groups: Set<string> }>();
  for (const key of keys) {
    const [source, { shard, group }] = [before(key).shard, after(key)];
    if (source === shard) continue;
    const move = moves.get(`${source} ${shard}`) ?? { keys: 0, groups: new Set() };
    moves.set(`${source} ${shard}`, move);
    move.keys++;
    move.groups.add(group);
  }
  return [...moves].map(([id, { keys, groups }]) => `${id} ${keys} ${groups.size}`).sort();
}

export const movesOf = ({ keys }: PlanReport): string[] =>
  (keys?.moves ?? []).map(({ from, to, keys, groups }) => `${from} ${to} ${keys} ${groups}`).sort();

/**
 * Gives a store without keys the map of another file, by the changes that a mover writes. Only shards of `to` that `from`
 * does not have are recorded with their addresses, and marked.
 */
export async function addWithoutMoving(from: File, to: File): Promise<void> {
  const { config } = await configured(from);
  const target = (await configured(to)).config;
  const { timeline, disconnect } = await connect(config, createLog("silent"));
  try {
    await timeline.open();
    const added = target.shards.slice(config.shards.length);
    const shards = await Promise.all(
      added.map(async ({ name, endpoints }, i) => {
        const { header } = await request(endpoints[0], "kv/range", { key: base64("x") });
        const { cluster_id: clusterId, revision } = header;
        return { index: config.shards.length + i, name, endpoints, clusterId, cut: Number(revision) };
      }),
    );
    const map = (await fingerprint(target.map)).text;
    const after = timeline.placement.plans;
    const plan = after + 1;
    await timeline.proposeChange({ kind: "plan", after, map, shards });
    const mover = (await timeline.proposeChange({ kind: "claim" }))!;
    const freeze = (await timeline.proposeChange({
      kind: "freeze",
      mover,
      plan,
      cursor: START,
      to: null,
    }))!;
    await timeline.proposeChange({ kind: "move", mover, freeze, sources: [], destinations: [], ended: [] });
    assert.ok(await timeline.proposeChange({ kind: "done", plan }));
    const store = timeline.log.base.store!;
    const host = { name: config.shards[0].name, clusterId: timeline.log.base.clusterIds[0] };
    for (const { name, index, endpoints } of shards) {
      const { key, value } = encodeMark({ store, name, index, host });
      await request(endpoints[0], "kv/put", { key: key.toString("base64"), value: value.toString("base64") });
    }
  } finally {
    disconnect();
  }
}
