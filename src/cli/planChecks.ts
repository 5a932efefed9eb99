import { type Contradiction, endpointsPath, subjectOf } from "../app/store/contradictions.js";
import { countKeys, FIRST_KEY } from "../app/store/keys.js";
import { connectShards } from "../app/store/store.js";
import type { Survey, SurveyedCluster } from "../app/store/survey.js";
import type { Config } from "../config/types.js";
import { createLog } from "../ops/log.js";
import { compareBytes, printable } from "../routing/bytes.js";
import { repairSteps } from "../services/auth/repair.js";
import { readUsers, type Users } from "../services/auth/users.js";
import { describeShard } from "../shard/name.js";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError, withDetail } from "../status/error.js";
import { MARKS_BEGIN } from "../timeline/keys.js";
import { NO_KEY, TO_LAST_KEY } from "../wire/keyRange.js";
import { LeaseLeasesRequest, LeaseLeasesResponse, RangeRequest, RangeResponse } from "../wire/messages.js";
import { KV, Lease } from "../wire/paths.js";
import { findOpsProblem } from "./limits.js";
import { findProblems, type Probe, probeCluster, quotaOf } from "./probes.js";
import { plural, size } from "./table.js";
import { findUserProblem } from "./users.js";

/** etcd accepts requests that are larger than `--max-request-bytes` by this, in bytes, and then checks the limit for writes. */
const GRPC_OVERHEAD_BYTES = 512 * 1024;
/** A write gets larger on its way to a shard, by less than this, in bytes. */
const MORE_BYTES = 8 * 1024;
/** Bytes of a request around the key that fills it. */
const AROUND_KEY_BYTES = 64;
/** Most differences between users and roles to list. */
const MAX_STEPS = 5;
const READ = { idempotent: true } as const;

/** What is wrong with the new shards of a plan, and what may be. */
export interface NewShardFindings {
  readonly problems: readonly Contradiction[];
  readonly warnings: readonly string[];
}

/** Checks whether clusters can become shards of the store. Writes nothing. */
export async function checkNewShards(
  survey: Survey,
  newShards: readonly SurveyedCluster[],
  config: Config,
): Promise<NewShardFindings> {
  if (newShards.length === 0) return { problems: [], warnings: [] };
  const model = survey.shards.find(({ cluster }) => cluster?.reading !== undefined)?.cluster;
  const users = model && (await readUsers(model.client));
  const quota = await smallestQuota(survey);
  const found = await Promise.all(
    newShards.map(async (cluster) => {
      const checks = new NewShardChecks(cluster, config, hasBeenShard(survey, cluster));
      await checks.run(model && users && { name: model.name, users }, quota);
      return checks;
    }),
  );
  return {
    problems: found.flatMap(({ problems }) => problems),
    warnings: found.flatMap(({ warnings }) => warnings),
  };
}

/**
 * Checks whether the proxies can follow the timeline to a host that is not a shard, with the user and the TLS files of `current`,
 * the file that they run with. Without it, the timeline is on a shard, and they use what the file has for all clusters.
 */
export async function checkNextHost(
  { index, endpoints, reading }: SurveyedCluster,
  config: Config,
  current: Config | undefined,
): Promise<readonly Contradiction[]> {
  if (index >= 0 || reading === undefined) return [];
  const own = current?.timeline.kind === "dedicated" ? current.timeline : undefined;
  const timeline: Config["timeline"] = { ...own, kind: "dedicated", endpoints };
  const { host, close } = await connectShards({ ...(current ?? config), timeline }, createLog("silent"));
  try {
    const problem = await findUserProblem(host);
    if (problem === undefined) return [];
    const text = `the proxies cannot follow the timeline there with the file that they run with: ${problem}`;
    return [{ path: endpointsPath(index), cluster: index, message: `${subjectOf(index, config)}: ${text}` }];
  } finally {
    close();
  }
}

/** Whether the cluster was a shard of the store before. */
function hasBeenShard({ timeline }: Survey, { reading }: SurveyedCluster): boolean {
  if (timeline instanceof StatusError || reading === undefined) return false;
  return timeline.fold.placement.snapshot().shards.some(({ clusterId }) => clusterId === reading.clusterId);
}

class NewShardChecks {
  readonly problems: Contradiction[] = [];
  readonly warnings: string[] = [];

  constructor(
    private readonly cluster: SurveyedCluster,
    private readonly config: Config,
    private readonly isKnown: boolean,
  ) {}

  async run(
    model: { readonly name: string; readonly users: Users } | undefined,
    quota: number | undefined,
  ): Promise<void> {
    const { client } = this.cluster;
    try {
      await this.checkEndpoints(quota);
      await this.checkEmpty(client);
      await this.checkLimits(client);
      if (model !== undefined) await this.checkUsers(client, model.name, model.users);
    } catch (reason) {
      this.add(withDetail(reason).replace(`${describeShard(this.cluster)}: `, ""));
    }
  }

  private add(text: string): void {
    const { index } = this.cluster;
    const message = `${subjectOf(index, this.config)}: ${text}`;
    this.problems.push({ path: endpointsPath(index), cluster: index, message });
  }

