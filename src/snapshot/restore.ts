import { createHash, randomBytes } from "node:crypto";
import { appendFileSync, createReadStream, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { LOG_PREFIX } from "../timeline/keys.js";
import { encodeMark, HOST_NAME, newStoreId } from "../timeline/mark.js";
import { refuseExisting } from "./folder.js";
import {
  type Manifest,
  readManifest,
  type SavedCluster,
  SnapshotError,
  TIMELINE,
  verifyFiles,
} from "./manifest.js";
import { clusterIdOf, initialCluster, type NewMember } from "./members.js";
import { decodeTimeline, restoredLog, type SavedTimeline } from "./savedTimeline.js";
import { findTool, restoreWith, type Tool } from "./tool.js";
import { trimBackend } from "./trim.js";

/** Name of a timeline host that is not a shard, in place of a shard's name. No shard can have this name. */
export const TIMELINE_CLUSTER = "_timeline";

export interface RestoreInput {
  /** The snapshot. */
  readonly folder: string;
  /** Folder for the data directories, `<cluster>/<member>` each. It must not exist, or be empty. */
  readonly out: string;
  /** The members of each new cluster, by name (see `clusterName`). */
  readonly members: ReadonlyMap<string, readonly NewMember[]>;
  /** See `Restored.bumpRevision`. */
  readonly bumpRevision: number;
  /** etcdutl or etcdctl; undefined: the one on the PATH. */
  readonly tool: string | undefined;
  say(line: string): void;
}

/** Name of a cluster of a snapshot in options and folders. */
export const clusterName = ({ shard, name }: SavedCluster): string => (shard < 0 ? TIMELINE_CLUSTER : name);

/**
 * Builds data directories for new clusters from a snapshot. Each shard has its state at the snapshot's revision, with the same
 * revisions, versions and leases. The timeline host gets a timeline that ends there. The last step runs etcd's own program.
 * The folder appears when it is complete. Rejects with `SnapshotError` or `StatusError`.
 */
export async function restoreSnapshot(input: RestoreInput): Promise<Manifest> {
  const { folder, out, say } = input;
  refuseExisting(out);
  const manifest = readManifest(folder);
  const tool = await findTool(
    input.tool,
    manifest.clusters.map(({ version }) => version),
  );
  say("checking the files of the snapshot");
  await verifyFiles(folder, manifest);
  const timeline = readTimeline(folder);
  checkCut(manifest, timeline);
  const partial = join(dirname(out), `.${basename(out)}.partial-${randomBytes(4).toString("hex")}`);
  const remove = () => rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true, mode: 0o700 });
  process.once("exit", remove);
  try {
    await build(partial, input, manifest, timeline, tool);
    rmSync(out, { recursive: true, force: true }); // at most an empty one
    renameSync(partial, out);
    return manifest;
  } finally {
    remove();
    process.off("exit", remove);
  }
}

/** The timeline of a snapshot. Throws if it is damaged. */
export function readTimeline(folder: string): SavedTimeline {
  return decodeTimeline(readFileSync(join(folder, TIMELINE)));
}

async function build(
  partial: string,
  { folder, members, bumpRevision, say }: RestoreInput,
  manifest: Manifest,
  timeline: SavedTimeline,
  tool: Tool,
): Promise<void> {
  // With a new token, these members never talk to those of the old clusters, which may have the same addresses.
  const token = `braid-${randomBytes(8).toString("hex")}`;
  const membersOf = (cluster: SavedCluster) => members.get(clusterName(cluster)) as readonly NewMember[];
  const clusterIds = new Map(
    manifest.clusters.map((cluster) => [cluster.shard, clusterIdOf(membersOf(cluster), token)]),
  );
  // A new store id, so that proxies of the saved store do not accept these clusters.
  const store = newStoreId();
  const { hostShard } = manifest;
  const hostCluster = manifest.clusters.find(({ shard }) => shard === hostShard) as SavedCluster;
  const host = { name: markName(hostCluster), clusterId: clusterIdOf(membersOf(hostCluster), token) };
  for (const cluster of manifest.clusters) {
    const name = clusterName(cluster);
    say(`${name}: removing everything newer than the snapshot's revision`);
    const trimmed = join(partial, `${name}.db`);
    const mark = encodeMark({ store, name: markName(cluster), index: cluster.shard, host });
    const log = (hostRevision: number) =>
      restoredLog(timeline, { hostShard, hostRevision, store, mark, clusterIds, bumpRevision });
    const isHost = cluster.shard === hostShard;
    trimBackend(join(folder, cluster.file), trimmed, {
      at: cluster.shard < 0 ? Number.POSITIVE_INFINITY : cluster.revision,
      replace: { prefix: LOG_PREFIX, keys: isHost ? log : () => [mark] },
    });
    await appendSha256(trimmed);
    for (const { name: member, peerUrl } of membersOf(cluster)) {
      say(`${name}: ${tool.command} snapshot restore for member ${member}`);
      await restoreWith(
        tool,
        trimmed,
        [
          ["--data-dir", join(partial, name, member)],
          ["--name", member],
          ["--initial-cluster", initialCluster(membersOf(cluster))],
          ["--initial-cluster-token", token],
          ["--initial-advertise-peer-urls", peerUrl],
        ].flat(),
      );
    }
    rmSync(trimmed);
  }
}

const markName = ({ shard, name }: SavedCluster): string => (shard < 0 ? HOST_NAME : name);

function checkCut({ clusters, revision }: Manifest, { state: { timeline } }: SavedTimeline): void {
  const same = clusters.every(({ shard, revision }) => shard < 0 || timeline.cut[shard] === revision);
  if (!same || timeline.revision !== revision) {
    throw new SnapshotError("the snapshot's timeline does not match its manifest");
  }
}

/** Appends the SHA-256 as `etcdctl snapshot save` does, so that etcd's program checks the file. */
async function appendSha256(path: string): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  appendFileSync(path, hash.digest());
}
