import {
  chmodSync,
  chownSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { type Document, isMap, isSeq, YAMLSeq } from "yaml";
import { loadConfig, parseConfig } from "../config/load.js";
import type { Config } from "../config/types.js";
import { readYaml } from "../config/yaml.js";
import { CommandError, Exit } from "./exit.js";

/** What `braid tenant add` writes about a tenant. */
export interface TenantFields {
  readonly name: string;
  readonly prefix: string;
  readonly user: string | undefined;
  /** Undefined: as it is, or `enforce`. */
  readonly mode: "enforce" | "observe" | undefined;
  /** Those to set. Others stay as they are. */
  readonly limits: Readonly<Record<string, number>>;
  /** The shard that the keys are pinned to. */
  readonly shard: string | undefined;
}

/** A configuration file whose tenants are changed. Comments, order and the style of values stay. */
export class TenantFile {
  private readonly before: string;
  private readonly document: Document;
  /** Of the file as it is. */
  readonly config: Config;
  /** What was changed, for people. */
  readonly changes: string[] = [];

  /** Throws `ConfigError` if the file is not valid. */
  constructor(private readonly path: string) {
    this.config = loadConfig(path);
    this.before = readFileSync(path, "utf8");
    this.document = readYaml(this.before, path).document;
  }

  /** Adds a tenant, or changes the one with its name. */
  add({ name, prefix, user, mode, limits, shard }: TenantFields): void {
    const known = this.config.tenants.find((tenant) => tenant.name === name);
    if (known !== undefined && !Buffer.from(prefix).equals(known.prefix ?? Buffer.alloc(0)))
      throw new CommandError(
        Exit.usage,
        `tenant ${name} has another prefix in ${this.path}; remove it first`,
      );
    const index = known === undefined ? -1 : this.config.tenants.indexOf(known);
    if (index < 0) {
      const given = Object.keys(limits).length > 0;
      const entry = { name, prefix, ...(user && { user }), ...(mode && { mode }), ...(given && { limits }) };
      this.listAt(["tenants"]).add(this.document.createNode(entry));
      this.changes.push(`add tenant ${name}`);
    } else {
      const set = (path: string[], value: unknown, text: string) => {
        if (this.document.getIn(["tenants", index, ...path]) === value) return;
        this.document.setIn(["tenants", index, ...path], value);
        this.changes.push(`set ${text} of tenant ${name}`);
      };
      if (user !== undefined) set(["user"], user, `user ${user}`);
      if (mode !== undefined) set(["mode"], mode, `mode ${mode}`);
      for (const [limit, value] of Object.entries(limits)) set(["limits", limit], value, `${limit} ${value}`);
    }
    if (shard !== undefined) this.pin(prefix, shard);
  }

  private pin(prefix: string, shard: string): void {
    const rule = this.config.map.rules.find((each) => Buffer.from(prefix).equals(each.prefix));
    if (rule?.shard === shard) return;
    if (rule !== undefined) {
      const where = rule.shard === undefined ? "no shard" : `shard ${rule.shard}`;
      const text = `${this.path} has a rule for ${prefix} with ${where}; change it there, then run \`braid plan\``;
      throw new CommandError(Exit.usage, text);
    }
    this.listAt(["routing", "rules"]).add(this.document.createNode({ prefix, shard }));
    this.changes.push(`add a routing rule: ${prefix} on shard ${shard}`);
  }

  /** Removes a tenant, if there is one. */
  remove(name: string): void {
    const index = this.config.tenants.findIndex((tenant) => tenant.name === name);
    if (index < 0) return;
    if (this.config.tenants.length === 1) this.document.delete("tenants");
    else this.document.deleteIn(["tenants", index]);
    this.changes.push(`remove tenant ${name}`);
  }

  /** The list at a path, which is made if there is none. */
  private listAt(path: readonly string[]): YAMLSeq {
    const { document } = this;
    const known = document.getIn(path);
    if (isSeq(known)) return known;
    // A section without a value counts as not given.
    const [section] = path;
    if (path.length > 1 && !isMap(document.get(section!, true)))
      document.set(section!, document.createNode({}));
    const list = new YAMLSeq();
    document.setIn(path, list);
    return list;
  }

  /**
   * Writes the file if it has changed. It is replaced at once, so that a proxy never reads half of it. Throws `ConfigError`, and
   * leaves the file as it is, if the result would not be valid.
   */
  write(): void {
    const text = this.checked();
    if (text === undefined) return;
    const path = realpathSync(this.path);
    const temporary = `${path}.${process.pid}.new`;
    try {
      if (readFileSync(path, "utf8") !== this.before)
        throw new Error("somebody else has changed it meanwhile; try again");
      writeFileSync(temporary, text, { mode: 0o600 });
      // The owner too: the proxy may run as another user than this command.
      const { mode, uid, gid } = statSync(path);
      chownSync(temporary, uid, gid);
      chmodSync(temporary, mode);
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw new CommandError(Exit.failure, `${this.path} cannot be written: ${(error as Error).message}`);
    }
  }

  /** The new text; undefined if nothing has changed. Throws `ConfigError` if it is not a valid configuration. */
  checked(): string | undefined {
    if (this.changes.length === 0) return undefined;
    // As the file's lists are written so far.
    const indentSeq = !/^[A-Za-z]+:[^\S\n]*\n(?:[^\S\n]*#.*\n)*- /m.test(this.before);
    const flowCollectionPadding = !/[[{][^\s\]}]/.test(this.before);
    const text = this.document.toString({ lineWidth: 0, indentSeq, flowCollectionPadding });
    parseConfig(text, this.path);
    return text;
  }
}
