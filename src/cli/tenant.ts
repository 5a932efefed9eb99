import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { loadConfig } from "../config/load.js";
import type { TenantConfig } from "../config/tenants.js";
import type { Config } from "../config/types.js";
import { printable } from "../routing/bytes.js";
import { Auth } from "../wire/paths.js";
import { CommandError, Exit } from "./exit.js";
import { endpointsOf, ProxyClient, type ProxyOptions } from "./proxyClient.js";
import { formatTable, plural } from "./table.js";
import { TenantFile } from "./tenantFile.js";
import { readUsage } from "./tenantUsage.js";
import {
  missingUser,
  otherPermissions,
  permissionsOf,
  presentUser,
  rolesOf,
  type UserChange,
} from "./tenantUsers.js";

export interface TenantOptions extends ProxyOptions {
  readonly config: string;
  readonly json: boolean;
}

export interface ChangeOptions extends TenantOptions {
  readonly dryRun: boolean;
}

export interface AddOptions extends ChangeOptions {
  readonly prefix: string;
  readonly shard?: string;
  readonly limits?: Readonly<Record<string, number>>;
  readonly mode?: "enforce" | "observe";
  readonly passwordFile?: string;
}

const PASSWORD_BYTES = 18;

/** `braid tenant add`: makes whatever is missing of a tenant: role, user, grant and entry in the file. */
export async function add(name: string, options: AddOptions): Promise<number> {
  const { config: path, prefix, shard, limits = {}, mode, dryRun, json } = options;
  const file = new TenantFile(path);
  const { config } = file;
  if (shard !== undefined && !config.shards.some((each) => each.name === shard)) {
    const names = config.shards.map((each) => each.name).join(", ");
    throw new CommandError(Exit.usage, `there is no shard "${shard}"; the shards are ${names}`);
  }
  if (name === "root" || name === config.auth.own?.user)
    throw new CommandError(Exit.usage, `${name} is a user of the store itself`);
  const given = options.passwordFile === undefined ? undefined : readPassword(options.passwordFile);
  const proxy = await ProxyClient.login(config, options);
  try {
    file.add({ name, prefix, user: proxy && name, mode, limits, shard });
    // Before anything is changed.
    file.checked();
    let password: string | undefined;
    const users = await asking(proxy, async (client) =>
      missingUser(client, name, Buffer.from(prefix), () => {
        password = given ?? randomBytes(PASSWORD_BYTES).toString("base64url");
        return password;
      }),
    );
    const others =
      (await asking(proxy, (client) => otherPermissions(client, name, Buffer.from(prefix)))) ?? 0;
    if (!dryRun) {
      let isAsked = false;
      await carryOut(proxy, users, file, ({ path }) => {
        isAsked ||= path === Auth.UserAdd;
      }).catch((error) => {
        if (!isAsked || given !== undefined) throw error;
        // Repeated, the command would not change it, and nobody could know it.
        const text = `${(error as Error).message}; if the user ${name} exists now, its password is ${password}`;
        throw new CommandError(error instanceof CommandError ? error.code : Exit.failure, text);
      });
    }
    const isPinned = file.changes.some((change) => change.startsWith("add a routing rule"));
    say(json, {
      name,
      prefix,
      user: proxy === undefined ? null : name,
      // A password that was given is not printed.
      password: given === undefined && !dryRun ? (password ?? null) : null,
      endpoints: endpointsOf(config),
      etcdctl: etcdctlLine(config, proxy && name, prefix),
      warnings: [
        ...(others === 0
          ? []
          : [`the role ${name} has ${plural(others, "other permission")}, and so has its user`]),
        ...(proxy === undefined ? [] : overlaps(config.tenants, name, Buffer.from(prefix))),
      ],
      ...reportOf(users, file, path, dryRun),
      next: [
        ...(file.changes.length > 0 ? [reloadAdvice(path)] : []),
        ...(isPinned ? [`put the rule into effect: braid apply --config ${path}`] : []),
      ],
    });
    return Exit.ok;
  } finally {
    proxy?.close();
  }
}

/**
 * `braid tenant remove`: removes user, role and entry. The keys stay. Users and roles that are not those of a tenant of this name stay,
 * too.
 */
