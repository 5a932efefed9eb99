import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { PlacementState } from "../reshard/placement.js";
import { parseMap } from "../routing/fingerprint.js";
import type { Shard } from "../shard/shard.js";
import type { SharedTimeline } from "../timeline/timeline.js";
import { StatusResponse } from "../wire/messages.js";
import { KV, Maintenance } from "../wire/paths.js";
import { PROBE } from "../wire/probe.js";
import { EMPTY } from "../wire/reader.js";
import { peekHeader } from "../wire/rewrite.js";
import { BoltReader } from "./bolt/reader.js";
import { download } from "./download.js";
import { refuseExisting, syncFolder } from "./folder.js";
import {
  MANIFEST,
  type Manifest,
  type SavedCluster,
  type SavedFile,
  SnapshotError,
  TIMELINE,
} from "./manifest.js";
import { compactedRevision, currentRevision } from "./mvcc.js";
import { encodeTimeline } from "./savedTimeline.js";

/** Number of attempts: one fails if a compaction overtakes it, or if a member is behind. */
const ROUNDS = 3;
const READ = { idempotent: true } as const;

export interface SaveInput {
  /** The shards in their order, then the timeline host if it is not a shard (index -1). */
  readonly clusters: readonly Shard[];
  readonly hostShard: number;
  /** The open timeline. */
  readonly timeline: SharedTimeline;
  /** Folder for the snapshot. It must not exist, or be empty. */
  readonly folder: string;
  /** Version of etcd-braid. */
  readonly braid: string;
  /** Receives the number of bytes so far, and the approximate total. */
  progress(bytes: number, total: number): void;
}

/** The timeline at one moment. */
interface Cut {
  readonly revision: number;
  /** Each cluster's own revision; Infinity for a timeline host that is not a shard, whose data is not in the timeline. */
  readonly revisions: readonly number[];
  readonly timeline: Uint8Array;
}

/**
 * Saves the store at one revision, the newest of a moment after the call. Clients can keep writing.
 *
 * The timeline's cut is taken first. Then every cluster's own snapshot is taken, all at the same time, from members that have
 * caught up with the cut. Each file is at its revision in the cut or later. Later versions do not matter: etcd's backend keeps
 * all versions of the keys, and a restore leaves out those that are newer than the cut. This fails only if a cluster is
 * compacted beyond the cut in the meantime; then everything is repeated.
 *
 * The folder appears when it is complete. Rejects with `SnapshotError` or `StatusError`.
 */
export async function saveSnapshot(input: SaveInput): Promise<Manifest> {
  const { folder } = input;
  refuseExisting(folder);
  const partial = join(dirname(folder), `.${basename(folder)}.partial-${randomBytes(4).toString("hex")}`);
  const remove = () => rmSync(partial, { recursive: true, force: true });
  // The folder contains the whole store, including password hashes.
  mkdirSync(partial, { recursive: true, mode: 0o700 });
  process.once("exit", remove);
  try {
    const manifest = await saveInto(partial, input);
    rmSync(folder, { recursive: true, force: true }); // at most an empty one
    renameSync(partial, folder);
    syncFolder(dirname(folder));
    return manifest;
  } finally {
    remove();
    process.off("exit", remove);
  }
}

async function saveInto(partial: string, input: SaveInput): Promise<Manifest> {
  const versions = await Promise.all(input.clusters.map(versionOf));
  for (let round = 1; ; round++) {
    const cut = await takeCut(input);
    const saved = await downloadAll(partial, input, cut, versions);
    const unusable = saved.find(({ problem }) => problem !== undefined);
    if (unusable === undefined) {
      const clusters = saved.map(({ cluster }) => cluster);
      return complete(partial, input, cut, clusters);
    }
    if (round === ROUNDS) throw new SnapshotError(`${unusable.problem}; ${ROUNDS} times in a row`);
    for (const { cluster } of saved) rmSync(join(partial, cluster.file));
  }
}

async function versionOf(cluster: Shard): Promise<string> {
  return StatusResponse.decode(await cluster.call(Maintenance.Status, EMPTY, READ)).version;
}

/** Takes the newest cut. It includes everything from before the call. */
async function takeCut({ clusters, timeline, hostShard }: SaveInput): Promise<Cut> {
  // Seals what no proxy has sealed, such as the end of a lease. Afterwards, the members that respond have caught up.
  await Promise.all(
    clusters.map(async (cluster) => {
      const { clusterId, revision } = peekHeader(await cluster.call(KV.Range, PROBE, READ));
      if (cluster.index < 0) return;
      if (timeline.placement.shards[cluster.index]?.clusterId !== clusterId.toString()) {
        throw new SnapshotError(`shard "${cluster.name}" is not the etcd cluster that belongs to the store`);
      }
      await timeline.seal(cluster.index, revision, false);
    }),
  );
  await timeline.sync();
  // No await here: all values are of one moment.
  const { base, fold } = timeline.log;
  if (timeline.hostShard !== hostShard || base.next !== undefined)
    throw new SnapshotError("the timeline has moved to another cluster meanwhile: try again");
  refuseMoving(fold.store.placement, clusters);
  return {
    revision: fold.head,
    revisions: clusters.map(({ index }) => (index < 0 ? Number.POSITIVE_INFINITY : fold.cut(index))),
    timeline: encodeTimeline(base, fold.store),
  };
}

