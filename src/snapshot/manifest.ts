import { createHash } from "node:crypto";
import { createReadStream, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** This file is written last: a folder without it is not a snapshot. */
export const MANIFEST = "manifest.json";
export const TIMELINE = "timeline";

export interface SavedFile {
  /** Name in the snapshot's folder. */
  readonly file: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

export interface SavedCluster extends SavedFile {
  /** Index of the shard, or -1 for a timeline host that is not a shard. */
  readonly shard: number;
  readonly name: string;
  /** etcd version of the member that the file is from, such as 3.5.21. */
  readonly version: string;
  /** The cluster's own revision in the cut. */
  readonly revision: number;
  /** The cluster's own revision of the file. A restore leaves out everything newer than `revision`. */
  readonly fileRevision: number;
}

/** Describes a snapshot of a store. */
export interface Manifest {
  readonly format: 1;
  /** Version of etcd-braid. */
  readonly braid: string;
  /** ISO 8601, UTC. */
  readonly savedAt: string;
  /** The store's revision. */
  readonly revision: number;
  /** The shards in their order, then the timeline host if it is not a shard. */
  readonly clusters: readonly SavedCluster[];
  /** Index of the shard that is the timeline host, or -1. */
  readonly hostShard: number;
  readonly timeline: SavedFile;
}

/** A folder cannot be used as a snapshot. The message says why. */
export class SnapshotError extends Error {
  override readonly name = "SnapshotError";
}

/** Reads the manifest of a folder. Throws `SnapshotError`. */
export function readManifest(folder: string): Manifest {
  let text: string;
  try {
    text = readFileSync(join(folder, MANIFEST), "utf8");
  } catch (cause) {
    const text = `${folder} is not a snapshot, or an incomplete one: it has no ${MANIFEST}`;
    throw new SnapshotError(text, { cause });
  }
  let manifest: Manifest;
  try {
    manifest = JSON.parse(text);
  } catch (cause) {
    throw new SnapshotError(`${join(folder, MANIFEST)} is damaged: ${(cause as Error).message}`, { cause });
  }
  if (manifest?.format !== 1) {
    const text = `${folder} has format ${manifest?.format}; this version of etcd-braid supports only format 1`;
    throw new SnapshotError(text);
  }
  return manifest;
}

/** All files except the manifest. */
export const filesOf = (manifest: Manifest): readonly SavedFile[] => [
  ...manifest.clusters,
  manifest.timeline,
];

/** Checks sizes and SHA-256 of all files. Rejects with `SnapshotError` for the first that differs. */
export async function verifyFiles(folder: string, manifest: Manifest): Promise<void> {
  for (const { file, bytes, sha256 } of filesOf(manifest)) {
    const path = join(folder, file);
    let size: number;
    try {
      size = statSync(path).size;
    } catch (cause) {
      throw new SnapshotError(`${path} is missing`, { cause });
    }
    if (size !== bytes) throw new SnapshotError(`${path} has ${size} bytes instead of ${bytes}`);
    if ((await sha256Of(path)) !== sha256) {
      throw new SnapshotError(`${path} is damaged: its SHA-256 is not the one in ${MANIFEST}`);
    }
  }
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest("hex");
}