export async function remove(name: string, options: ChangeOptions): Promise<number> {
  const { config: path, dryRun, json } = options;
  const file = new TenantFile(path);
  if (name === "root" || name === file.config.auth.own?.user)
    throw new CommandError(Exit.usage, `${name} is a user of the store itself`);
  const tenant = file.config.tenants.find((each) => each.name === name);
  const proxy = await ProxyClient.login(file.config, options);
  try {
    file.remove(name);
    file.checked();
    const present = await asking(proxy, (client) => presentUser(client, name));
    if (tenant === undefined && present !== undefined && present.length > 0)
      throw new CommandError(
        Exit.usage,
        `there is no tenant ${name} in ${path}, so the user or role of this name may be another one; etcdctl can remove it`,
      );
    const isOwn = tenant?.user === name;
    const users = present?.filter(() => isOwn);
    if (!dryRun) await carryOut(proxy, users, file);
    const prefix = tenant?.prefix && printable(tenant.prefix);
    say(json, {
      name,
      prefix: prefix ?? null,
      ...reportOf(users, file, path, dryRun),
      next: [
        ...(file.changes.length > 0 ? [reloadAdvice(path)] : []),
        ...(tenant?.user === undefined || isOwn
          ? []
          : [`its user is still there: etcdctl user delete ${tenant.user}`]),
        ...(prefix === undefined ? [] : [`its keys are still there: etcdctl del --prefix ${quoted(prefix)}`]),
      ],
    });
    return Exit.ok;
  } finally {
    proxy?.close();
  }
}

/** `braid tenant list`: the tenants of the file. */
export function list({ config: path, json }: TenantOptions): number {
  const tenants = loadConfig(path).tenants.map(describe);
  if (json) print(JSON.stringify(tenants, undefined, 2));
  else if (tenants.length === 0) print(`There are no tenants in ${path}.`);
  else {
    const rows = tenants.map(({ name, prefix, user, mode, limits }) => [
      name,
      prefix ?? "-",
      user ?? "-",
      mode,
      limitsText(limits),
    ]);
    print(formatTable([["TENANT", "PREFIX", "USER", "MODE", "LIMITS"], ...rows]));
  }
  return Exit.ok;
}

/** `braid tenant show`: a tenant of the file, its user in the store, and what it uses at one proxy. */
export async function show(name: string, options: TenantOptions): Promise<number> {
  const config = loadConfig(options.config);
  const tenant = config.tenants.find((each) => each.name === name);
  if (tenant === undefined)
    throw new CommandError(Exit.usage, `there is no tenant ${name} in ${options.config}`);
  const proxy = await ProxyClient.login(config, options);
  try {
    const { user } = tenant;
    const roles = await asking(proxy, async (client) =>
      user === undefined ? undefined : rolesOf(client, user),
    );
    const hasRole = await asking(proxy, async (client) => (await permissionsOf(client, name)) !== undefined);
    const usage = await readUsage(config, options, name);
    const described = describe(tenant);
    if (options.json) {
      print(JSON.stringify({ ...described, roles: roles ?? null, usage: usage ?? null }, undefined, 2));
      return Exit.ok;
    }
    const rows = [
      ["prefix", described.prefix ?? "-"],
      ["user", described.user ?? "-"],
      ["mode", described.mode],
      ["limits", limitsText(described.limits)],
    ];
    if (proxy !== undefined) {
      const text = roles === undefined ? "there is no such user" : roles.join(", ");
      rows.push(["roles of the user", text], [`role ${name}`, hasRole ? "exists" : "does not exist"]);
    }
    for (const [what, value] of Object.entries(usage ?? {}))
      rows.push([what.replaceAll("_", " "), String(value)]);
    if (usage === undefined)
      rows.push(["usage", "not known: the proxy does not respond, or has not read the file yet"]);
    print(formatTable(rows));
    return Exit.ok;
  } finally {
    proxy?.close();
  }
}

/** Asks the proxy. Without one, there is nothing to ask. */
async function asking<T>(
  proxy: ProxyClient | undefined,
  ask: (proxy: ProxyClient) => Promise<T>,
): Promise<T | undefined> {
  if (proxy === undefined) return undefined;
  try {
    return await ask(proxy);
  } catch (error) {
    throw proxy.failure(error);
  }
}

