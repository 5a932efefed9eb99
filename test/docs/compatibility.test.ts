import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/ops/package.js";
import { routes } from "../../src/transport/gateway/routes.js";
import * as paths from "../../src/wire/paths.js";

const page = readFileSync(join(packageRoot, "docs/compatibility.md"), "utf8");
/** The cells of all tables' rows, without heads. */
const rows = page
  .split("\n")
  .filter((line) => line.startsWith("| ") && !/^\| (---|method|path) /.test(line))
  .map((line) =>
    line
      .slice(1, -1)
      .split(" | ")
      .map((cell) => cell.trim()),
  );
const methods = [...Object.values(paths)].flatMap((service) =>
  typeof service === "object" ? Object.entries(service) : [],
);

test("every method of etcd has one row", () => {
  for (const [name] of methods) assert.equal(rows.filter(([cell]) => cell === name).length, 1, name);
});

test("every HTTP path is in the row of its method, and no other", () => {
  for (const [name, grpc] of methods) {
    const row = rows.find(([cell]) => cell === name)!;
    const shown = [...row[1].matchAll(/`([^`]+)`/g)].map(([, path]) => path);
    const served = [...routes].filter(([path, method]) => method === grpc && path.startsWith("/v3/"));
    assert.deepEqual(shown.sort(), served.map(([path]) => path).sort(), name);
  }
});

test("every test that is named exists", () => {
  assert.ok(rows.length > methods.length);
  for (const row of rows) {
    const found = /^`([^`]+)`: (.+)$/.exec(row.at(-1)!);
    assert.ok(found, `no test: ${row[0]}`);
    const [, file, name] = found;
    const path = join(packageRoot, file);
    assert.ok(existsSync(path), `${row[0]}: there is no ${file}`);
    assert.ok(readFileSync(path, "utf8").includes(name), `${row[0]}: ${file} has no test "${name}"`);
  }
});
