import type { Accounts } from "../accounts/accounts.js";
import { Session } from "../auth/session.js";
import { version } from "../ops/package.js";
import { progressOf } from "../reshard/progress.js";
import type { Control, ProgressRecord, Seat } from "../reshard/record.js";
import type { Hasher } from "../routing/hash.js";
import type { Backend } from "../services/maintenance.js";
import type { Probes } from "../services/probes.js";
import { StatusError } from "../status/error.js";
import { encodeBytes } from "./bytes.js";
import type { Viewer } from "./gate.js";
import { keyReport, pastVersions, versionAt } from "./keyDetail.js";
import { keyPage } from "./keyTree.js";
import { type MemberState, Members } from "./members.js";
import { overviewOf } from "./overview.js";
import { type Placed, Places } from "./place.js";
import { concerns, readableRanges } from "./readable.js";
import type {
  GroupsReport,
  KeyPage,
  KeyReport,
  Overview,
  PlansReport,
  ReadableRange,
  VersionReport,
  VersionsReport,
  WatchesReport,
} from "./report.js";
import { RequestError } from "./requestError.js";
import { Sampler } from "./sampler.js";
import { type WatchSources, watchesReport } from "./watches.js";

/** What the reports are made of. */
export interface Sources {
  /** The store's id. */
  readonly store: bigint;
  readonly hasher: Hasher;
  readonly timeline: Placed & { readonly head: number };
  /** The timeline host. Its name is the one in the metrics. */
  readonly host: { readonly name: string };
  /** Names of clusters by index, as in the metrics. */
  nameOf(index: number): string;
  backends(): readonly Backend[];
  readonly probes: Pick<Probes, "alarms">;
  readonly watch: Pick<WatchSources, "sessions" | "hub">;
  /** The metrics of all workers in Prometheus' text format. */
  metricsText(): Promise<string>;
  /** What the timeline host records about plans. */
  readPlanRecords(): Promise<{
    readonly control: Control | undefined;
    readonly seat: Seat | undefined;
    readonly progress: ProgressRecord | undefined;
  }>;
  readonly accounts: Pick<Accounts, "countedAt" | "groups" | "shard">;
  /** Called when the metrics cannot be read. */
  failed(reason: unknown): void;
}

/** Age at which alarms are asked for again, in milliseconds. */
const ALARMS_AGE_MS = 5_000;
/** Most groups in a report. */
const MAX_GROUPS = 200;

/** Makes the console's reports. What a user may not see is left out, or refused with a `RequestError`. */
export class Reports {
  private readonly sampler: Sampler;
  private readonly members: Members;
  private readonly places: Places;
  private alarms: { readonly at: number; readonly of: ReadonlyMap<string, readonly string[]> } | undefined;

  constructor(private readonly sources: Sources) {
    this.sampler = new Sampler(sources.metricsText, sources.failed);
    this.members = new Members(sources.backends);
    this.places = new Places(sources.timeline, sources.hasher);
  }

  stop(): void {
    this.sampler.stop();
    this.members.close();
  }

  /** `since` limits the history, in milliseconds since the epoch. */
  async overview(viewer: Viewer, since: number): Promise<Overview> {
    const [withAddresses, members, alarms] = await Promise.all([
      viewer.isOperator(),
      this.members.look(),
      this.currentAlarms(),
      this.sampler.look(),
    ]);
    const { samples } = this.sampler;
    if (samples.newest === undefined) throw new RequestError(503, "the metrics cannot be read at the moment");
    const { store, host } = this.sources;
    const named = new Map(
      [...members].map(([index, states]) => [this.sources.nameOf(index), visible(states, withAddresses)]),
    );
    return overviewOf(
      samples,
      { store: store.toString(16), host: host.name, members: named, alarms, withAddresses, version },
      since,
    );
  }

