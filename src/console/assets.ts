import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { readAsset } from "./assetFiles.js";

/** One file of the page. */
export interface Asset {
  readonly contentType: string;
  readonly body: Buffer;
  readonly gzipped: Buffer;
  readonly etag: string;
}

const TYPES: Readonly<Record<string, string>> = {
  "page.html": "text/html; charset=utf-8",
  "page.js": "text/javascript; charset=utf-8",
  "page.css": "text/css; charset=utf-8",
};

const loaded = new Map<string, Asset>();

/** A file of the page that scripts/setup.js has bundled; undefined if there is none with this name. */
export function findAsset(name: string): Asset | undefined {
  const known = loaded.get(name);
  const contentType = Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
  if (known !== undefined || contentType === undefined) return known;
  const body = readAsset(name);
  const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  const asset = { contentType, body, gzipped: gzipSync(body, { level: 9 }), etag };
  loaded.set(name, asset);
  return asset;
}
