import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/ops/package.js";

/** What each room may import from; itself always. docs/ARCHITECTURE.md explains the rooms. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  status: [],
  stats: [],
  tls: [],
  wire: ["status"],
  http2: ["stats", "status"],
  routing: [],
  shard: ["http2", "tls", "wire", "stats", "status"],
  timeline: ["shard", "wire", "stats", "status"],
  lease: ["auth", "timeline", "routing", "shard", "wire", "status"],
  watch: ["timeline", "routing", "shard", "wire", "stats", "status"],
  auth: ["timeline", "shard", "wire", "status"],
  services: ["auth", "lease", "watch", "timeline", "routing", "shard", "wire", "stats", "status"],
  snapshot: ["lease", "timeline", "routing", "shard", "wire", "status"],
  config: ["routing"],
  ops: ["stats"],
  server: [
    "services",
    "auth",
    "snapshot",
    "lease",
    "watch",
    "timeline",
    "routing",
    "shard",
    "http2",
    "tls",
    "wire",
    "stats",
    "status",
    "config",
    "ops",
  ],
  dev: ["config", "ops"],
  cli: [
    "server",
    "dev",
    "services",
    "snapshot",
    "routing",
    "shard",
    "tls",
    "wire",
    "status",
    "config",
    "ops",
  ],
  /** What users of the package import; nothing in the package does. */
  "index.ts": ["server", "routing", "config", "ops"],
};
/** The interfaces that services and transports share; types only, so nothing depends on the server's code. */
const TRANSPORT = "server/transport.js";

const src = join(packageRoot, "src");
const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".ts"));

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(src, file), "utf8");
  const found = text.matchAll(
    /^(?:import|export)\s+(type\s)?[^;]*?from\s+"(\.[^"]+)"|import\("(\.[^"]+)"\)/gm,
  );
  return [...found].map(([, typeOnly, from, dynamic]) => ({
    file,
    target: normalize(join(dirname(file), from ?? dynamic)),
    typeOnly: typeOnly !== undefined,
  }));
}

const room = (path: string): string => path.split("/")[0];
const imports = files.flatMap(importsOf);

test("rooms import only from rooms below them", () => {
  assert.ok(imports.length > 200, "the imports were found");
  const wrong = imports.filter(({ file, target, typeOnly }) => {
    if (room(file) === room(target)) return false;
    if (target === TRANSPORT && typeOnly) return false;
    return !ROOMS[room(file)]?.includes(room(target));
  });
  assert.deepEqual(
    wrong.map(({ file, target }) => `${file} imports ${target}`),
    [],
  );
});

test("no file imports itself through others", () => {
  const graph = new Map<string, string[]>();
  for (const { file, target, typeOnly } of imports) {
    if (typeOnly) continue;
    const from = file.replace(/\.ts$/, ".js");
    graph.set(from, [...(graph.get(from) ?? []), target]);
  }
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) assert.fail(`circle: ${[...path.slice(path.indexOf(file)), file].join(" → ")}`);
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
});

test("pure rooms do no input or output", () => {
  const pure = [
    "routing",
    "wire",
    "stats",
    "status",
    "timeline/fold.ts",
    "timeline/segments.ts",
    "timeline/prune.ts",
  ];
  for (const file of files.filter((path) => pure.some((start) => path.startsWith(start)))) {
    const text = readFileSync(join(src, file), "utf8");
    assert.doesNotMatch(text, /from "node:|setTimeout|setInterval|Date\.now|Math\.random/, file);
  }
});
