import { closeSync, openSync, readSync } from "node:fs";
import { type Document, isMap, isNode, isScalar, type LineCounter } from "yaml";
import { ConfigError, type Problem } from "./error.js";
import { check, type Finding, formatPath, type Path } from "./problems.js";
import { resolve } from "./resolve.js";
import { schema } from "./schema.js";
import type { Config } from "./types.js";
import { MAX_BYTES, readYaml } from "./yaml.js";

/** Reads and checks a configuration file. Throws `ConfigError`, also if the file cannot be read. */
export function loadConfig(path: string): Config {
  let text: string;
  try {
    text = readStart(path);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const message =
      code === "ENOENT" ? "there is no such file" : `cannot be read: ${(cause as Error).message}`;
    throw new ConfigError(path, [{ path: "", line: undefined, message }], { cause });
  }
  return parseConfig(text, path);
}

/** Reads the file, up to one byte more than `MAX_BYTES`: then it is too long. */
function readStart(path: string): string {
  const file = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(MAX_BYTES + 1);
    let size = 0;
    for (let read = -1; read !== 0 && size < bytes.length; size += read) {
      read = readSync(file, bytes, size, bytes.length - size, null);
    }
    return bytes.toString("utf8", 0, size);
  } finally {
    closeSync(file);
  }
}

/** Checks a configuration given as YAML. `source` names it in errors. Throws `ConfigError` with all problems. */
export function parseConfig(text: string, source: string): Config {
  const { document, lines } = readYaml(text, source);
  const fail = (findings: readonly Finding[]): never => {
    const problems = findings.map((finding) => locate(finding, document, lines));
    // In the order of the file; problems without a line come last.
    const place = ({ line }: Problem) => line ?? Number.MAX_SAFE_INTEGER;
    throw new ConfigError(
      source,
      problems.sort((a, b) => place(a) - place(b)),
    );
  };
  const checked = check(schema, plainData(document));
  if ("findings" in checked) return fail(checked.findings);
  const findings: Finding[] = [];
  const config = resolve(checked.value, findings);
  return findings.length > 0 ? fail(findings) : config;
}

/** Returns a function that locates a setting in a valid file: `shards.yaml:12`, or only the file if there is no line. */
export function placesIn(file: string): (path: Path) => string {
  const { document, lines } = readYaml(readStart(file), file);
  return (path) => {
    // For a setting that is not given, the line of `shards`, which is always there.
    const offset = offsetOf(path, document) ?? offsetOf(["shards"], document);
    return offset === undefined ? file : `${file}:${lines.linePos(offset).line}`;
  };
}

/** The document as plain data. A field without a value (such as `rules:`) counts as not given. */
function plainData(document: Document): unknown {
  // `readYaml` has already limited how far aliases multiply.
  const options = { maxAliasCount: -1, reviver: (_key: unknown, value: unknown) => value ?? undefined };
  return document.toJS(options) ?? {};
}

function locate({ path, message }: Finding, document: Document, lines: LineCounter): Problem {
  const offset = offsetOf(path, document);
  const line = offset === undefined ? undefined : lines.linePos(offset).line;
  return { path: formatPath(path), line, message };
}

/** Offset of the field in the text; for a field that is not given, the offset of the nearest enclosing field. */
function offsetOf(path: Path, document: Document): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const parent = document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    const pair = isMap(parent)
      ? parent.items.find(({ key }) => (isScalar(key) ? key.value === last : false))
      : undefined;
    const node = pair ? pair.key : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return undefined;
}
