import type { VNode } from "preact";
import type { PlanReport, PlansReport } from "../report.js";
import { bytes, count, plural, span } from "./format.js";
import { useReport } from "./hooks.js";
import { Badge, Failure, Stale, Title, Waiting } from "./parts.js";

const LOOK_MS = 2_000;

export function PlanView(): VNode {
  const { data, error } = useReport<PlansReport>("plan", "", () => ({}), LOOK_MS);
  return (
    <>
      <Title text="Plan" />
      {data === undefined ? (
        <Waiting error={error} />
      ) : (
        <>
          <Stale error={error} />
          {data.problem !== null && <Failure error={`The plan's progress cannot be read: ${data.problem}`} />}
          {data.plan === null ? (
            <section class="panel">
              <p>No keys move. The store has had {plural(data.plans, "plan")}.</p>
              <p class="soft">
                <code>braid plan</code> shows what a changed configuration would change, and{" "}
                <code>braid apply</code> does it.
              </p>
            </section>
          ) : (
            <Active plan={data.plan} />
          )}
        </>
      )}
    </>
  );
}

/** The lowest bound is below all keys of clients. */
const boundText = (bound: string | null): string =>
  bound === null ? "the end of all keys" : bound === "\\x01" ? "the first key" : bound;

const STATES = {
  moving: ["moving", "good"],
  paused: ["paused", "warn"],
  waiting: ["waiting", "bad"],
  unattended: ["no proxy moves it", "bad"],
} as const;

function Active({ plan }: { plan: PlanReport }): VNode {
  const [state, kind] = STATES[plan.state];
  const { keys, totalKeys } = plan;
  const share =
    keys !== null && totalKeys !== null && totalKeys > 0 ? Math.min(0.99, keys / totalKeys) : undefined;
  const rate = plan.keysPerSecond ?? 0;
  const left = share !== undefined && rate > 0 ? Math.max(0, totalKeys! - keys!) / rate : undefined;
  return (
    <section class="panel" aria-labelledby="active">
      <div class="head">
        <h2 id="active">Plan {plan.number}</h2>
        <Badge kind={kind}>{state}</Badge>
        {plan.direction === "down" && <Badge kind="warn">turned back</Badge>}
        {plan.frozen && <Badge>some keys wait now</Badge>}
      </div>
      {share !== undefined && (
        <p>
          <label>
            {count(keys)} of {plural(totalKeys!, "key")} ({Math.floor(share * 100)}%)
            <progress max={1} value={share} />
          </label>
        </p>
      )}
      {plan.reason !== null && <p class="notice">{plan.reason}</p>}
      {plan.advice !== null && <p class="soft">{plan.advice}</p>}
      <dl>
        <dt>Moved</dt>
        <dd>
          {count(keys)} keys, {bytes(plan.bytes)}
          {plan.totalBytes === null ? "" : ` of ${bytes(plan.totalBytes)}`}, in{" "}
          {plural(plan.steps ?? 0, "step")}
        </dd>
        <dt>Speed</dt>
        <dd>
          {count(plan.keysPerSecond)} keys/s
          {plan.maxKeysPerSecond === null ? "" : `, limited to ${count(plan.maxKeysPerSecond)}`}
          {left === undefined ? "" : `, about ${span(left)} left`}
        </dd>
        <dt>At</dt>
        <dd class="mono">{boundText(plan.cursor)}</dd>
        {plan.step !== null && (
          <>
            <dt>Step</dt>
            <dd class="mono">
              {boundText(plan.step.from)} to {boundText(plan.step.to)} ({plan.phase})
            </dd>
          </>
        )}
        <dt>Pauses</dt>
        <dd>
          last {count(plan.lastPauseMs)} ms, longest {count(plan.longestPauseMs)} ms
        </dd>
        <dt>By</dt>
        <dd class="mono">{plan.proxy ?? "–"}</dd>
      </dl>
      {plan.changes.length > 0 && (
        <>
          <h3>What it changes</h3>
          <ul>
            {plan.changes.map((change) => (
              <li key={change}>{change}</li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
