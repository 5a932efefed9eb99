import type { Random } from "../kv/model.js";
import type { Answer, Compare, Op, Outcome, Range, Step } from "./history.js";
import { pause, type Recorder } from "./recorder.js";

/** What all clients of a run share. */
export interface Scene {
  /** Prefixes with a slash at the end; each is a routing group, and so on one shard. */
  readonly groups: readonly string[];
  /** A group that is only read. */
  readonly quiet: string;
  readonly over: () => boolean;
  /** The newest revision that a compaction was asked for. */
  readonly compacted: () => number;
}

/** The last one is for leases alone: what everybody writes would not keep its lease for long. */
const KEYS_PER_GROUP = 4;
/** Longest pause between two calls of a client, ms. */
const MAX_PAUSE = 12;
/** etcd gives no lease less than its election timeout allows, about 2 s. */
const TTL = 3;
/** How long a client uses a lease at most, ms. */
const LEASE_USE = 4_000;
/** How far back old revisions are read. */
const REACH = 200;

export const WHOLE = { key: "\0", end: "\0" };
export const groupRange = (group: string) => ({ key: group, end: `${group.slice(0, -1)}0` });
export const keysOf = (group: string): string[] =>
  Array.from({ length: KEYS_PER_GROUP }, (_, i) => `${group}k${i}`);

/** A client that does one random thing after the other. */
export class Worker {
  private written = 0;
  private newest = 1;
  private lease: { id: string; until: number } | undefined;
  private readonly actions: readonly (readonly [weight: number, act: () => Promise<unknown>])[];

  constructor(
    private readonly recorder: Recorder,
    private readonly random: Random,
    private readonly scene: Scene,
  ) {
    this.actions = [
      [30, () => this.call(this.put(this.key()))],
      [16, () => this.call(this.get(this.key()))],
      [6, () => this.call(this.range(groupRange(this.group())))],
      [6, () => this.call(this.range(WHOLE))],
      [3, () => this.list()],
      [12, () => this.swap()],
      [5, () => this.snapshot()],
      [4, () => this.mixed()],
      [5, () => this.call({ kind: "delete", key: this.key(), end: "" })],
      [2, () => this.call({ kind: "delete", ...groupRange(this.group()) })],
      [5, () => this.old()],
      [3, () => this.call({ ...this.range(groupRange(this.group())), serializable: true })],
      [2, () => this.refused()],
      [9, () => this.leased()],
    ];
  }

  async run(): Promise<void> {
    const total = this.actions.reduce((sum, [weight]) => sum + weight, 0);
    while (!this.scene.over()) {
      let left = this.random.below(total);
      const [, act] = this.actions.find(([weight]) => {
        left -= weight;
        return left < 0;
      })!;
      await act();
      await pause(this.random.below(MAX_PAUSE));
    }
  }

  /** Only reads the group that nobody writes to. */
  async watchQuiet(): Promise<void> {
    const { scene, random } = this;
    const key = keysOf(scene.quiet)[0];
    const looks: readonly Op[] = [
      this.get(key),
      this.range(groupRange(scene.quiet)),
      { kind: "delete", key, end: "" },
      { kind: "txn", compares: [], success: [this.get(key)], failure: [] },
    ];
    while (!scene.over()) {
      await this.call(random.pick(looks));
      await pause(random.below(MAX_PAUSE));
    }
  }

  private async call(op: Op): Promise<Answer | undefined> {
    return answerOf(await this.ask(op));
  }

  private async ask(op: Op): Promise<Outcome> {
    const outcome = await this.recorder.call(op);
    if (outcome.kind === "answered") this.newest = Math.max(this.newest, outcome.revision);
    return outcome;
  }

  private group(): string {
    return this.random.pick(this.scene.groups);
  }

  private key(): string {
    return this.random.pick(keysOf(this.group()).slice(0, -1));
  }

  private leasedKey(): string {
    return this.random.chance(0.7) ? keysOf(this.group())[KEYS_PER_GROUP - 1] : this.key();
  }

  private put(key: string, lease = "0"): Step {
    return { kind: "put", key, value: `${this.recorder.name}.${this.written++}`, lease };
  }

  private get(key: string): Range {
    return this.range({ key, end: "" });
  }

  private range(extent: { key: string; end: string }): Range {
    const limit = extent.end !== "" && this.random.chance(0.3) ? 1 + this.random.below(5) : 0;
    return { kind: "range", ...extent, revision: 0, limit, serializable: false };
  }

