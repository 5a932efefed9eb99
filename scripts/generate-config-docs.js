// node --import tsx scripts/generate-config-docs.js writes docs/configuration.md from the schema of the configuration.
// With --check it changes nothing, and fails if the file is stale.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { schema } from "../src/config/schema.ts";
import { fail, root, say } from "./setup.js";

const FILE = "docs/configuration.md";
const MAX_LINE = 125;
const INTRODUCTION = `# Configuration

<!-- Generated from src/config/schema.ts: change a setting there, then run \`npm run generate\`. -->

\`braid serve\` reads one YAML file: \`shards.yaml\` in the current folder, or the file that \`--config\` names. Only
[shards](#shards) is required. [shards.yaml](../shards.yaml) is an example.

- \`braid check\` validates the file and compares it with the clusters. It names each problem with its line.
- All proxies of one store need the same \`shards\`, \`timeline\` and \`routing\`, or those of before a plan. A proxy refuses to
  start if its file contradicts the store.
- After SIGHUP, a running proxy reads the file again. It applies the settings that are *live*, and logs the names of
  other changed settings, which need a restart. An invalid file changes nothing.
- A setting without a value counts as not given.

## All settings
`;

const { properties, required } = z.toJSONSchema(schema, { io: "input" });

/** A readable form of a number, if that differs from the number: 16777216 bytes are 16 MiB. */
function readable(value, unit) {
  const scales = {
    bytes: [
      ["MiB", 2 ** 20],
      ["KiB", 2 ** 10],
    ],
    milliseconds: [
      ["h", 3_600_000],
      ["min", 60_000],
      ["s", 1_000],
    ],
    seconds: [
      ["h", 3_600],
      ["min", 60],
    ],
  };
  const scale = scales[unit]?.find(([, size]) => value >= size);
  return scale === undefined ? undefined : `${Number((value / scale[1]).toFixed(1))} ${scale[0]}`;
}

/** The values of a setting. */
function valuesOf(setting) {
  const { type, form, fieldsOf, items, unit, minItems = 0, maxItems } = setting;
  if (fieldsOf !== undefined) {
    const fields = Object.keys(setting.properties).map((name) => `\`${name}\``);
    return `fields ${fields.join(", ")}, as in [${fieldsOf}](#${anchor(fieldsOf)})`;
  }
  if (setting.anyOf) return setting.anyOf.map(valuesOf).join(", or ");
  if (setting.const !== undefined) return `\`${setting.const}\``;
  if (setting.enum) return setting.enum.map((value) => `\`${value}\``).join(", ");
  if (type === "array") {
    return items.type === "object"
      ? `a list of ${minItems > 0 ? `${minItems} to` : "at most"} ${maxItems} entries`
      : `${minItems > 0 ? "one or more" : "a list"}: ${form ?? valuesOf(items)}`;
  }
  if (type === "boolean") return "`true`, `false`";
  if (type === "string") return form ?? "text";
  const { minimum, maximum } = setting;
  const range = maximum === Number.MAX_SAFE_INTEGER ? `${minimum} or more` : `${minimum} to ${maximum}`;
  return unit === undefined ? range : `${range} ${unit}`;
}

/** What applies if a setting is not given. */
function defaultOf(setting, isRequired) {
  if (isRequired) return "required";
  const { default: value, absent, unit } = setting;
  if (value === undefined) return absent;
  const text = Array.isArray(value) ? `[${value.join(", ")}]` : String(value);
  const hint = readable(value, unit);
  return `\`${text}\`${hint === undefined ? "" : ` (${hint})`}`;
}

const isLive = (setting) => (setting.live ? "yes" : "no");
const anchor = (path) => path.split(".")[0].toLowerCase();
const row = (...cells) => `| ${cells.join(" | ")} |\n`;
const table = (head, rows) => row(...head) + row(...head.map(() => "---")) + rows.join("");

/** The rows of all settings below `path`. */
function rowsOf(setting, path) {
  if (setting.fieldsOf !== undefined) return [];
  if (setting.type === "array") return rowsOf(setting.items, `${path}[]`);
  return Object.entries(setting.properties ?? {}).flatMap(([name, field]) => {
    const isRequired = setting.required?.includes(name);
    const own = `${path}.${name}`;
    // The fields of a group of settings say everything.
    if (field.type === "object" && field.fieldsOf === undefined) return rowsOf(field, own);
    const cells = [field.description, valuesOf(field), defaultOf(field, isRequired), isLive(field)];
    return [row(`\`${own}\``, ...cells), ...rowsOf(field, own)];
  });
}

/** Wraps a paragraph. */
function wrap(paragraph) {
  const lines = [""];
  for (const word of paragraph.split(" ")) {
    const line = `${lines.at(-1)} ${word}`.trim();
    if (line.length <= MAX_LINE) lines[lines.length - 1] = line;
    else lines.push(word);
  }
  return `${lines.join("\n")}\n`;
}

/** Examples of the section. */
function excerptsOf(name, { excerpts, default: value, properties }) {
  if (excerpts !== undefined) return excerpts;
  const fields = Object.entries(properties ?? {}).map(([key, field]) => [key, field.default]);
  return [{ [name]: properties ? Object.fromEntries(fields) : value }];
}

function sectionOf([name, section]) {
  const rows = rowsOf(section, name);
  const { description, absent } = section;
  const isRequired = required.includes(name);
  const nothing = rows.length > 0 && absent !== undefined ? ` Without this section: ${absent}.` : "";
  const itself = table(
    ["values", "default", "live"],
    [row(valuesOf(section), defaultOf(section, isRequired), isLive(section))],
  );
  const fields = table(["setting", "meaning", "values", "default", "live"], rows);
  const tables = section.properties ? [fields] : rows.length > 0 ? [itself, fields] : [itself];
  const excerpts = excerptsOf(name, section).map(
    (excerpt) => `\`\`\`yaml\n${stringify(excerpt, { lineWidth: 0 })}\`\`\`\n`,
  );
  return [`## ${name}\n`, wrap(`${description}${nothing}`), ...tables, ...excerpts].join("\n");
}

function contents([name, { description }]) {
  return `- [${name}](#${anchor(name)}): ${/^.*?[.:](?=\s|$)/.exec(description)[0].replace(/[.:]$/, "")}\n`;
}

const sections = Object.entries(properties);
const text = [INTRODUCTION, sections.map(contents).join(""), ...sections.map(sectionOf)].join("\n");
const path = join(root, FILE);
if (process.argv.includes("--check")) {
  if (readFileSync(path, "utf8") !== text) fail(`${FILE} is stale: run npm run generate.`);
} else {
  writeFileSync(path, text);
  say(`Wrote ${FILE}.`);
}
