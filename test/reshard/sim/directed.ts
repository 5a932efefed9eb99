import { SimMover } from "./mover.js";
import type { SimProxy } from "./proxy.js";
import { type Director, KEYS } from "./run.js";
import { bytesOf, type Stage, type StepView } from "./world.js";

/** An action at a stage of a step, for one key of the step that exists on its source. */
type Act = (stage: Stage, step: StepView, key: string, other: SimProxy) => Promise<void> | void;

/** A schedule for the first step that has such a key, while a second proxy is alive, other than the mover's. */
function direct(make: (run: Parameters<Director>[0]) => Act): Director {
  return (run) => {
    const act = make(run);
    let chosen: { step: StepView; key: string; other: SimProxy } | undefined;
    return async (stage, step) => {
      if (stage === "begun" && chosen === undefined) {
        const here = (key: string) =>
          step.isInStep(key) && run.world.shards[step.sourceOf(key)].get(key) !== undefined;
        const key = KEYS.find(here);
        const other = run.proxies.find(
          ({ log, network }) => log.fold !== undefined && network.alive && log !== step.proxy.log,
        );
        if (key !== undefined && other !== undefined) chosen = { step, key, other };
      }
      if (chosen?.step === step) await act(stage, step, chosen.key, chosen.other);
    };
  };
}

/** A read is sent before the freeze. It reaches the source after the move and a write of the key on the destination. */
export const lateRead = direct((run) => {
  let release = () => {};
  return async (stage, step, key, other) => {
    if (stage === "begun") {
      release = other.network.hold();
      void run.background(run.get(other, run.world.nextOperation(), key));
    } else if (stage === "moved") {
      await run.background(run.put(step.proxy, run.world.nextOperation(), key));
      release();
    }
  };
});

/** A read reaches the source between stop and M, after the key's lease has ended there. Its proxy pauses until after M. */
export const readAboveStop = direct((run) => {
  let release = () => {};
  return async (stage, step, key, other) => {
    const source = run.world.shards[step.sourceOf(key)];
    const lease = source.get(key)?.lease ?? 0;
    if (stage === "begun") {
      release = other.network.hold();
      void run.background(run.get(other, run.world.nextOperation(), key));
    } else if (stage === "stopped") {
      if (lease !== 0) {
        run.world.ended.add(lease);
        source.endLease(lease);
        other.network.pause(2_000);
      }
      release();
      await step.proxy.network.sleep(2);
      // Write to the source again, so that the read's revision is not its newest at M.
      const isElsewhere = (each: string) =>
        !step.isInStep(each) && step.proxy.locator.shardOf(bytesOf(each)) === step.sourceOf(key);
      const elsewhere = KEYS.find(isElsewhere);
      if (elsewhere !== undefined)
        await run.background(run.put(step.proxy, run.world.nextOperation(), elsewhere));
    }
  };
});

/** A deletion of a range is sent before the freeze and reaches the destination when it is ready. */
export const lateDeletion = direct((run) => {
  let release = () => {};
  return async (stage, step, _key, other) => {
    if (stage === "begun") {
      await other.log.sync();
      release = other.network.hold();
      void run.background(run.removeRange(other, run.world.nextOperation(), "\x01", "\xff\xff"));
    } else if (stage === "ready") {
      release();
      await step.proxy.network.sleep(2);
    }
  };
});

/** Between the choice of the first step and its begin, another mover carries out the whole plan. */
export const overtaken: Director = (run) => {
  let isFirst = true;
  return async (stage, step) => {
    if (stage !== "chosen" || !isFirst) return;
    isFirst = false;
    const other = run.proxies.find(({ log }) => log.fold !== undefined && log !== step.proxy.log);
    if (other !== undefined) await new SimMover(other).work();
  };
};
