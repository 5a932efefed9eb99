import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/ops/package.js";

const src = join(packageRoot, "src");
const sources = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => readFileSync(join(src, path), "utf8"));

test("every log message that docs/metrics.md explains is in the code", () => {
  const page = readFileSync(join(packageRoot, "docs/metrics.md"), "utf8");
  const rows = page.slice(page.indexOf("\n| message | cause |")).split("\n\n", 1)[0]!.split("\n").slice(3);
  const messages = rows.flatMap((row) =>
    [...row.split(" | ", 1)[0]!.matchAll(/`([^`]+)`/g)].map(([, text]) => text!),
  );
  assert.ok(messages.length > 15, "the messages were found");
  // An ellipsis stands for what the code fills in.
  const missing = messages.filter((message) => {
    const pieces = message.split("…").map((piece) => piece.trim());
    return !sources.some((text) => pieces.every((piece) => text.includes(piece)));
  });
  assert.deepEqual(missing, []);
});
