import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/ops/package.js";

/** The floors of the house, from the top. A room imports from lower floors only. docs/ARCHITECTURE.md explains the rooms. */
const FLOORS: readonly (readonly string[])[] = [
  ["cli", "index.ts"],
  ["dev"],
  ["app"],
  ["console"],
  ["transport"],
  ["services", "snapshot", "accounts"],
  ["lease", "mover"],
  ["watch", "auth", "tenants"],
  ["timeline", "rpc"],
  ["shard", "reshard"],
  ["http2", "wire", "ops", "config"],
  ["turn", "routing", "tls", "stats", "status"],
];
const floors = new Map(FLOORS.flatMap((rooms, floor) => rooms.map((name) => [name, floor] as const)));

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
  assert.deepEqual(new Set(files.map(room)), new Set(floors.keys()), "each room has a floor");
  const wrong = imports.filter(({ file, target }) => {
    const [own, other] = [room(file), room(target)];
    return own !== other && floors.get(other)! <= floors.get(own)!;
  });
  assert.deepEqual(
    wrong.map(({ file, target }) => `${file} imports ${target}`),
    [],
  );
});

test("no file imports itself through others", () => {
  const graph = new Map<string, string[]>();
  for (const { file, target } of imports) {
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
    "reshard",
    "wire",
    "stats",
    "status",
    "tenants",
    "timeline/fold.ts",
    "timeline/storeFold.ts",
    "timeline/foldedLog.ts",
    "timeline/segments.ts",
    "timeline/pruneTable.ts",
  ];
  for (const file of files.filter((path) => pure.some((start) => path.startsWith(start)))) {
    const text = readFileSync(join(src, file), "utf8");
    assert.doesNotMatch(text, /from "node:|setTimeout|setInterval|Date\.now|Math\.random/, file);
  }
});
