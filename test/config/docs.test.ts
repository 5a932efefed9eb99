import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { z } from "zod";
import type { Setting } from "../../src/config/fields.js";
import { parseConfig } from "../../src/config/load.js";
import { schema } from "../../src/config/schema.js";
import { packageRoot } from "../../src/ops/package.js";

/** A field of the schema as JSON Schema has it. */
interface Field extends Setting {
  readonly type?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Field>>;
  readonly required?: readonly string[];
  readonly items?: Field;
}

/** Everything that `.meta()` may say, and nothing else. */
const meta = z.strictObject({
  description: z.string().regex(/^[A-Z`].*\.$/),
  unit: z.enum(["bytes", "milliseconds", "seconds"]).optional(),
  form: z.string().min(1).optional(),
  absent: z.string().min(1).optional(),
  live: z.literal(true).optional(),
  fieldsOf: z.string().optional(),
  excerpts: z.array(z.looseObject({})).min(1).optional(),
});
const JSON_SCHEMA =
  /^(type|default|properties|required|additionalProperties|items|enum|anyOf|format|pattern|(min|max)(imum|Items|Length))$/;

const root = z.toJSONSchema(schema, { io: "input" }) as Field;
const markdown = readFileSync(join(packageRoot, "docs/configuration.md"), "utf8");

interface Listed {
  readonly path: string;
  readonly field: Field;
  readonly isRequired: boolean;
}

/** All settings; `shards[].name` is one. */
function settings(field = root, path = ""): Listed[] {
  if (field.items !== undefined) return settings(field.items, `${path}[]`);
  return Object.entries(field.properties ?? {}).flatMap(([name, each]) => {
    const own = path === "" ? name : `${path}.${name}`;
    const isRequired = field.required?.includes(name) ?? false;
    return [{ path: own, field: each, isRequired }, ...settings(each, own)];
  });
}

/** The paths that a part of a file gives a value. */
function given(value: unknown, path = ""): string[] {
  if (Array.isArray(value)) return [path, ...value.flatMap((each) => given(each, `${path}[]`))];
  if (typeof value !== "object" || value === null) return [path];
  const fields = Object.entries(value).flatMap(([name, each]) =>
    given(each, path === "" ? name : `${path}.${name}`),
  );
  return [path, ...fields];
}

test("docs/configuration.md is what the schema makes of it", () => {
  const { status, stderr } = spawnSync(
    process.execPath,
    ["--import", "tsx", "scripts/generate-config-docs.js", "--check"],
    { cwd: packageRoot, encoding: "utf8" },
  );
  assert.equal(status, 0, stderr);
});

test("every setting says what it does, and what applies without it", () => {
  assert.ok(settings().length > 80, "the settings were found");
  for (const { path, field, isRequired } of settings()) {
    const said = Object.entries(field).filter(([name]) => !JSON_SCHEMA.test(name));
    const { error } = meta.safeParse(Object.fromEntries(said));
    assert.equal(error, undefined, `${path}: ${error?.message}`);
    assert.ok(
      isRequired || field.default !== undefined || field.absent !== undefined,
      `${path}: the default`,
    );
    const unit = { Bytes: "bytes", Ms: "milliseconds", Seconds: "seconds" }[
      /(Bytes|Ms|Seconds)$/.exec(path)?.[1] ?? ""
    ];
    assert.equal(field.unit, unit, `${path}: the unit`);
  }
});

test("every setting is in an example, and every example is a valid configuration", () => {
  const examples = [...markdown.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text]) => parse(text!));
  const shards = [{ name: "east", endpoints: ["10.0.0.1:2379"] }];
  for (const example of examples) parseConfig(JSON.stringify({ shards, ...example }), "configuration.md");
  const shown = new Set(examples.flatMap((example) => given(example)));
  // The fields of what refers to another section are in the examples there.
  const referring = settings().filter(({ field }) => field.fieldsOf !== undefined);
  const missing = settings()
    .map(({ path }) => path)
    .filter((path) => !shown.has(path) && !referring.some((other) => path.startsWith(`${other.path}.`)));
  assert.deepEqual(missing, []);
});

test("the settings that SIGHUP takes over are marked", () => {
  const live = settings().filter(({ field }) => field.live);
  assert.deepEqual(
    live.map(({ path }) => path),
    [
      "tenants",
      "tenants[].name",
      "tenants[].prefix",
      "tenants[].user",
      "tenants[].mode",
      "tenants[].limits",
      "tenants[].limits.putsPerSecond",
      "tenants[].limits.rangesPerSecond",
      "tenants[].limits.transactionsPerSecond",
      "tenants[].limits.bytesInPerSecond",
      "tenants[].limits.bytesOutPerSecond",
      "tenants[].limits.burstSeconds",
      "tenants[].limits.watches",
      "tenants[].limits.leases",
      "tenants[].limits.maxValueBytes",
      "tenants[].limits.storedKeys",
      "tenants[].limits.storedBytes",
      "limits.maxTxnOps",
      "watch.streamBufferBytes",
      "watch.progressNotifyMs",
      "http.cors",
      "http.hosts",
      "reads",
      "log.level",
      "log.slowRequestMs",
      "shutdown.graceMs",
    ],
  );
});
