import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
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
import { encodeTimeline } from "./timeline.js";

/** How often all is begun anew because a compaction overtook it, or a member lagged behind. */
const ROUNDS = 3;
const READ = { idempotent: true } as const;

export interface SaveInput {
  /** The shards in their order, then the timeline host if it is a cluster of its own (index -1). */
  readonly clusters: readonly Shard[];
  readonly hostShard: number;
  /** Open. */
  readonly timeline: SharedTimeline;
  /** Where the snapshot goes: a folder that does not exist, or is empty. */
  readonly folder: string;
  /** Version of etcd-braid. */
  readonly braid: string;
  /** Hears how many bytes of the clusters' files have come, and about how many there will be. */
  progress(bytes: number, total: number): void;
}

/** What one moment of the timeline says. */
interface Cut {
  readonly revision: number;
  /** Each cluster's own revision; Infinity for a timeline host of its own, whose data is not in the timeline. */
  readonly revisions: readonly number[];
  readonly timeline: Uint8Array;
}

/**
 * Saves the store as it is at one revision, the newest of a moment after the call, while everybody goes on writing.
 *
 * The timeline's cut is taken first, then every cluster's own snapshot, all begun at the same time, of members that have
 * caught up with the cut. Each is at its entry of the cut or later; how much is later does not matter, because etcd's backend keeps all versions of the keys, and a
 * restore leaves out those that are newer than the cut. That fails only when a cluster is compacted beyond the cut
 * meanwhile; then all is begun anew.
 *
 * The folder appears when everything is in it. Rejects with `SnapshotError` or `StatusError`.
 */
export async function saveSnapshot(input: SaveInput): Promise<Manifest> {
  const { folder } = input;
  refuseExisting(folder);
  const partial = join(dirname(folder), `.${basename(folder)}.partial-${randomBytes(4).toString("hex")}`);
  const remove = () => rmSync(partial, { recursive: true, force: true });
  // It holds all that the store does, password hashes included.
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

/** The newest cut, with everything in it that had happened when this was called. */
async function takeCut({ clusters, timeline }: SaveInput): Promise<Cut> {
  // What nobody has sealed, such as the end of a lease; and the members that answer have caught up afterwards.
  await Promise.all(
    clusters.map(async (cluster) => {
      const { clusterId, revision } = peekHeader(await cluster.call(KV.Range, PROBE, READ));
      if (cluster.index < 0) return;
      if (timeline.log.base.clusterIds[cluster.index] !== clusterId.toString()) {
        throw new SnapshotError(`shard "${cluster.name}" is not the etcd cluster that belongs to the store`);
      }
      await timeline.seal(cluster.index, revision, false);
    }),
  );
  await timeline.sync();
  // All of one moment: nothing is awaited here.
  const { base, fold } = timeline.log;
  return {
    revision: fold.head,
    revisions: clusters.map(({ index }) => (index < 0 ? Number.POSITIVE_INFINITY : fold.cut(index))),
    timeline: encodeTimeline(base, fold.snapshot()),
  };
}

interface Attempt {
  readonly cluster: SavedCluster;
  /** Why the file does not hold the cut. */
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
  const come = clusters.map(() => 0);
  const remaining = clusters.map(() => 0);
  const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
  const outcomes = await Promise.allSettled(
    clusters.map(async (cluster, i) => {
      const file = cluster.index < 0 ? "timeline-host.db" : `shard-${cluster.name}.db`;
      const path = join(partial, file);
      try {
        // Leases have no revisions: that the file of a member that lags behind lacks one, nothing could tell. It catches up first.
        await cluster.call(KV.Range, PROBE, READ);
        const { bytes, sha256 } = await download(cluster, path, failure.signal, (bytes, rest) => {
          come[i] = bytes;
          remaining[i] = rest;
          progress(sum(come), sum(come) + sum(remaining));
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
      problem = `${name}: the member that was asked is at revision ${fileRevision} and lacks ${revision}`;
    } else if (compacted > needed) {
      problem = `${name} was compacted at ${compacted} while the snapshot was taken at ${needed}`;
    }
    return { cluster: { ...cluster, revision: needed, fileRevision }, problem };
  } finally {
    reader.close();
  }
}

/** The manifest is written last, when all else is on the disk. */
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
