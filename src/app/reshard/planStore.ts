import { randomBytes } from "node:crypto";
import { Maps } from "../../reshard/maps.js";
import {
  CONTROL_KEY,
  type Control,
  controlOf,
  decodeControl,
  decodeProgress,
  decodeSeat,
  encodeControl,
  PROGRESS_KEY,
  type ProgressRecord,
  SEAT_KEY,
  type Seat,
} from "../../reshard/record.js";
import { Hasher } from "../../routing/hash.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { EtcdHost } from "../../timeline/etcdHost.js";
import type { NextHost } from "../../timeline/host.js";
import { SharedTimeline } from "../../timeline/timeline.js";
import { systemRuntime } from "../../turn/runtime.js";
import { CompareResult, CompareTarget, TxnRequest, TxnResponse } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { storeIsMissing } from "../store/connect.js";
import type { Survey, SurveyedCluster } from "../store/survey.js";

/** What the timeline host records about plans beside the log. */
export interface PlanRecords {
  readonly control: Control | undefined;
  /** Mod revision of the control; 0 without one. */
  readonly controlRevision: number;
  /** The proxy that moves keys; undefined if there is none. */
  readonly seat: Seat | undefined;
  readonly progress: ProgressRecord | undefined;
}

/** Pause between two looks at a plan that cannot be turned back at the moment, in milliseconds. */
const FROZEN_RETRY_MS = 20;
/** How long `turnBack` waits for a step that is frozen, in milliseconds. Without a proxy that moves keys, it stays frozen. */
const FROZEN_WAIT_MS = 20_000;

/** The timeline of a store and the records of its plans, for commands that record and change plans. */
export class PlanStore {
  private constructor(
    readonly timeline: SharedTimeline,
    readonly host: Shard,
    private readonly targets: Set<SurveyedCluster>,
  ) {}

  /**
   * Opens the timeline of a store whose timeline could be read. Rejects as `SharedTimeline.open` does. When somebody else moves the
   * log, the timeline fails with ABORTED, because locks and records on the old host do not count any more.
   */
  static async open({ timeline: read, hostCluster }: Survey): Promise<PlanStore> {
    if (read instanceof StatusError) throw read;
    if (hostCluster === undefined) throw new RangeError("the timeline was read without its host");
    const { client } = hostCluster;
    const targets = new Set<SurveyedCluster>();
    const timeline = new SharedTimeline(read.fold.placement.snapshot().shards.length, {
      host: new EtcdHost(client),
      hostShard: read.hostShard,
      hostOf: ({ name, clusterId }) => {
        const next = [...targets].find(({ reading }) => reading?.clusterId === clusterId);
        if (next !== undefined) return new EtcdHost(next.client);
        const text = `the timeline has moved to another cluster (${name}, id ${clusterId}) meanwhile: run this again`;
        throw new StatusError(Code.ABORTED, text);
      },
      proxy: randomBytes(8).toString("hex"),
      map: read.fold.placement.snapshot().inForce,
      runtime: systemRuntime,
      maps: new Maps(await Hasher.load()),
      genesis: async () => {
        throw storeIsMissing();
      },
      // The command's file may have any map.
      accept: () => {},
    });
    await timeline.open();
    return new PlanStore(timeline, client, targets);
  }

  /** Moves the log to `target`, see `TimelineLog.moveTo`. Afterwards this store is of no use but to be closed. */
  moveTo(target: SurveyedCluster, next: NextHost): Promise<void> {
    this.targets.add(target);
    return this.timeline.log.moveTo(next);
  }

  /** Does not close the survey that it was opened with. */
  close(): void {
    this.timeline.close();
  }

  /** Reads the records, linearizably. */
  readRecords(): Promise<PlanRecords> {
    return readRecords(this.host);
  }

  /**
   * Changes what applies to the plan with this number. `change` gets what applies now, and may be called more than once.
   * Resolves to what applies then. Rejects with ABORTED if there is a newer plan.
   */
  async changeControl(plan: number, change: (control: Control) => Control): Promise<Control> {
    for (;;) {
      const { control, controlRevision } = await this.readRecords();
      if (control !== undefined && control.plan > plan) {
        throw new StatusError(Code.ABORTED, `plan ${plan} is not active any more`);
      }
      const next = change(controlOf(control, plan));
      const request = TxnRequest.encode({
        compare: [
          {
            target: CompareTarget.MOD,
            result: CompareResult.EQUAL,
            key: CONTROL_KEY,
            modRevision: controlRevision,
          },
        ],
        success: [{ kind: "put", request: { key: CONTROL_KEY, value: encodeControl(next) } }],
      });
      const answer = await this.host.call(KV.Txn, request, { idempotent: false });
      if (TxnResponse.decode(answer).succeeded) return next;
    }
  }

  /**
   * Turns the plan with this number back. Waits while a step is frozen. The plan goes on under the new number, unless it is
   * paused, at the same rate. Resolves to that number. Rejects with FAILED_PRECONDITION if no plan is active, with ABORTED if
   * it has another number by now, and with UNAVAILABLE if the step stays frozen.
   */
  async turnBack(number: number): Promise<number> {
    const { timeline } = this;
    const before = await this.readRecords();
    const deadline = Date.now() + FROZEN_WAIT_MS;
    await timeline.sync();
    for (;;) {
      const { plan } = timeline.placement;
      if (plan === undefined) throw noPlan();
      if (plan.number !== number) {
        const text = `plan ${number} has been turned back meanwhile; it is plan ${plan.number} now`;
        throw new StatusError(Code.ABORTED, text);
      }
      if (plan.frozen === undefined) {
        const position = await timeline.proposeChange({ kind: "turn back", plan: number });
        if (position !== undefined) {
          const next = number + 1;
          await this.keepRate(number, next, before);
          return next;
        }
      }
      if (Date.now() > deadline) {
        throw new StatusError(
          Code.UNAVAILABLE,
          `plan ${number} cannot be turned back while some keys wait for their move, and they do not stop to wait: ` +
            "is a proxy running? Try again",
        );
      }
      await new Promise((resolve) => setTimeout(resolve, FROZEN_RETRY_MS));
      await timeline.sync();
    }
  }

  /** What was moved is what has to move back. */
  private async keepRate(from: number, to: number, { control, progress }: PlanRecords): Promise<void> {
    const { maxKeysPerSecond } = controlOf(control, from);
    const moved = progress?.plan === from ? progress : undefined;
    await this.changeControl(to, (known) => ({
      ...known,
      maxKeysPerSecond,
      keys: moved?.keys ?? null,
      bytes: moved?.bytes ?? null,
    }));
  }
}

export const noPlan = (): StatusError => new StatusError(Code.FAILED_PRECONDITION, "no plan is active");

const READ = TxnRequest.encode({
  success: [CONTROL_KEY, SEAT_KEY, PROGRESS_KEY].map((key) => ({ kind: "range", request: { key } })),
});

/** Reads the records about plans on a timeline host, linearizably. */
export async function readRecords(host: Shard): Promise<PlanRecords> {
  const answer = TxnResponse.decode(await host.call(KV.Txn, READ, { idempotent: true }));
  const [control, seat, progress] = answer.responses.map((each) =>
    each.kind === "range" ? each.response.kvs[0] : undefined,
  );
  return {
    control: decodeControl(control?.value).record,
    controlRevision: control?.modRevision ?? 0,
    seat: decodeSeat(seat?.value).record,
    progress: decodeProgress(progress?.value).record,
  };
}