/** Refuses stores whose keys are moving, and those with keys on clusters that are not among `clusters`. */
function refuseMoving({ plan, inForce, moves, shards }: PlacementState, clusters: readonly Shard[]): void {
  if (plan !== undefined) {
    throw new SnapshotError(
      `plan ${plan.number} is moving keys between shards: save the snapshot when it is done, or turn it back`,
    );
  }
  const saved = new Set(clusters.map(({ name }) => name));
  const needed = parseMap(inForce).shards.map(({ name }) => name);
  for (const { stops } of moves) {
    for (const index of stops.keys()) needed.push(...shards.slice(index, index + 1).map(({ name }) => name));
  }
  const missing = needed.find((name) => !saved.has(name));
  if (missing === undefined) return;
  throw new SnapshotError(
    `shard "${missing}" has keys of the store, or had them at revisions that are not compacted yet, but it is not configured`,
  );
}

interface Attempt {
  readonly cluster: SavedCluster;
  /** Why the file does not contain the cut; undefined if it does. */
  readonly problem: string | undefined;
}

async function downloadAll(
  partial: string,
  input: SaveInput,
  cut: Cut,
  versions: readonly string[],
): Promise<Attempt[]> {
  const { clusters, progress } = input;
  const failure = new AbortController();
  const received = clusters.map(() => 0);
  const remaining = clusters.map(() => 0);
  const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
  const outcomes = await Promise.allSettled(
    clusters.map(async (cluster, i) => {
      const file = cluster.index < 0 ? "timeline-host.db" : `shard-${cluster.name}.db`;
      const path = join(partial, file);
      try {
        // Leases have no revisions, so a lease that is missing in a member's file cannot be noticed. The member catches up first.
        await cluster.call(KV.Range, PROBE, READ);
        const { bytes, sha256 } = await download(cluster, path, failure.signal, (bytes, rest) => {
          received[i] = bytes;
          remaining[i] = rest;
          progress(sum(received), sum(received) + sum(remaining));
        });
        return inspect(path, cut.revisions[i]!, {
          shard: cluster.index,
          name: cluster.name,
          version: versions[i]!,
          file,
          bytes,
          sha256,
        });
      } catch (error) {
        failure.abort(error);
        throw error;
      }
    }),
  );
  if (failure.signal.aborted) throw failure.signal.reason;
  return outcomes.map((outcome) => (outcome as PromiseFulfilledResult<Attempt>).value);
}

function inspect(
  path: string,
  revision: number,
  cluster: Omit<SavedCluster, "revision" | "fileRevision">,
): Attempt {
  const reader = new BoltReader(path);
  try {
    const fileRevision = currentRevision(reader);
    const compacted = compactedRevision(reader);
    const needed = Math.min(revision, fileRevision);
    const name = `shard "${cluster.name}"`;
    let problem: string | undefined;
    if (Number.isFinite(revision) && fileRevision < revision) {
      problem = `${name}: the saved member is at revision ${fileRevision} and lacks ${revision}`;
    } else if (compacted > needed) {
      problem = `${name} was compacted at ${compacted} while the snapshot was taken at ${needed}`;
    }
    return { cluster: { ...cluster, revision: needed, fileRevision }, problem };
  } finally {
    reader.close();
  }
}

/** Writes the timeline, and the manifest last, when everything else is on the disk. */
function complete(
  partial: string,
  { braid, hostShard }: SaveInput,
  cut: Cut,
  clusters: readonly SavedCluster[],
): Manifest {
  writeDurably(join(partial, TIMELINE), cut.timeline);
  const timeline: SavedFile = {
    file: TIMELINE,
    bytes: cut.timeline.length,
    sha256: createHash("sha256").update(cut.timeline).digest("hex"),
  };
  const savedAt = new Date().toISOString();
  const manifest: Manifest = {
    format: 1,
    braid,
    savedAt,
    revision: cut.revision,
    clusters,
    hostShard,
    timeline,
  };
  writeDurably(join(partial, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
  syncFolder(partial);
  return manifest;
}

function writeDurably(path: string, content: string | Uint8Array): void {
  writeFileSync(path, content, { flag: "wx", flush: true, mode: 0o600 });
}
