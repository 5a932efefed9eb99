import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/ops/package.js";
import { temporaryFolder } from "../support/braid.js";

test("npm start has npm as its parent, whose death it therefore notices", async () => {
  const { scripts } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
  const folder = temporaryFolder();
  mkdirSync(join(folder, "scripts"));
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ type: "module", scripts: { start: scripts.start } }),
  );
  writeFileSync(join(folder, "scripts/start.js"), 'console.log("parent", process.ppid);');
  let npm: number | undefined;
  const output = await new Promise<string>((resolve, reject) => {
    const child = execFile("npm", ["start"], { cwd: folder }, (error, stdout) => {
      if (error) reject(error);
      else resolve(stdout);
    });
    npm = child.pid;
  });
  assert.match(output, new RegExp(`^parent ${npm}$`, "m"));
});
