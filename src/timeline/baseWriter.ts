import { Code, StatusError } from "../status/error.js";
import type { Base, PartSizes } from "./base.js";
import { type BaseInput, planBase } from "./basePlan.js";
import type { HostKey, LogHost } from "./host.js";
import { BASE_KEY, markKey, partKey, TAIL_KEY } from "./keys.js";
import type { LogOptions } from "./logOptions.js";
import { withGen } from "./mark.js";
import type { TimelineStats } from "./stats.js";

const BASE = BASE_KEY.toString("latin1");
const TAIL = TAIL_KEY.toString("latin1");
const EMPTY = Buffer.alloc(0);

/** Writes bases, with their parts, to hosts of the log. */
export class BaseWriter {
  /** Number of parts that this proxy has written or tried to write. Their keys are used once. */
  private parts = 0;

  constructor(
    private readonly options: Pick<LogOptions, "proxy" | "endpoints">,
    private readonly sizes: PartSizes,
    private readonly stats: TimelineStats,
  ) {}

  /**
   * Writes the next base, and deletes what the log no longer needs then. Resolves to false when another proxy was faster: the
   * base key does not have the mod revision `input.guard` any more.
   */
  async write(host: LogHost, input: Omit<BaseInput, "sizes" | "newPart">): Promise<boolean> {
    const { base, guard, change } = input;
    const { proxy, endpoints = new Map() } = this.options;
    // The plan is a snapshot. Entries that are folded while the parts are written stay in the log.
    const { parts, value, deletes } = planBase({
      ...input,
      change: { endpoints, ...change },
      sizes: this.sizes,
      newPart: () => partKey(base.epoch + 1, proxy, this.parts++),
    });
    const mark = change.endsSole ? await this.markToRaise(host, base) : undefined;
    const tail = { key: TAIL, value: EMPTY };
    for (const part of parts) {
      // Every change to the log puts the tail, so that the next append sees that there was a change before it.
      if (!(await host.commit(guard, [part, tail], [])).committed) return false;
    }
    const puts = [
      { key: BASE, value },
      tail,
      ...(mark === undefined ? [] : [{ key: mark.key, value: withGen(mark.value, 1) }]),
    ];
    const { committed } = await host.commit(guard, puts, deletes, mark);
    if (committed) this.stats.ownBases++;
    return committed;
  }

  /** The host's mark. Throws DATA_LOSS if the host has lost it. */
  private async markToRaise(host: LogHost, { store }: Base): Promise<HostKey> {
    const { keys } = await host.load();
    const name = store && markKey(store).toString("latin1");
    const mark = keys.find(({ key }) => key === name);
    if (mark !== undefined) return mark;
    throw new StatusError(Code.DATA_LOSS, "etcd-braid: the timeline host has lost its mark");
  }
}
