import { noPlan, PlanStore } from "../app/reshard/planStore.js";
import type { Plan } from "../reshard/placement.js";
import type { Control } from "../reshard/record.js";
import { type ApplyOptions, watch, withSignals } from "./apply.js";
import { Exit } from "./exit.js";
import { rejectAsFailure, surveyStore, timelineOf } from "./planBuild.js";
import { type PlanOutput, planOutput } from "./planOutput.js";
import { thousands } from "./table.js";

/** What `braid apply` does to the active plan, instead of recording one. */
export type Steering = "watch" | "pause" | "resume" | "turnBack";

/** `braid apply --watch`, `--pause`, `--resume` and `--turn-back`. */
export async function steer(how: Steering, options: ApplyOptions): Promise<number> {
  const survey = await surveyStore(options);
  try {
    timelineOf(survey);
    const store = await PlanStore.open(survey).catch(rejectAsFailure);
    try {
      const { plan } = store.timeline.placement;
      const out = planOutput(options.json);
      if (plan === undefined) {
        if (how !== "watch") return rejectAsFailure(noPlan());
        out.say("No plan is active.", { type: "none" });
        return Exit.ok;
      }
      return await new Steerer(store, out, plan, options).run(how);
    } finally {
      store.close();
    }
  } finally {
    survey.close();
  }
}

class Steerer {
  constructor(
    private readonly store: PlanStore,
    private readonly out: PlanOutput,
    private readonly plan: Plan,
    private readonly options: ApplyOptions,
  ) {}

  run(how: Steering): Promise<number> {
    switch (how) {
      case "pause":
        return this.pause();
      case "resume":
        return this.resume();
      case "turnBack":
        return withSignals((signal) => this.turnBack(signal));
      case "watch":
        return withSignals((signal) => this.watch(signal));
    }
  }

  private async pause(): Promise<number> {
    const { number } = this.plan;
    await this.change((control) => ({ ...control, paused: true }));
    const text = `Plan ${number} is paused: a step that is under way still ends. To continue: braid apply --resume`;
    this.out.say(text, { type: "paused", plan: number });
    return Exit.ok;
  }

  private async resume(): Promise<number> {
    const { number } = this.plan;
    const control = await this.change((control) => ({ ...this.withRate(control), paused: false }));
    const text = `Plan ${number} continues${rateText(control)}. To watch it: braid apply --watch`;
    this.out.say(text, { type: "resumed", plan: number, maxKeysPerSecond: control.maxKeysPerSecond });
    return Exit.ok;
  }

  private async turnBack(signal: AbortSignal): Promise<number> {
    const { number: was } = this.plan;
    const number = await this.store.turnBack(was).catch(rejectAsFailure);
    const text = `Plan ${was} is turned back: the keys that have moved move back, as plan ${number}.`;
    this.out.say(text, { type: "turned back", plan: number, was });
    return watch(this.store, { ...this.plan, number, up: !this.plan.up }, this.out, signal);
  }

  private async watch(signal: AbortSignal): Promise<number> {
    if (this.options.maxKeysPerSecond !== undefined) {
      const control = await this.change((known) => this.withRate(known));
      const text = `Plan ${this.plan.number} moves${rateText(control) || " without a limit"}.`;
      this.out.say(text, {
        type: "rate",
        plan: this.plan.number,
        maxKeysPerSecond: control.maxKeysPerSecond,
      });
    }
    return watch(this.store, this.plan, this.out, signal);
  }

  private withRate(control: Control): Control {
    const { maxKeysPerSecond: rate } = this.options;
    return rate === undefined ? control : { ...control, maxKeysPerSecond: rate === 0 ? null : rate };
  }

  private change(change: (control: Control) => Control): Promise<Control> {
    return this.store.changeControl(this.plan.number, change).catch(rejectAsFailure);
  }
}

const rateText = ({ maxKeysPerSecond }: Control): string =>
  maxKeysPerSecond === null ? "" : ` with at most ${thousands(maxKeysPerSecond)} keys per second`;
