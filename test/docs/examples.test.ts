import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { parseConfig } from "../../src/config/load.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { pages, readPage } from "./pages.js";

// Readers copy these examples, so the files must load, and the outputs must be what the commands print.

interface Block {
  /** Page and line, for messages. */
  readonly at: string;
  readonly page: string;
  readonly language: string;
  /** Without the indentation of the block. */
  readonly text: string;
}

type File = Readonly<Record<string, unknown>>;

/** Top-level settings of Apache APISIX and Patroni. Their files are not ours to check. */
const FOREIGN = ["apisix", "deployment", "etcd3"];

const shardsNamed = (...names: string[]) =>
  names.map((name, index) => ({ name, endpoints: [`10.0.0.${index}:2379`] }));
/** Where a page does not show the shards, they are those of the example shards.yaml. */
const DEFAULT_SHARDS = shardsNamed("east", "west", "north");
/** The store of `npm start`. */
const DEV = { path: ".braid/shards.yaml", file: { shards: shardsNamed("a", "b", "c") } };

function blocksOf(page: string): Block[] {
  const text = readPage(page);
  return [...text.matchAll(/^( *)```(\w*)\n(.*?)^ *```$/gms)].map(
    ({ index, 1: indent, 2: language, 3: body }) => ({
      at: `${page}:${text.slice(0, index).split("\n").length}`,
      page,
      language: language!,
      text: body!.replace(new RegExp(`^${indent}`, "gm"), ""),
    }),
  );
}

const blocks = pages.flatMap(blocksOf);

/** A file of this program with what the block shows; undefined if the block is not about one. */
function fileOf({ language, text }: Block): File | undefined {
  if (language !== "yaml") return undefined;
  const shown: unknown = parse(text);
  // A list alone continues the rules above it.
  const file = (Array.isArray(shown) ? { routing: { rules: shown } } : shown) as File;
  return FOREIGN.some((name) => name in file) ? undefined : { shards: DEFAULT_SHARDS, ...file };
}

/** What all files above a block of its page say together. */
function fileAbove({ page, at }: Block): File {
  const ofPage = blocks.filter((block) => block.page === page);
  const above = ofPage
    .slice(
      0,
      ofPage.findIndex((block) => block.at === at),
    )
    .map(fileOf);
  const files = above.filter((file) => file !== undefined);
  const rules = files.flatMap(({ routing }) => (routing as { rules?: unknown[] } | undefined)?.rules ?? []);
  const shards = files.map((file) => file.shards).find((each) => each !== DEFAULT_SHARDS) ?? DEFAULT_SHARDS;
  return { shards, routing: { rules } };
}

test("every file that a page shows loads", () => {
  const files = blocks.map((block) => ({ at: block.at, file: fileOf(block) }));
  const ours = files.filter(({ file }) => file !== undefined);
  assert.ok(ours.length > 30, "the files were found");
  // JSON is YAML.
  for (const { at, file } of ours) parseConfig(JSON.stringify(file), at);
});

test("every `braid route` on a page prints what the page shows", async () => {
  const folder = temporaryFolder();
  const shown = blocks.flatMap((block) =>
    [...block.text.matchAll(/^\$ (?:npx )?braid route (.+)\n((?:(?!\$ ).+\n)*)/gm)].map(
      ([, args, output]) => ({ block, args: args!.split(" "), output: output! }),
    ),
  );
  assert.ok(shown.length > 5, "the commands were found");
  const printed = shown.map(async ({ block, args }, index) => {
    const isDev = args.includes(DEV.path);
    const path = join(folder, `${index}.yaml`);
    writeFileSync(path, JSON.stringify(isDev ? DEV.file : fileAbove(block)));
    const rest = args.filter((arg) => arg !== "--config" && arg !== DEV.path);
    const { stdout, stderr } = await braid("route", "--config", path, ...rest);
    return { at: block.at, output: stdout + stderr };
  });
  assert.deepEqual(
    await Promise.all(printed),
    shown.map(({ block, output }) => ({ at: block.at, output })),
  );
});
