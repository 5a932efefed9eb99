import { closeSync, fsyncSync, openSync, readdirSync } from "node:fs";
import { SnapshotError } from "./manifest.js";

/** Throws `SnapshotError` unless the folder does not exist, or is empty. */
export function refuseExisting(folder: string): void {
  let content: string[];
  try {
    content = readdirSync(folder);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return;
    throw new SnapshotError(code === "ENOTDIR" ? `${folder} is a file` : message);
  }
  if (content.length > 0) throw new SnapshotError(`${folder} exists and is not empty`);
}

/** Makes the entries of a folder durable. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
