import { readCluster, refuseFormerHost } from "../app/store/marks.js";
import { connectShards } from "../app/store/store.js";
import { loadConfig } from "../config/load.js";
import type { Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import { withAdminLock } from "../services/auth/adminLock.js";
import { repairSteps } from "../services/auth/repair.js";
import { readUsers, type Users } from "../services/auth/users.js";
import type { ShardClient } from "../shard/client.js";
import { withDetail } from "../status/error.js";
import { decodeBaseHead } from "../timeline/base.js";
import { markKey } from "../timeline/keys.js";
import { AuthUserAddRequest } from "../wire/messages.js";
import { Auth } from "../wire/paths.js";
import { CommandError, Exit } from "./exit.js";

export interface RepairOptions {
  readonly config: string;
  readonly source?: string;
  readonly fix: boolean;
}

/** `braid auth repair`: shows how the users and roles of the shards differ from one shard's, and makes them the same. */
export async function repair(options: RepairOptions): Promise<number> {
  const config = loadConfig(options.config);
  const source = sourceIndex(config, options);
  const { shards, host, close } = await connectShards(config, createLog("silent"));
  try {
    const all = async () => {
      const { base } = await readCluster(host);
      refuseFormerHost(base && decodeBaseHead(base));
      return repairAll(shards, source, true);
    };
    return await (options.fix ? withAdminLock(host, all) : repairAll(shards, source, false));
  } catch (reason) {
    throw reason instanceof CommandError ? reason : new CommandError(Exit.failure, withDetail(reason));
  } finally {
    close();
  }
}

function sourceIndex(config: Config, { source, fix }: RepairOptions): number {
  if (source === undefined) {
    if (!fix) return 0;
    throw new CommandError(Exit.usage, "name the shard with the right users and roles with --source");
  }
  const index = config.shards.findIndex(({ name }) => name === source);
  if (index >= 0) return index;
  const names = config.shards.map(({ name }) => name).join(", ");
  throw new CommandError(Exit.usage, `there is no shard "${source}"; the shards are ${names}`);
}

async function repairAll(shards: readonly ShardClient[], source: number, fix: boolean): Promise<number> {
  const found = await Promise.all(shards.map(async (shard) => ({ shard, users: await read(shard) })));
  const model = found[source]!;
  let differences = 0;
  const added = new Set<string>();
  for (const { shard, users } of found) {
    const steps = repairSteps(model.users, users);
    differences += steps.length;
    if (steps.length > 0)
      say(
        `changes on shard ${shard.name}${users === model.users ? "" : ` to match shard ${model.shard.name}`}:`,
      );
    for (const step of steps) {
      say(`  ${step.text}`);
      if (!fix) continue;
      await shard.call(step.path, step.request, { idempotent: false });
      if (step.path === Auth.UserAdd) added.add(AuthUserAddRequest.decode(step.request).name);
    }
  }
  if (differences === 0)
    say("All shards have the same users, roles and grants. Passwords cannot be compared.");
  else if (fix) say("Done. All shards have the same users, roles and grants.");
  else say("Nothing was changed. To make these changes, run with --fix --source <shard>.");
  for (const name of added)
    say(`User ${name} cannot log in until its password is set: etcdctl user passwd ${name}`);
  return differences === 0 || fix ? Exit.ok : Exit.failure;
}

async function read(shard: ShardClient): Promise<Users> {
  try {
    const { marks } = await readCluster(shard);
    const [mark] = marks.marks;
    return await readUsers(shard, mark && markKey(mark.store));
  } catch (reason) {
    const { message } = reason as Error;
    const name = `shard "${shard.name}"`;
    throw new CommandError(Exit.failure, message.startsWith(name) ? message : `${name}: ${message}`);
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
