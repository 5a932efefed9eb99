import { type Command, InvalidArgumentError } from "commander";
import { CONFIG, EXIT_CODES, type Finish } from "./programParts.js";
import type { AddOptions, ChangeOptions, TenantOptions } from "./tenant.js";

/** Adds the options with which a command finds a running proxy. */
const withProxy = (command: Command): Command =>
  command
    .option("--endpoint <address>", "a running proxy (default: the first listen address)")
    .option("--cacert <file>", "certificate authorities of a proxy with TLS")
    .option("--cert <file>", "client certificate, for a proxy with tls.clientCaFile")
    .option("--key <file>", "key of the client certificate")
    .option("--json", "print JSON", false);

/** The commands for teams that share a store. */
export function addTenants(program: Command, finish: Finish): void {
  const tenant = program
    .command("tenant")
    .description("teams that share the store: their users, and their limits")
    .helpCommand(false)
    .addHelpText(
      "after",
      `
Examples:
  braid tenant add shop --prefix /shop/ --limits putsPerSecond=100,watches=200 --config /etc/braid/shards.yaml
  braid tenant list
  braid tenant show shop
  braid tenant remove shop
${EXIT_CODES}`,
    );

  withProxy(
    tenant
      .command("add")
      .description("make what is missing of a tenant: role, user, grant, and its entry in the configuration")
      .argument("<name>", "name of the tenant, and of its role and user")
      .requiredOption("-p, --prefix <text>", "the tenant's keys begin with this")
      .option("-s, --shard <name>", "keep all of these keys on one shard: adds a routing rule")
      .option("-l, --limits <limits>", "such as putsPerSecond=100,watches=200", parseLimits)
      .option("--mode <mode>", "enforce the limits, or only observe what exceeds them", parseMode)
      .option("--password-file <file>", "password of a new user (default: a random one, printed once)")
      .option("--dry-run", "show what would be done", false)
      .option(...CONFIG),
  )
    .addHelpText(
      "after",
      `
Where the store has authentication on, asks a running proxy, as the proxies' own user, to make a role that may read and
write below the prefix, and a user with it, on all shards. Then writes the tenant into the configuration, which keeps its
comments. What exists already stays as it is, so the command can be repeated, also to change limits. The password of a
user that exists is not changed.

Give the file to all proxies, and send them SIGHUP. With --shard, also run \`braid apply\`, which moves the keys.

Examples:
  braid tenant add shop --prefix /shop/ --dry-run
  braid tenant add shop --prefix /shop/ --limits putsPerSecond=100,rangesPerSecond=500,maxValueBytes=65536
  braid tenant add shop --prefix /shop/ --limits putsPerSecond=200 --mode observe
${EXIT_CODES}`,
    )
    .action(async (name: string, options: AddOptions) => {
      const { add } = await import("./tenant.js");
      finish(await add(name, options));
    });

  withProxy(
    tenant
      .command("remove")
      .description("remove a tenant's user, role and entry in the configuration; its keys stay")
      .argument("<name>", "name of the tenant")
      .option("--dry-run", "show what would be done", false)
      .option(...CONFIG),
  )
    .addHelpText("after", `\nExample:\n  braid tenant remove shop\n${EXIT_CODES}`)
    .action(async (name: string, options: ChangeOptions) => {
      const { remove } = await import("./tenant.js");
      finish(await remove(name, options));
    });

  tenant
    .command("list")
    .description("list the tenants of the configuration")
    .option("--json", "print JSON", false)
    .option(...CONFIG)
    .addHelpText(
      "after",
      `\nOnly reads the configuration file.\n\nExample:\n  braid tenant list\n${EXIT_CODES}`,
    )
    .action(async (options: TenantOptions) => {
      const { list } = await import("./tenant.js");
      finish(list(options));
    });

  withProxy(
    tenant
      .command("show")
      .description("show a tenant, its user, and what it uses at one proxy")
      .argument("<name>", "name of the tenant")
      .option(...CONFIG),
  )
    .addHelpText(
      "after",
      `
The usage is that of the proxy at metrics.listen, or at the first listen address, since it started.

Example:
  braid tenant show shop
${EXIT_CODES}`,
    )
    .action(async (name: string, options: TenantOptions) => {
      const { show } = await import("./tenant.js");
      finish(await show(name, options));
    });
}

/** `putsPerSecond=100,watches=200` as an object. The configuration's schema checks names and ranges. */
function parseLimits(text: string, before: Readonly<Record<string, number>> = {}): Record<string, number> {
  const limits: Record<string, number> = { ...before };
  for (const part of text.split(",")) {
    const [, name, value] = /^([A-Za-z]+)=(\d+(?:\.\d+)?)$/.exec(part.trim()) ?? [];
    if (name === undefined) throw new InvalidArgumentError("It must be like putsPerSecond=100,watches=200.");
    limits[name] = Number(value);
  }
  return limits;
}

function parseMode(text: string): "enforce" | "observe" {
  if (text !== "enforce" && text !== "observe")
    throw new InvalidArgumentError("It must be enforce or observe.");
  return text;
}
