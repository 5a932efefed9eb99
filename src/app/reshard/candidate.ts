import { isExpected } from "../../mover/step.js";
import { withDetail } from "../../status/error.js";
import { Seat, type SeatOptions } from "./seat.js";
import { Work, type WorkOptions } from "./work.js";

export interface CandidateOptions extends WorkOptions, Pick<SeatOptions, "host"> {}

/** Average pause between two attempts to take the seat, in milliseconds. */
const RETRY_MS = 1_000;
/** How long `stop` waits for a frozen step. After that, another proxy takes over anyway. */
const STOP_MS = 5_000;

/** While a plan is active, tries to become the proxy that moves keys. */
export class Candidate {
  private work: Work | undefined;
  /** Number of the active plan when `follow` was called last. */
  private plan: number | undefined;
  private isStopping = false;
  /** The last failure that was logged. */
  private said = "";
  private wake = () => {};
  private readonly done: Promise<void>;

  constructor(private readonly options: CandidateOptions) {
    this.done = this.run();
  }

  /** To be called when the placement has changed. */
  follow(): void {
    this.work?.follow();
    const plan = this.options.timeline.placement.plan?.number;
    if (plan === this.plan) return;
    this.plan = plan;
    this.wake();
  }

  /** Ends moving keys, and frees the seat for another proxy. Never rejects. */
  async stop(): Promise<void> {
    const { runtime, log } = this.options;
    this.isStopping = true;
    this.work?.stop();
    this.wake();
    let cancel = () => {};
    const late = new Promise<boolean>((resolve) => {
      cancel = runtime.timer(STOP_MS, () => resolve(true));
    });
    if (await Promise.race([late, this.done.then(() => false)]))
      log.warn({}, "the mover did not end in time; another proxy continues its step");
    cancel();
  }

  private get isActive(): boolean {
    return !this.isStopping && this.options.timeline.placement.plan !== undefined;
  }

  private async run(): Promise<void> {
    const { runtime } = this.options;
    while (!this.isStopping) {
      if (!this.isActive) await this.sleep(Number.POSITIVE_INFINITY);
      else {
        try {
          await this.campaign();
          this.said = "";
        } catch (reason) {
          this.report(reason);
        }
        if (this.isActive) await this.sleep(RETRY_MS * (0.5 + runtime.random()));
      }
    }
  }

  /** Takes the seat if it is free, and works. Rejects if the timeline host does not answer. */
  private async campaign(): Promise<void> {
    const { options } = this;
    const taken = await Seat.take(options);
    if (taken === undefined) return;
    const { seat, records } = taken;
    try {
      const { plan } = options.timeline.placement;
      if (this.isStopping || seat.isLost || plan === undefined) return;
      options.log.info({ plan: plan.number }, "this proxy moves the keys of the plan");
      this.work = new Work(options, seat, records);
      await this.work.run();
    } finally {
      this.work = undefined;
      await seat.leave();
    }
  }

  private report(reason: unknown): void {
    const text = withDetail(reason);
    const fields = isExpected(reason) ? { error: text } : { err: reason };
    if (text !== this.said) this.options.log.warn(fields, "this proxy cannot move keys yet, trying again");
    this.said = text;
  }

  /** Resolves after `ms` milliseconds, when a plan begins or ends, or when `stop` is called. */
  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel =
        ms === Number.POSITIVE_INFINITY ? () => {} : this.options.runtime.timer(ms, resolve, true);
      this.wake = () => {
        cancel();
        resolve();
      };
    });
  }
}
