import assert from "node:assert/strict";
import { parseConfig } from "../../src/config/load.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { StatusError } from "../../src/status/error.js";
import type { ResponseHeader } from "../../src/wire/messages.js";
import { startEtcd, startEtcds } from "../support/etcd.js";
import { ManualMover } from "./manualMover.js";
import {
  type Ask,
  comparable,
  describe,
  type Method,
  openPlain,
  openProxy,
  outcome,
  type Request,
  type Response,
  type TestProxy,
} from "./pair.js";

/**
 * A plain etcd, and proxies over three shards between which keys move. They must respond alike, except that the proxies skip
 * revisions. Requests name revisions of the plain etcd.
 */
export class MovingPair {
  /** Revision of the plain etcd → revision of the store, for writes. */
  private readonly revisions: number[] = [0, 1];
  /** Revisions of deletions on several shards, which take several revisions there. */
  private readonly split = new Set<number>();
  /** Which of several equivalent revisions requests name: the lowest (0) or the highest (1). */
  private turn = 0;

  private constructor(
    readonly proxies: readonly TestProxy[],
    readonly plain: Ask,
    readonly mover: ManualMover,
    readonly shards: readonly Ask[],
    private readonly endpoints: readonly { endpoint: string }[],
    readonly close: () => Promise<void>,
  ) {}

  /** `more`: further configuration of the proxies. */
  static async open(proxies = 2, more: Readonly<Record<string, unknown>> = {}): Promise<MovingPair> {
    const [etcds, alone] = await Promise.all([startEtcds(3), startEtcd()]);
    const opened: TestProxy[] = [];
    for (let i = 0; i < proxies; i++)
      opened.push(await openProxy(etcds, { routing: rulesOf([0, 1, 2]), ...more }));
    const shards = etcds.map(openPlain);
    const plain = openPlain(alone);
    const asks = shards.map(({ ask }) => ask);
    return new MovingPair(opened, plain.ask, new ManualMover(opened[0], asks), asks, etcds, async () => {
      for (const proxy of opened) proxy.stop();
      for (const { close } of [...shards, plain]) close();
      await Promise.all([...etcds, alone].map((etcd) => etcd.remove()));
    });
  }

  /** The text of a map that places a, b and c as `places` says. */
  async map(places: readonly number[], weights = [1, 1, 1]): Promise<string> {
    const config = {
      shards: this.endpoints.map(({ endpoint }, i) => ({
        name: `shard${i}`,
        endpoints: [endpoint],
        weight: weights[i],
      })),
      routing: rulesOf(places),
    };
    return (await fingerprint(parseConfig(JSON.stringify(config), "test").map)).text;
  }

  /** The newest revision of the plain etcd. */
  get head(): number {
    return this.revisions.length - 1;
  }

  /** The store's revision of a revision of the plain etcd. */
  store(revision: number): number {
    return this.revisions[revision];
  }

  /** Calls both, compares, and returns the plain etcd's response; undefined when both refused. */
  async both<M extends Method>(method: M, request: Request<M>, proxy = 0): Promise<Response<M> | undefined> {
    const ours = await outcome(this.proxies[proxy].ask(method, this.translated(request) as Request<M>));
    const theirs = await outcome(this.plain(method, request));
    return this.compare(method, request, ours, theirs);
  }

  /** `both`, for a call whose response from a proxy is there already. */
  async compareWith<M extends Method>(method: M, request: Request<M>, ours: Response<M> | StatusError) {
    return this.compare(method, request, ours, await outcome(this.plain(method, request)));
  }

  /** `compareWith` without the revisions in headers. */
  async compareData<M extends Method>(method: M, request: Request<M>, ours: Response<M> | StatusError) {
    const data = (value: unknown) => withoutHeaders(this.normalized(comparable(value)));
    const theirs = withoutHeaders(comparable(await outcome(this.plain(method, request))));
    assert.deepEqual(data(ours), theirs, describe(method, request));
  }

