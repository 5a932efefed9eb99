import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { packageRoot } from "../../src/ops/package.js";

interface Generator {
  readonly folder: string;
  generate(): ReadonlyMap<string, string>;
}

/* src/wire/generated/ is committed, so that a clone compiles and a change of it can be reviewed. */

test("what is generated from proto/ is up to date", async () => {
  const script = pathToFileURL(join(packageRoot, "scripts/generate-messages.js")).href;
  const { folder, generate }: Generator = await import(script);
  const files = generate();
  const remedy = "run npm run generate and commit what it writes";
  assert.deepEqual(readdirSync(folder).sort(), [...files.keys()].sort(), remedy);
  for (const [name, text] of files) {
    assert.equal(readFileSync(join(folder, name), "utf8"), text, `${name} is stale: ${remedy}`);
  }
});
