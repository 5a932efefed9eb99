import { connectShards } from "../app/store/store.js";
import type { Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import type { Shard } from "../shard/shard.js";
import { etcd } from "../status/etcd.js";
import { LOG_PREFIX } from "../timeline/keys.js";
import { CompareResult, CompareTarget, TxnRequest } from "../wire/messages.js";
import { KV } from "../wire/paths.js";

/** A transaction gets one more compare or level on its way to a shard. One more is reserve. */
const MORE_OPS = 2;

/** Shards among `answering` whose `--max-txn-ops` is too low for `limits.maxTxnOps`. */
export async function findLimitProblems(config: Config, answering: ReadonlySet<string>): Promise<string[]> {
  if (answering.size === 0) return [];
  const connections = await connectShards(config, createLog("silent")).catch((error: Error) => error);
  if (connections instanceof Error) return []; // reported by other checks
  const { shards, close } = connections;
  try {
    const problems = await Promise.all(
      shards.map(async (shard) => {
        const name = `shard ${shard.name}`;
        if (!answering.has(name)) return [];
        const problem = await findOpsProblem(shard, config).catch(() => undefined);
        return problem === undefined ? [] : [`${name}: ${problem}`];
      }),
    );
    return problems.flat();
  } finally {
    close();
  }
}

/** Says what is wrong if the `--max-txn-ops` of a shard is too low. Rejects if the shard returns another error. */
export async function findOpsProblem(shard: Shard, { limits }: Config): Promise<string | undefined> {
  const needed = limits.maxTxnOps + MORE_OPS;
  const attempt = TxnRequest.encode({ compare: new Array(needed).fill(COMPARE) });
  try {
    await shard.call(KV.Txn, attempt, { idempotent: true });
    return undefined;
  } catch (error) {
    if (!etcd.tooManyOps.is(error)) throw error;
    return `its etcds need --max-txn-ops=${needed} or higher (limits.maxTxnOps and ${MORE_OPS})`;
  }
}

const COMPARE = {
  target: CompareTarget.VERSION,
  result: CompareResult.EQUAL,
  key: LOG_PREFIX,
  version: 0,
};
