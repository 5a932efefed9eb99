// npm run coverage prints the share of src/ that is covered by tests without child processes, by room. Needs a build (npm test makes
// one). Code that runs in separate proxy processes does not count, so these numbers are lower bounds.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { fail, listFiles, root } from "./setup.js";

const cache = new Map();

/** True if a compiled test, or test code that it imports, starts processes. */
function startsProcesses(file, path = new Set()) {
  if (cache.has(file)) return cache.get(file);
  if (path.has(file)) return false;
  path.add(file);
  const text = readFileSync(file, "utf8");
  const imports = [...text.matchAll(/from "(\.[^"]+)"/g)].map(([, to]) => join(dirname(file), to));
  const tests = imports.filter((to) => to.startsWith(join(root, "dist/test")));
  const result = /from "node:child_process"/.test(text) || tests.some((to) => startsProcesses(to, path));
  cache.set(file, result);
  return result;
}

const all = listFiles("dist/test").filter((path) => path.endsWith(".test.js"));
const files = all.filter((path) => !startsProcesses(join(root, path)));
if (files.length === 0) fail("There is no build in dist/: run npm test or npm run build first.");

/** File → for each of its characters, 1 if a process has run it. */
const seen = new Map();

/** Adds the coverage of one process, as V8 reports it: inner ranges follow the ranges around them. */
function add({ result }) {
  const prefix = pathToFileURL(join(root, "dist/src")).href;
  for (const { url, functions } of result.filter((script) => script.url.startsWith(`${prefix}/`))) {
    const file = fileURLToPath(url);
    const { length } = readFileSync(file, "utf8");
    const ran = new Uint8Array(length);
    for (const { ranges } of functions) {
      for (const { startOffset, endOffset, count } of ranges)
        ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
    }
    const all = seen.get(file);
    if (all === undefined) seen.set(file, ran);
    else
      ran.forEach((hit, at) => {
        all[at] |= hit;
      });
  }
}

const folder = mkdtempSync(join(tmpdir(), "coverage-"));
try {
  const env = { ...process.env, NODE_V8_COVERAGE: folder, SEEDS: "20" }; // a few seeds run the same lines as many
  // Failures are ignored here, because npm test reports them, and because few seeds may miss a mutation.
  spawnSync(process.execPath, ["--test", "--test-concurrency=2", ...files], {
    cwd: root,
    env,
    stdio: "ignore",
  });
  for (const name of readdirSync(folder)) add(JSON.parse(readFileSync(join(folder, name), "utf8")));
} finally {
  rmSync(folder, { recursive: true });
}

const rooms = new Map();
const total = { lines: 0, hit: 0 };
for (const [file, ran] of seen) {
  const [room] = relative(join(root, "dist/src"), file).split("/");
  const sum = rooms.get(room) ?? { lines: 0, hit: 0 };
  rooms.set(room, sum);
  let at = 0;
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const begin = at + line.length - line.trimStart().length;
    const end = at + line.trimEnd().length;
    at += line.length + 1;
    if (end <= begin || /^(\/\/|\/?\*)/.test(line.trim())) continue;
    for (const each of [sum, total]) {
      each.lines++;
      if (ran.subarray(begin, end).every((hit) => hit === 1)) each.hit++;
    }
  }
}
console.log(
  `Compiled lines of src/ that are covered by the ${files.length} of ${all.length} test files without child processes.`,
);
console.log("Files that none of them loads are left out.");
for (const [room, { lines, hit }] of [...[...rooms].sort(), ["all", total]]) {
  console.log(
    `${room.padEnd(12)} ${String(hit).padStart(6)} of ${String(lines).padStart(6)}  ${((100 * hit) / lines).toFixed(1).padStart(5)} %`,
  );
}
