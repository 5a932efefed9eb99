import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { PlanStore } from "../../src/app/reshard/planStore.js";
import { recordPlan } from "../../src/app/reshard/recordPlan.js";
import { openSurvey, type Survey } from "../../src/app/store/survey.js";
import { buildPlan } from "../../src/cli/planBuild.js";
import { parseConfig } from "../../src/config/load.js";
import { createLog } from "../../src/ops/log.js";
import { isWithin } from "../../src/reshard/bound.js";
import { LocatorRouter } from "../../src/reshard/locatorRouter.js";
import { SEAT_KEY } from "../../src/reshard/record.js";
import { fingerprint, parseMap } from "../../src/routing/fingerprint.js";
import type { Router } from "../../src/routing/router.js";
import { LeaseRevokeRequest, RangeRequest, RangeResponse } from "../../src/wire/messages.js";
import { KV, Lease } from "../../src/wire/paths.js";
import type { Random } from "../kv/model.js";
import { temporaryFolder } from "../support/braid.js";
import type { EtcdProcess } from "../support/etcd.js";
import type { ProxyProcess } from "../support/store.js";
import type { KeyMove } from "./history.js";
import { pause } from "./recorder.js";

export interface PlannerOptions {
  /** All etcds that may be shards. The first may be the timeline host. */
  readonly etcds: readonly EtcdProcess[];
  /** True if the first etcd is the timeline host, and so stays a shard. */
  readonly isHost: boolean;
  readonly proxies: readonly ProxyProcess[];
  /** Prefixes; each is a group of the default rules. */
  readonly groups: readonly string[];
  readonly keys: readonly string[];
  readonly random: Random;
}

/** What a plan may change in a file. */
interface Target {
  readonly shards: readonly {
    readonly name: string;
    readonly endpoints: readonly string[];
    readonly weight: number;
  }[];
  readonly routing: { readonly rules: readonly object[] };
}

/** Longest time between a plan's end and the next plan, and between a plan's begin and a change of it, in milliseconds. */
const BETWEEN = 600;
const STEER = 1_500;
/** How long a plan may take to end when nothing is killed any more, in milliseconds. */
const PATIENCE = 60_000;
const RATE = 5_000;

/** An operator: applies one random map after the other to a store, and turns some plans back. Knows which keys have moved. */
export class Planner {
  readonly moves: KeyMove[] = [];
  /** What happened, with times. */
  readonly done: string[] = [];
  /** What must never happen. */
  readonly faults: string[] = [];
  /** Newest revision before the first plan. */
  from = Number.POSITIVE_INFINITY;
  /** Plans that ended with a new map. */
  ended = 0;
  turnedBack = 0;
  private readonly folder = temporaryFolder();

  private constructor(
    private readonly options: PlannerOptions,
    private readonly survey: Survey,
    private readonly store: PlanStore,
    /** The map in force, as files have it. */
    private current: Target,
  ) {
    store.timeline.onAdvance(() => this.follow());
    writeFileSync(this.fileInForce, this.fileOf(current));
  }

  static async open(options: PlannerOptions): Promise<Planner> {
    const text = readFileSync(options.proxies[0].configFile, "utf8");
    const { shards, routing } = JSON.parse(text);
    const survey = await openSurvey(parseConfig(text, "test"), undefined, createLog("silent"));
    const current: Target = {
      shards: shards.map((shard: object) => ({ weight: 1, ...shard })),
      routing: routing ?? { rules: [] },
    };
    return new Planner(options, survey, await PlanStore.open(survey), current);
  }

  /** Makes plans until `over`. The last one may be active afterwards. */
  async run(over: () => boolean): Promise<void> {
    while (!over()) {
      await this.plan(this.choose(), over).catch((error) => this.say(`failed: ${error.message ?? error}`));
      await pause(this.options.random.below(BETWEEN));
    }
  }

  /** Makes one plan, and waits for its end. */
  async runOne(): Promise<void> {
    await this.plan(this.choose(), () => false).catch((error) =>
      this.say(`failed: ${error.message ?? error}`),
    );
    await this.settle();
    if (this.faults.length > 0) throw new Error(this.faults.join("\n"));
  }