  private async checkEndpoints(quota: number | undefined): Promise<void> {
    const { index, endpoints, config } = this.cluster;
    const name = subjectOf(index, config);
    const probes = await probeCluster({ name, endpoints, index }, config);
    const isBroken = ({ answer, error }: Probe) => answer === undefined && error !== undefined;
    for (const { endpoint, error } of probes.filter(isBroken)) this.add(`${endpoint}: ${error}`);
    this.warnings.push(...findProblems(probes.filter((each) => !isBroken(each))));
    for (const text of new Set(probes.flatMap(({ answer }) => answer?.errors ?? []))) this.add(text);
    const own = quotaOf(probes);
    if (own !== undefined && quota !== undefined && own < quota) {
      this.warnings.push(`${name}: its quota is ${size(own)}, less than the ${size(quota)} of other shards`);
    }
  }

  /**
   * A new shard may have marks of its store, and nothing else. One that was a shard before may also have keys of the proxies, such
   * as an old timeline, and parts of leases: the mover ends them.
   */
  private async checkEmpty(client: Shard): Promise<void> {
    const keys = await countKeys(client, 0);
    if (keys > 0) {
      const request = { key: FIRST_KEY, rangeEnd: TO_LAST_KEY, limit: 1, keysOnly: true };
      const [first] = await rangeOf(client, request);
      const example = first && ` (the first is "${printable(first.key)}")`;
      this.add(
        `it is not empty: it holds ${plural(keys, "key")}${example ?? ""}; begin with an empty cluster`,
      );
    }
    if (this.isKnown) return;
    const reserved = await rangeOf(client, { key: NO_KEY, rangeEnd: FIRST_KEY, keysOnly: true });
    const others = reserved.filter(({ key }) => !isMark(key));
    if (others.length > 0) this.add("it is not empty: it holds keys of proxies; begin with an empty cluster");
    const answer = await client.call(Lease.LeaseLeases, LeaseLeasesRequest.encode({}), READ);
    const { leases } = LeaseLeasesResponse.decode(answer);
    if (leases.length > 0)
      this.add(`it is not empty: it holds ${plural(leases.length, "lease")}; begin with an empty cluster`);
  }

  /** Compares the cluster's limits with the configuration's, by requests that read and are as large as possible. */
  private async checkLimits(client: Shard): Promise<void> {
    const problem = await findOpsProblem(client, this.config);
    if (problem !== undefined) this.add(problem);
    const bytes = this.config.limits.maxRequestBytes + MORE_BYTES;
    if (!(await acceptsBytes(client, bytes))) {
      this.add(`its etcds need --max-request-bytes=${bytes} or higher (limits.maxRequestBytes and 8 KiB)`);
    }
  }

  private async checkUsers(client: Shard, name: string, expected: Users): Promise<void> {
    const users = await readUsers(client);
    if (users.enabled !== expected.enabled) {
      const [here, there] = expected.enabled ? ["off", "on"] : ["on", "off"];
      this.add(`authentication is ${here}, but shard "${name}" has it ${there}`);
    }
    const steps = repairSteps({ ...expected, enabled: false }, { ...users, enabled: false });
    if (steps.length === 0) return;
    const texts = steps.slice(0, MAX_STEPS).map(({ text }) => text);
    const more = steps.length > MAX_STEPS ? `, and ${steps.length - MAX_STEPS} more` : "";
    this.add(
      `its users and roles differ from those of shard "${name}". To make them equal: ${texts.join(", ")}${more}. ` +
        `\`braid auth repair --fix --source ${name}\` does this`,
    );
  }
}

const isMark = (key: Uint8Array): boolean =>
  compareBytes(key.subarray(0, MARKS_BEGIN.length), MARKS_BEGIN) === 0;

async function rangeOf(client: Shard, request: Parameters<typeof RangeRequest.encode>[0]) {
  const answer = await client.call(KV.Range, RangeRequest.encode(request), READ);
  return RangeResponse.decode(answer).kvs;
}

/** Whether a write may have that many bytes. */
async function acceptsBytes(client: Shard, bytes: number): Promise<boolean> {
  const key = new Uint8Array(bytes + GRPC_OVERHEAD_BYTES - AROUND_KEY_BYTES).fill(1);
  return client.call(KV.Range, RangeRequest.encode({ key, countOnly: true, serializable: true }), READ).then(
    () => true,
    (reason) => {
      if (StatusError.from(reason).code === Code.RESOURCE_EXHAUSTED) return false;
      throw reason;
    },
  );
}

/** The smallest quota of the shards in force, in bytes; undefined if none is known. */
async function smallestQuota({ shards }: Survey): Promise<number | undefined> {
  const quotas = await Promise.all(
    shards.map(async ({ cluster }) => {
      if (cluster === undefined || cluster.index < 0) return undefined;
      return quotaOf(await probeCluster(cluster, cluster.config));
    }),
  );
  const known = quotas.filter((quota) => quota !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
