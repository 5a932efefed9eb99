import { fieldAt } from "../config/problems.js";
import { schema } from "../config/schema.js";
import type { Config } from "../config/types.js";

/** The result of a reload: names of settings as in the file, never values. */
export interface Reloaded {
  readonly applied: readonly string[];
  /** Changed settings that take effect only after a restart. */
  readonly needsRestart: readonly string[];
}

type Section = Record<string, unknown>;

/** The configuration in effect: that of the start, with the live settings of later reloads. */
export class Settings {
  readonly config: Config;

  constructor(config: Config) {
    const copy = Object.entries(config).map(([name, value]) => [
      name,
      isSection(value) ? { ...value } : value,
    ]);
    this.config = Object.fromEntries(copy);
  }

  /** Applies live settings. All others keep their old values, and are reported again at the next reload. */
  reload(next: Config): Reloaded {
    const applied: string[] = [];
    const needsRestart: string[] = [];
    for (const path of differences(this.config, next)) {
      if (!isLive(path)) {
        needsRestart.push(path);
        continue;
      }
      const [section, key] = path.split(".") as [keyof Config, string | undefined];
      if (key === undefined) (this.config as unknown as Section)[section] = next[section];
      else (this.config[section] as unknown as Section)[key] = (next[section] as unknown as Section)[key];
      applied.push(path);
    }
    return { applied, needsRestart };
  }
}

/** True if a setting such as `limits.maxTxnOps` can change at run time, according to the schema. */
function isLive(path: string): boolean {
  return fieldAt(schema, path.split("."))?.meta()?.live === true;
}

/** Names of the settings in which two configurations differ: `listen`, `limits.maxTxnOps`. */
function differences(before: Config, after: Config): string[] {
  return (Object.keys(after) as (keyof Config)[]).flatMap((name) => {
    const [a, b]: [unknown, unknown] = [before[name], after[name]];
    if (same(a, b)) return [];
    // Changes to the shards' names and weights are reported as `shards`.
    if (name === "map") return same(before.map.rules, after.map.rules) ? [] : ["routing"];
    if (!isSection(a) || !isSection(b) || name === "timeline") return [name];
    return Object.keys({ ...a, ...b })
      .filter((key) => !same(a[key], b[key]))
      .map((key) => `${name}.${key}`);
  });
}

function isSection(value: unknown): value is Section {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