  /** The whole store, page by page, at the first page's revision. */
  private async list(): Promise<void> {
    let key = WHOLE.key;
    let revision = 0;
    for (;;) {
      const page: Range = { kind: "range", key, end: "\0", revision, limit: 6, serializable: false };
      const outcome = await this.ask(page);
      const answer = answerOf(outcome);
      if (outcome.kind !== "answered" || answer?.kind !== "range" || !answer.more) return;
      if (revision === 0) revision = outcome.revision;
      key = `${answer.kvs[answer.kvs.length - 1].key}\0`;
    }
  }

  /** Reads a key, then changes it if it is still the same. */
  private async swap(): Promise<void> {
    const key = this.key();
    const read = await this.call(this.get(key));
    if (read?.kind !== "range") return;
    const [kv] = read.kvs;
    const compares: Compare[] = [
      this.random.chance(0.5)
        ? { key, target: "mod", result: "EQUAL", operand: kv?.mod ?? 0 }
        : { key, target: "create", result: "EQUAL", operand: kv?.create ?? 0 },
    ];
    if (kv !== undefined && this.random.chance(0.2)) {
      compares.push({ key, target: "value", result: "EQUAL", operand: kv.value });
    }
    const change: Step = this.random.chance(0.85) ? this.put(key) : { kind: "delete", key, end: "" };
    await this.call({ kind: "txn", compares, success: [change], failure: [this.get(key)] });
  }

  /** Keys and ranges of several shards in one transaction without writes. */
  private snapshot(): Promise<unknown> {
    const keys = [this.key(), this.key(), this.key()];
    const [first, ...others] = keys.map((key) => this.get(key));
    const compares: Compare[] = [
      {
        key: keys[0],
        target: "mod",
        result: this.random.pick(["GREATER", "LESS"]),
        operand: this.newest - 20,
      },
    ];
    const groups = this.range(groupRange(this.group()));
    return this.call({ kind: "txn", compares, success: [first, ...others], failure: [groups, first] });
  }

  /** Several writes of one group in one transaction, and a read that sees them. */
  private mixed(): Promise<unknown> {
    const group = this.group();
    const [a, b, c] = keysOf(group);
    const compares: Compare[] = [
      { key: a, target: "version", result: this.random.pick(["GREATER", "EQUAL", "NOT_EQUAL"]), operand: 2 },
    ];
    const success: Step[] = [this.put(a), this.put(b), this.range(groupRange(group))];
    const failure: Step[] = [this.put(c), { kind: "delete", key: b, end: "" }, this.get(b)];
    return this.call({ kind: "txn", compares, success, failure });
  }

  private old(): Promise<unknown> {
    // Now and then what may be compacted.
    const first = this.random.chance(0.2) ? 2 : this.scene.compacted();
    const from = Math.max(2, first, this.newest - REACH);
    const revision = from + this.random.below(Math.max(1, this.newest - from));
    if (revision > this.newest) return Promise.resolve();
    const extent = this.random.pick([WHOLE, groupRange(this.group()), { key: this.key(), end: "" }]);
    return this.call({ ...this.range(extent), revision });
  }

  /** Writes that must have no effect. */
  private refused(): Promise<unknown> {
    const [first, second] = [this.scene.groups[0], this.scene.groups[1]].map((group) => keysOf(group)[0]);
    const across: Op = {
      kind: "txn",
      compares: [],
      success: [this.put(first), this.put(second)],
      failure: [],
    };
    return this.call(this.random.chance(0.5) ? across : this.put(this.key(), "987654321"));
  }

  /** A lease with keys on any shards; kept alive for a while, then given up or revoked. */
  private async leased(): Promise<void> {
    const { lease, random } = this;
    if (lease === undefined) {
      const id = String(1_000_000 + random.below(2 ** 30));
      const granted = await this.call({ kind: "grant", id, ttl: TTL });
      if (granted !== undefined) this.lease = { id, until: performance.now() + random.below(LEASE_USE) };
    } else if (performance.now() > lease.until) {
      this.lease = undefined;
      if (random.chance(0.6)) await this.call({ kind: "revoke", id: lease.id });
    } else if (random.chance(0.3)) {
      const kept = await this.call({ kind: "keepAlive", id: lease.id });
      if (kept?.kind === "lease" && kept.ttl === 0) this.lease = undefined;
    } else {
      await this.call(this.put(this.leasedKey(), lease.id));
    }
  }
}

function answerOf(outcome: Outcome): Answer | undefined {
  return outcome.kind === "answered" ? outcome.answer : undefined;
}