/** The users first: what fails can be repeated, and the file is only written when they exist. Calls `begins` before each change. */
async function carryOut(
  proxy: ProxyClient | undefined,
  users: readonly UserChange[] | undefined,
  file: TenantFile,
  begins: (change: UserChange) => void = () => {},
): Promise<void> {
  await asking(proxy, async (client) => {
    for (const change of users ?? []) {
      begins(change);
      await client.call(change.path, change.request);
    }
  });
  file.write();
}

function reportOf(users: readonly UserChange[] | undefined, file: TenantFile, path: string, dryRun: boolean) {
  return {
    authentication: users !== undefined,
    changes: [...(users ?? []).map(({ text }) => text), ...file.changes.map((text) => `${path}: ${text}`)],
    dryRun,
  };
}

interface Report extends ReturnType<typeof reportOf> {
  readonly name: string;
  readonly prefix: string | null;
  readonly user?: string | null;
  readonly password?: string | null;
  readonly endpoints?: readonly string[];
  readonly etcdctl?: string;
  readonly warnings?: readonly string[];
  readonly next: readonly string[];
}

function say(json: boolean, report: Report): void {
  if (json) {
    print(JSON.stringify(report, undefined, 2));
    return;
  }
  const { name, changes, dryRun, authentication, user, password, endpoints, etcdctl, next } = report;
  const { warnings = [] } = report;
  if (changes.length === 0) print(`Nothing to do for tenant ${name}.`);
  else {
    print(dryRun ? "Nothing was changed. Without --dry-run, this would be done:" : "Done:");
    for (const change of changes) print(`  ${change}`);
  }
  for (const warning of warnings) print(`Note: ${warning}.`);
  if (!authentication) print("Authentication is off, so there is no user, and anybody can use these keys.");
  if (endpoints !== undefined) {
    const rows = [["endpoints", endpoints.join(",")]];
    if (user) rows.push(["user", user]);
    if (password) rows.push(["password", `${password} (not shown again)`]);
    rows.push(["try", etcdctl!]);
    print(`\nFor the team:\n${formatTable(rows.map(([what, value]) => [`  ${what}`, value!]))}`);
  }
  if (next.length > 0 && !dryRun) print(`\nNext:\n${next.map((line) => `  ${line}`).join("\n")}`);
}

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

const reloadAdvice = (path: string): string =>
  `give ${path} to all proxies, and send them SIGHUP (systemctl reload etcd-braid)`;

function etcdctlLine(config: Config, user: string | undefined, prefix: string): string {
  const tls = config.tls === undefined ? "" : " --cacert CA.pem";
  const login = user === undefined ? "" : ` --user ${user}`;
  return `etcdctl --endpoints ${endpointsOf(config).join(",")}${tls}${login} put ${quoted(`${prefix}hello`)} world`;
}

/** Whose keys the user may use as well, and who else may use its keys. A prefix without its last slash is easily typed. */
function overlaps(tenants: readonly TenantConfig[], name: string, prefix: Buffer): string[] {
  return tenants.flatMap((other) => {
    if (other.name === name || other.prefix === undefined) return [];
    const text = `tenant ${other.name} (${printable(other.prefix)})`;
    if (prefix.equals(other.prefix.subarray(0, prefix.length)))
      return [`the user ${name} may also read and write the keys of ${text}`];
    if (Buffer.from(other.prefix).equals(prefix.subarray(0, other.prefix.length)))
      return [`the user of ${text} may also read and write the keys of ${name}`];
    return [];
  });
}

/** A word for a shell. */
const quoted = (word: string): string =>
  /^[\w/.:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

function describe({ name, prefix, user, mode, limits }: TenantConfig) {
  return { name, prefix: prefix === undefined ? null : printable(prefix), user: user ?? null, mode, limits };
}

function limitsText({ burstSeconds, ...limits }: TenantConfig["limits"]): string {
  const given = Object.entries(limits).filter(([, value]) => value !== undefined);
  if (given.length === 0) return "none";
  return given.map(([limit, value]) => `${limit}=${value}`).join(" ");
}

function readPassword(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8").replace(/\r?\n$/, "");
  } catch (error) {
    throw new CommandError(Exit.usage, `--password-file: ${(error as Error).message}`);
  }
  if (text === "") throw new CommandError(Exit.usage, `--password-file: ${file} is empty`);
  return text;
}
