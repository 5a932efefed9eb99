import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../ops/package.js";
import { RequestError } from "./requestError.js";

// The single executable has no folder: scripts/build-binary.js replaces this module by one that has the contents.

/** Reads a file of the page, which scripts/bundle-page.js has made. */
export function readAsset(name: string): Buffer {
  try {
    return readFileSync(join(packageRoot, "dist/src/console/page", name));
  } catch {
    throw new RequestError(500, "the console's page is missing in this installation: run `npm run build`");
  }
}