  /** Sends a request to a proxy only. */
  ours<M extends Method>(method: M, request: Request<M>, proxy = 0): Promise<Response<M> | StatusError> {
    return outcome(this.proxies[proxy].ask(method, this.translated(request) as Request<M>));
  }

  /** Compacts both at a revision of the plain etcd. */
  async compact(revision: number): Promise<void> {
    await this.proxies[0].ask("compact", { revision: this.store(revision) });
    await this.plain("compact", { revision });
  }

  private compare<M extends Method>(
    method: M,
    request: Request<M>,
    ours: Response<M> | StatusError,
    theirs: Response<M> | StatusError,
  ): Response<M> | undefined {
    if (method === "deleteRange") this.split.add(this.revisions.length);
    if (!(theirs instanceof StatusError) && !(ours instanceof StatusError)) this.learn(theirs, ours);
    assert.deepEqual(this.normalized(comparable(ours)), comparable(theirs), describe(method, request));
    return theirs instanceof StatusError ? undefined : theirs;
  }

  /** A response with the next revision of the plain etcd is that of a write. */
  private learn(theirs: { header?: ResponseHeader }, ours: { header?: ResponseHeader }): void {
    if (theirs.header!.revision !== this.revisions.length) return;
    assert.ok(
      ours.header!.revision > this.revisions.at(-1)!,
      `revisions of writes ascend: ${ours.header!.revision} after ${this.revisions.at(-1)}`,
    );
    this.revisions.push(ours.header!.revision);
  }

  /** A request with the store's revisions. */
  private translated(value: unknown, name = "", around: Record<string, unknown> = {}): unknown {
    if (value instanceof Uint8Array) return value;
    if (Array.isArray(value)) return value.map((each) => this.translated(each));
    if (typeof value === "number") return this.translatedNumber(value, name, around);
    if (typeof value !== "object" || value === null) return value;
    const fields = value as Record<string, unknown>;
    return Object.fromEntries(
      Object.entries(fields).map(([key, field]) => [key, this.translated(field, key, fields)]),
    );
  }

  private translatedNumber(value: number, name: string, around: Record<string, unknown>): number {
    if (!REVISIONS.has(name) || value <= 0) return value;
    if (value > this.head) return 1_000_000 + value;
    const [first, exact, last] = [this.revisions[value - 1] + 1, this.revisions[value], this.lastOf(value)];
    const other = this.turn++ % 2 === 0;
    if (name.startsWith("min") || (IN_COMPARE.has(name) && around.result === 2)) return other ? first : exact;
    if (IN_COMPARE.has(name) && around.result !== 1) return exact;
    return other ? last : exact;
  }

  /** The last of the store's revisions with the state of `revision`. */
  private lastOf(revision: number): number {
    const isLast = revision === this.head || this.split.has(revision + 1);
    return isLast ? this.revisions[revision] : this.revisions[revision + 1] - 1;
  }

  /** A response of a proxy with the plain etcd's revisions. */
  private normalized(value: unknown, name = ""): unknown {
    if (Array.isArray(value)) return value.map((each) => this.normalized(each));
    if (typeof value === "number") {
      if (name === "revision") return this.revisions.findLastIndex((each) => each <= value);
      if (name !== "createRevision" && name !== "modRevision") return value;
      const found = this.revisions.indexOf(value);
      return found >= 0 ? found : `the store's revision ${value}, at which nothing was written`;
    }
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, field]) => [key, this.normalized(field, key)]),
    );
  }
}

const REVISIONS = new Set([
  "revision",
  "minModRevision",
  "maxModRevision",
  "minCreateRevision",
  "maxCreateRevision",
  "createRevision",
  "modRevision",
]);
const IN_COMPARE = new Set(["createRevision", "modRevision"]);

const rulesOf = (places: readonly number[]) => ({
  rules: ["a", "b", "c"].map((prefix, i) => ({ prefix, segments: 0, shard: `shard${places[i]}` })),
});

function withoutHeaders(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutHeaders);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).filter(([name]) => name !== "header");
  return Object.fromEntries(fields.map(([name, field]) => [name, withoutHeaders(field)]));
}