  /** Where keys are now. */
  get router(): Router {
    return new LocatorRouter(this.store.timeline);
  }

  /** Waits until no plan is active. */
  async settle(): Promise<void> {
    const late = performance.now() + PATIENCE;
    while (await this.isActive()) {
      if (performance.now() > late) {
        const { waiting, phase } = (await this.store.readRecords()).progress ?? {};
        this.faults.push(`the last plan does not end: ${waiting ?? phase}`);
        return;
      }
      await pause(50);
    }
  }

  close(): void {
    this.store.close();
    this.survey.close();
  }

  /** Process id of the proxy that moves keys; undefined if there is none, or it cannot be found out. */
  async mover(): Promise<number | undefined> {
    const seat = this.store.readRecords().then(
      (records) => records.seat?.proxy,
      () => undefined,
    );
    const proxy = await Promise.race([seat, pause(500).then(() => undefined)]);
    const pid = proxy?.slice(proxy.indexOf(":") + 1, proxy.indexOf("/"));
    return pid === undefined ? undefined : Number(pid);
  }

  /** Frees the mover's seat, so that another proxy takes it while the mover may still be at work. */
  async endSeat(): Promise<void> {
    const { host } = this.store;
    const read = async () => {
      const answer = await host.call(KV.Range, RangeRequest.encode({ key: SEAT_KEY }), { idempotent: true });
      const [kv] = RangeResponse.decode(answer).kvs;
      if (kv === undefined) return;
      await host.call(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id: kv.lease }), { idempotent: true });
      this.say("the seat is free");
    };
    await Promise.race([read().catch(() => undefined), pause(500)]);
  }

  /** The etcds that the active plan concerns, or all. */
  concerned(): readonly EtcdProcess[] {
    const { etcds } = this.options;
    const { plan } = this.store.timeline.placement;
    if (plan === undefined) return etcds;
    const [below, above] = [plan.below, plan.above].map((map) =>
      parseMap(map).shards.map(({ name }) => name),
    );
    const joiningOrLeaving = etcds.filter(({ name }) => below.includes(name) !== above.includes(name));
    return joiningOrLeaving.length > 0 ? joiningOrLeaving : etcds;
  }

  private say(what: string): void {
    this.done.push(`${performance.now().toFixed(0)} ms: plans: ${what}`);
  }

  private choose(): Target {
    const { random, etcds, isHost, groups } = this.options;
    const first = random.below(etcds.length);
    const chosen = etcds.filter((_, i) => i === first || (isHost && i === 0) || random.chance(0.5));
    const shards = chosen.map(({ name, endpoint }) => ({
      name,
      endpoints: [endpoint],
      weight: 1 + random.below(3),
    }));
    const pinned = groups.filter(() => random.chance(0.15));
    const rules: object[] = pinned.map((prefix) => ({
      prefix,
      segments: 0,
      shard: random.pick(shards).name,
    }));
    // Now and then one group of all.
    if (random.chance(0.15)) rules.push({ prefix: "/g", segments: 0 });
    return { shards, routing: { rules } };
  }

  private async plan(target: Target, over: () => boolean): Promise<void> {
    const { random } = this.options;
    const text = await this.record(target).catch((error) => {
      this.say(`not recorded: ${error.message ?? error}`);
      return undefined;
    });
    // The outcome may be unknown.
    if (await this.isActive()) this.say(`plan ${this.store.timeline.placement.plans} is active`);
    while ((await this.isActive()) && !over()) {
      await pause(random.below(STEER));
      if (random.chance(0.25)) await this.turnBack();
      else if (random.chance(0.15)) await this.interrupt();
      if (random.chance(0.7)) await this.end(over);
    }
    if (this.store.timeline.placement.plan !== undefined) return;
    this.say(`plan ${this.store.timeline.placement.plans} is done`);
    if (this.store.timeline.placement.inForce !== text) return;
    this.ended++;
    this.current = target;
    this.deploy();
  }

  /** Does what `braid apply --yes` does. Resolves to the text of the map, undefined if it is the one in force. */
  private async record(target: Target): Promise<string | undefined> {
    const config = join(this.folder, "next.yaml");
    writeFileSync(config, this.fileOf(target));
    const built = await buildPlan({ config, current: this.fileInForce }, RATE);
    const { survey, report } = built;
    try {
      const { problems, changes, keys } = report;
      for (const problem of problems)
        if (/of other shards/.test(problem)) this.faults.push(`before a plan: ${problem}`);
      if (problems.length > 0) throw new Error(problems.join("; "));
      if (changes.length === 0) return undefined;
      const { text } = await fingerprint(built.config.map);
      if (this.from === Number.POSITIVE_INFINITY) {
        await this.store.timeline.sync();
        this.from = this.store.timeline.head;
      }
      const names = target.shards.map(({ name, weight }) => `${name}*${weight}`).join(" ");
      this.say(`record ${names}, ${target.routing.rules.length} rules, ${keys?.moving} keys move`);
      const store = await PlanStore.open(survey);
      try {
        await recordPlan(store, {
          survey,
          map: text,
          newShards: built.target.newShards,
          maxKeysPerSecond: null,
          keys: keys?.moving ?? null,
          bytes: keys?.movingBytes ?? null,
        });
      } finally {
        store.close();
      }
      return text;
    } finally {
      survey.close();
    }
  }

  private async turnBack(): Promise<void> {
    const { plan } = this.store.timeline.placement;
    if (plan === undefined) return;
    const next = await this.store.turnBack(plan.number);
    this.turnedBack++;
    this.say(`plan ${plan.number} is turned back as plan ${next}`);
  }

  /** Pauses the plan for a while. */
  private async interrupt(): Promise<void> {
    const { plans } = this.store.timeline.placement;
    this.say(`pause plan ${plans}`);
    await this.store.changeControl(plans, (control) => ({ ...control, paused: true }));
    await pause(this.options.random.below(STEER));
    await this.store.changeControl(plans, (control) => ({ ...control, paused: false }));
  }

  private async end(over: () => boolean): Promise<void> {
    while (!over() && (await this.isActive())) await pause(20);
  }

  /** As of now. Waits for the host. */
  private async isActive(): Promise<boolean> {
    for (;;) {
      try {
        await this.store.timeline.sync();
        return this.store.timeline.placement.plan !== undefined;
      } catch (error) {
        this.say(`the host does not answer: ${(error as Error).message}`);
        await pause(100);
      }
    }
  }

  /** Gives the proxies files with the map in force, for their next start. */
  private deploy(): void {
    for (const { configFile } of this.options.proxies) {
      const file = JSON.parse(readFileSync(configFile, "utf8"));
      writeFileSync(configFile, JSON.stringify({ ...file, ...this.current }));
    }
    writeFileSync(this.fileInForce, this.fileOf(this.current));
  }

  private get fileInForce(): string {
    return join(this.folder, "current.yaml");
  }

  private fileOf(target: Target): string {
    const file = JSON.parse(readFileSync(this.options.proxies[0].configFile, "utf8"));
    return JSON.stringify({ ...file, ...target });
  }

  private follow(): void {
    const { placement, locator } = this.store.timeline;
    const last = this.moves.at(-1)?.revision ?? 0;
    for (const { revision, frozenAt, from, to, source, destination } of placement.moves) {
      if (revision <= last) continue;
      const [before, after] = [source, destination].map((map) => locator.router(map));
      const keys: Record<string, number> = {};
      for (const key of this.options.keys) {
        const bytes = Buffer.from(key, "latin1");
        const shard = after.shardOf(bytes);
        if (!isWithin(bytes, from, to) || before.shardOf(bytes) === shard) continue;
        // The store numbers its shards as they joined.
        keys[key] = this.options.etcds.findIndex(({ name }) => name === placement.shards[shard].name);
      }
      this.moves.push({ revision, frozenAt, keys });
    }
  }
}
