import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

// The single executable has no folder: scripts/build-binary.js replaces this module by one that has the version.

/** The folder of this package's package.json, both for `src` and for compiled code. */
export const packageRoot = findRoot(dirname(fileURLToPath(import.meta.url)));

/** This package's version, as in package.json. */
export const version: string = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")).version;

function findRoot(folder: string): string {
  return existsSync(join(folder, "package.json")) ? folder : findRoot(dirname(folder));
}