  keys(
    viewer: Viewer,
    prefix: Uint8Array,
    from: Uint8Array | undefined,
    delimiter: number,
  ): Promise<KeyPage> {
    return keyPage(viewer.calls, prefix, from, delimiter);
  }

  async readable({ user, calls }: Viewer): Promise<readonly ReadableRange[] | null> {
    return user === undefined ? null : readableRanges(calls, user);
  }

  key({ calls }: Viewer, key: Uint8Array, whole: boolean): Promise<KeyReport> {
    return keyReport(calls, key, whole, this.places.explain(key));
  }

  versions({ calls }: Viewer, key: Uint8Array, before: number): Promise<VersionsReport> {
    return pastVersions(calls, key, before);
  }

  version({ calls }: Viewer, key: Uint8Array, revision: number): Promise<VersionReport | null> {
    return versionAt(calls, key, revision);
  }

  async watches(viewer: Viewer): Promise<WatchesReport> {
    await operatorsOnly(viewer);
    const { timeline, watch } = this.sources;
    return watchesReport({
      ...watch,
      timeline,
      userOf: ({ caller }) => (caller instanceof Session ? caller.credentials.user : undefined),
      workers: this.workers,
    });
  }

  private get workers(): number {
    return Math.max(1, this.sampler.samples.newest?.value("braid_workers") ?? 1);
  }

  async plans(viewer: Viewer): Promise<PlansReport> {
    await operatorsOnly(viewer);
    const { plan, plans } = this.sources.timeline.placement;
    if (plan === undefined) return { plan: null, plans, problem: null };
    const none = { control: undefined, seat: undefined, progress: undefined };
    let problem: string | null = null;
    const records = await this.sources.readPlanRecords().catch((reason) => {
      problem = StatusError.from(reason).message;
      return none;
    });
    const { plan: number, ...progress } = progressOf(plan, records);
    return { plan: { ...progress, number, changes: this.places.changes }, plans, problem };
  }

  async groups(viewer: Viewer): Promise<GroupsReport> {
    const { accounts } = this.sources;
    const { map } = this.places;
    const shown = (await viewer.isOperator()) ? accounts : undefined;
    // A prefix says who else uses the store. While no shard can tell what the user may read, it is nothing.
    const ranges = shown === undefined ? ((await this.readable(viewer).catch(() => [])) ?? []) : [];
    const rules = this.places.rules((prefix) => shown !== undefined || concerns(ranges, prefix));
    return {
      shards: map.shards.map(({ name, weight }) => {
        const { keys, bytes } = shown?.shard(name) ?? { keys: null, bytes: null };
        return { name, weight, keys, bytes };
      }),
      rules,
      groups: shown?.groups(MAX_GROUPS).map((each) => ({ ...each, group: encodeBytes(each.group) })) ?? null,
      countedAt: shown?.countedAt ?? null,
      workers: this.workers,
    };
  }

  private async currentAlarms(): Promise<ReadonlyMap<string, readonly string[]>> {
    const now = performance.now();
    if (this.alarms !== undefined && now - this.alarms.at < ALARMS_AGE_MS) return this.alarms.of;
    const of = new Map<string, string[]>();
    for (const { alarm, where } of await this.sources.probes.alarms()) {
      const name = /^shard "(.*)"$/.exec(where)?.[1] ?? this.sources.host.name;
      of.set(name, [...new Set([...(of.get(name) ?? []), alarm])]);
    }
    this.alarms = { at: now, of };
    return of;
  }
}

/** A problem's text can have an address in it. */
const visible = (states: readonly MemberState[], withAddresses: boolean): readonly MemberState[] =>
  withAddresses
    ? states
    : states.map((each) => ({
        ...each,
        problems: each.problems.length === 0 ? [] : ["it reports a problem"],
      }));

async function operatorsOnly(viewer: Viewer): Promise<void> {
  if (!(await viewer.isOperator()))
    throw new RequestError(403, "only users with the role root may see this page");
}
