import { loadConfig } from "../config/load.js";
import { prefixEnd, printable } from "../routing/bytes.js";
import { createRouter } from "../routing/create.js";
import type { RoutingRule } from "../routing/map.js";
import { CommandError, Exit } from "./exit.js";
import { formatTable } from "./table.js";

export interface RouteOptions {
  config: string;
  /** The keys are prefixes: show the shards of each range. */
  prefix: boolean;
  /** The keys are given as hexadecimal digits. */
  hex: boolean;
}

/** `braid route`: shows where keys, or all keys with a prefix, live. */
export async function route(keys: readonly string[], options: RouteOptions): Promise<number> {
  const config = loadConfig(options.config);
  const router = await createRouter(config.map);
  const name = (shard: number) => config.shards[shard]?.name ?? "";
  const parsed = keys.map((text) => parseKey(text, options));
  const rows = options.prefix
    ? [
        ["PREFIX", "SHARDS"],
        ...parsed.map((key) => [
          quote(key),
          router
            .shardsOf(key.length === 0 ? Uint8Array.of(0) : key, prefixEnd(key) ?? Uint8Array.of(0))
            .map(name)
            .join(" "),
        ]),
      ]
    : [
        ["KEY", "GROUP", "HASH", "SHARD", "RULE"],
        ...parsed.map((key) => {
          const { group, hash, shard, rule } = router.explain(key);
          return [
            quote(key),
            quote(group),
            hash.toString(16).padStart(16, "0"),
            name(shard),
            describeRule(rule),
          ];
        }),
      ];
  process.stdout.write(`${formatTable(rows)}\n`);
  return Exit.ok;
}

function parseKey(text: string, { hex, prefix }: RouteOptions): Uint8Array {
  if (hex && !/^([0-9a-f]{2})*$/i.test(text)) {
    throw new CommandError(Exit.usage, `"${text}" is not an even number of hexadecimal digits`);
  }
  const key = Buffer.from(text, hex ? "hex" : "utf8");
  if (key.length === 0 && !prefix) {
    throw new CommandError(Exit.usage, 'a key must not be empty (the whole keyspace is --prefix "")');
  }
  if (key[0] === 0) {
    throw new CommandError(Exit.usage, `${quote(key)}: keys that begin with a zero byte are reserved`);
  }
  return key;
}

/** How a rule forms groups, in words. */
export function describeRule({ prefix, delimiter, segments, shard }: RoutingRule): string {
  const where = prefix.length === 0 ? "every key" : `prefix ${quote(prefix)}`;
  if (shard !== undefined) return `${where}: pinned`;
  return `${where}: ${segments} segment${segments === 1 ? "" : "s"} by ${quote(Uint8Array.of(delimiter))}`;
}

const quote = (bytes: Uint8Array) => `"${printable(bytes)}"`;
