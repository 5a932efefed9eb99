// Part of `npm run generate`: makes src/wire/generated/ from proto/. The result is committed, and
// test/house/generated.test.ts fails when it is stale.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { codecsFile, enumsFile } from "./messages/codecs.js";
import { readModel } from "./messages/model.js";
import { descriptorsFile, pathsFile, schemaFile } from "./messages/schema.js";
import { tablesFile, tagsFile } from "./messages/tables.js";
import { root } from "./setup.js";

const HEAD = "// Generated from proto/ by `npm run generate`. Edit proto/ instead.\n";

/** The folder of the generated files. */
export const folder = join(root, "src/wire/generated");

/** Returns the text of the generated files by name. */
export function generate() {
  const { files } = readModel();
  const etcd = files.filter(({ foreign }) => !foreign);
  const all = (member) => etcd.flatMap((file) => file[member]);
  const messages = all("messages");
  checkNames([...messages, ...all("enums")]);
  const written = messages.filter(({ form }) => form === "written");
  return new Map(
    Object.entries({
      "enums.ts": enumsFile(all("enums")),
      "codecs.ts": codecsFile(written),
      "tables.ts": tablesFile(messages),
      "tags.ts": tagsFile(tagged(files)),
      "paths.ts": pathsFile(all("services")),
      "schema.ts": schemaFile(files),
      "descriptors.ts": descriptorsFile(files),
    }).map(([name, text]) => [name, format(name, `${HEAD}\n${text}`)]),
  );
}

/** Messages that hand-written code reads or writes. */
function tagged(files) {
  const wanted = ["etcdserverpb", "mvccpb", "grpc.health.v1", "grpc.reflection.v1"];
  return files
    .filter(({ space }) => wanted.includes(space))
    .flatMap(({ messages }) => messages)
    .filter(({ form, fields }) => form !== "table" && fields.length > 0);
}

/** Throws when two packages declare the same name, because names in TypeScript have no package. */
function checkNames(declared) {
  const names = declared.map(({ name }) => name);
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  if (twice.length > 0) throw new Error(`declared more than once: ${twice.join(", ")}`);
}

function format(name, text) {
  const biome = join(root, "node_modules/@biomejs/biome/bin/biome");
  const path = join(folder, name);
  const result = spawnSync(process.execPath, [biome, "format", `--stdin-file-path=${path}`], {
    cwd: root,
    input: text,
    encoding: "utf8",
  });
  if (result.status !== 0) throw new Error(`${name}: ${result.stderr}`);
  return result.stdout;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(folder, { recursive: true });
  const files = generate();
  for (const name of readdirSync(folder)) if (!files.has(name)) rmSync(join(folder, name));
  for (const [name, text] of files) writeFileSync(join(folder, name), text);
}
