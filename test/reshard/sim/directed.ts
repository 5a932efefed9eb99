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

/** Holds a proxy's requests back. Returns a function that releases them. A step that is given up releases them later. */
function hold(run: Parameters<Director>[0], proxy: SimProxy): () => void {
  const release = proxy.network.hold();
  run.world.scheduler.after(5_000, release);
  return release;
}

/** A read is sent before the freeze. It reaches the source after the move and a write of the key on the destination. */
export const lateRead = direct((run) => {
  let release = () => {};
  return async (stage, step, key, other) => {
    if (stage === "begun") {
      release = hold(run, other);
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
      release = hold(run, other);
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

/** A key's lease ends on the source after its stop, which counts at the move. A range is read before the move. */
export const scanAboveStop = direct((run) => async (stage, step, key, other) => {
  if (stage !== "stopped") return;
  const index = step.sourceOf(key);
  const source = run.world.shards[index];
  const lease = source.get(key)?.lease ?? 0;
  if (lease === 0) return;
  run.world.ended.add(lease);
  source.endLease(lease);
  await step.proxy.log.seal(index, source.revision);
  void run.background(run.scan(other, run.world.nextOperation(), "\x01", "\xff\xff"));
  await step.proxy.network.sleep(20);
});

/** A write is sent before the freeze and reaches the source after its stop. */
export const lateWrite = direct((run) => {
  let release = () => {};
  return async (stage, step, key, other) => {
    if (stage === "begun") {
      await other.log.sync();
      release = hold(run, other);
      void run.background(run.put(other, run.world.nextOperation(), key));
    } else if (stage === "stopped") {
      release();
      await step.proxy.network.sleep(2);
    }
  };
});

/** A deletion of a range is sent before the freeze and reaches the destination when it is ready. */
export const lateDeletion = direct((run) => {
  let release = () => {};
  return async (stage, step, _key, other) => {
    if (stage === "begun") {
      await other.log.sync();
      release = hold(run, other);
      void run.background(run.removeRange(other, run.world.nextOperation(), "\x01", "\xff\xff"));
    } else if (stage === "ready") {
      release();
      await step.proxy.network.sleep(2);
    }
  };
});

/** A key's lease ends on the destination after it was ready. A watch begins between that end and the move, at which it counts. */
export const lateWatch = direct((run) => async (stage, step, key) => {
  if (stage !== "ready") return;
  const index = step.targetOf(key);
  const target = run.world.shards[index];
  const lease = target.get(key)?.lease ?? 0;
  if (lease === 0) return;
  run.world.ended.add(lease);
  target.endLease(lease);
  await step.proxy.log.seal(index, target.revision);
  run.world.spawn(run.watcher("\x01", "\xff\xff", step.proxy.fold.head + 1));
});

/** The leases of keys end on both sides after the sources' stops. So the keys end with the move. */
export const endWithMove = direct((run) => (stage, step) => {
  if (stage !== "stopped") return;
  const { shards, ended } = run.world;
  for (const key of KEYS.filter((each) => step.isInStep(each))) {
    const source = shards[step.sourceOf(key)];
    const lease = source.get(key)?.lease ?? 0;
    if (lease === 0) continue;
    ended.add(lease);
    for (const shard of [source, shards[step.targetOf(key)]]) shard.endLease(lease);
  }
});

/** A proxy hears of a write on the source only after the timeline has forgotten the move that followed, by a compaction. */
export const lateFeed = direct((run) => {
  let restore = () => {};
  return async (stage, step, key, other) => {
    const { proxy } = step;
    if (stage === "begun") {
      const { network } = other;
      const { faults } = network;
      network.faults = { ...faults, lag: 5_000 };
      restore = () => {
        network.faults = faults;
      };
      // Until all watches of the other proxy have begun a long pause.
      await proxy.network.sleep(20);
      await run.background(run.put(proxy, run.world.nextOperation(), key));
    } else if (stage === "moved") {
      await other.log.sync();
      await run.background(run.put(proxy, run.world.nextOperation(), key));
      // The shards still have everything: only the log is compacted yet.
      await proxy.log.append({ compact: proxy.fold.head });
      run.world.compacted = proxy.fold.compactRevision;
      await other.log.sync();
      restore();
    }
  };
});

/** A proxy reads of a move and of the compaction that has passed it at once. It has heard of no write on the source before. */
export const lateLog = direct((run) => {
  let restore = () => {};
  return async (stage, step, key, other) => {
    const { proxy } = step;
    if (stage === "begun") {
      const { log, network } = other;
      const { faults } = network;
      const { pull } = log;
      const waiting: (() => void)[] = [];
      network.faults = { ...faults, lag: 5_000 };
      await proxy.network.sleep(20);
      log.pull = () => new Promise((resolve) => waiting.push(resolve));
      restore = () => {
        network.faults = faults;
        log.pull = pull;
        for (const resolve of waiting.splice(0)) resolve();
      };
      run.world.scheduler.after(5_000, restore);
      await run.background(run.put(proxy, run.world.nextOperation(), key));
    } else if (stage === "moved") {
      await run.background(run.put(proxy, run.world.nextOperation(), key));
      // The shards still have everything: only the log is compacted yet.
      await proxy.log.append({ compact: proxy.fold.head });
      run.world.compacted = proxy.fold.compactRevision;
      restore();
      await other.log.sync();
    }
  };
});

/** When a mover reaches `stage` for the first time, another one carries out the whole plan. */
const overtakenAt =
  (stage: Stage): Director =>
  (run) => {
    let isFirst = true;
    return async (reached, step) => {
      if (reached !== stage || !isFirst) return;
      isFirst = false;
      const other = run.proxies.find(({ log }) => log.fold !== undefined && log !== step.proxy.log);
      if (other !== undefined) await new SimMover(other).work();
    };
  };

/** Between the choice of the first step and its begin, another mover carries out the whole plan. */
export const overtaken = overtakenAt("chosen");

/** Another mover carries out the whole plan before a mover's write reaches a destination. */
export const lateImport = overtakenAt("importing");

/** A mover's deletion reaches a source late: the plan has turned back, and another mover has brought the keys back. */
export const lateCleaning = direct(() => {
  let isFirst = true;
  return async (stage, _step, _key, other) => {
    if (stage !== "cleaning" || !isFirst) return;
    isFirst = false;
    await other.log.sync();
    const { plan } = other.fold.placement.snapshot();
    if (plan === undefined) return;
    await other.log.append({ change: { kind: "turn back", plan: plan.number } });
    await new SimMover(other).work();
  };
});
