import assert from "node:assert/strict";
import { readCluster, writeMark } from "../../src/app/store/marks.js";
import { createLog } from "../../src/ops/log.js";
import { START } from "../../src/reshard/bound.js";
import type { Change, PlanShard } from "../../src/reshard/change.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { openShard } from "../../src/shard/client.js";
import type { EtcdProcess } from "../support/etcd.js";
import { at, configured, type File, opened } from "./configured.js";

const log = createLog("silent");

/** A file with these shards, named by one letter, in this order. Keys that begin with a shard's name are there. */
export function fileOf(
  names: string,
  etcds: Readonly<Record<string, EtcdProcess>>,
  timeline: NonNullable<File["timeline"]>,
): File {
  const sorted = [...names].sort();
  return {
    shards: [...names].map((name) => ({ name, endpoints: at(etcds[name]) })),
    timeline,
    routing: { rules: sorted.map((name) => ({ prefix: name, segments: 0, shard: name })) },
  };
}

/**
 * Plans the change from one file to another, and carries it out by the changes that a mover logs, unless `isMoved` is false. The
 * keys that move must not exist. Resolves to the position of the last change.
 */
export async function replan(from: File, to: File, isMoved = true): Promise<number> {
  const { config } = await configured(to);
  const { timeline, id, close } = await opened(from);
  const change = async (next: Change): Promise<number> => {
    const position = await timeline.proposeChange(next);
    assert.ok(position !== undefined, `the ${next.kind} is not valid`);
    return position;
  };
  try {
    const known = timeline.placement.shards.map(({ name }) => name);
    const added = config.shards.filter(({ name }) => !known.includes(name));
    const store = id.toString(16).padStart(16, "0");
    const hostName = from.timeline!.host!;
    const host = { name: hostName, clusterId: timeline.placement.shards[known.indexOf(hostName)].clusterId };
    const shards: PlanShard[] = [];
    for (const [n, { name, endpoints }] of added.entries()) {
      const index = known.length + n;
      const timeouts = { requestTimeoutMs: 10_000, connectTimeoutMs: 2_000 };
      const cluster = openShard({ index, name, endpoints, ...timeouts, log });
      await writeMark(cluster, await readCluster(cluster), store, host, false);
      const { clusterId, revision } = await readCluster(cluster);
      cluster.close();
      shards.push({ index, name, endpoints, clusterId, cut: revision });
    }
    const { plans } = timeline.placement;
    const map = (await fingerprint(config.map)).text;
    const planned = await change({ kind: "plan", after: plans, map, shards });
    if (!isMoved) return planned;
    const mover = await change({ kind: "claim" });
    const freeze = await change({ kind: "freeze", mover, plan: plans + 1, cursor: START, to: null });
    await change({ kind: "move", mover, freeze, sources: [], destinations: [], ended: [] });
    return await change({ kind: "done", plan: plans + 1 });
  } finally {
    close();
  }
}
