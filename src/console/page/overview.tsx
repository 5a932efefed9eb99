import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { History, MemberReport, Overview, ShardReport } from "../report.js";
import { CHART_MS, Chart } from "./chart.js";
import { bytes, count, latency, plural, rate, span } from "./format.js";
import { useReport } from "./hooks.js";
import { Badge, Cell, Stale, Table, Title, Waiting } from "./parts.js";
import { linkTo } from "./route.js";

const LOOK_MS = 2_000;

export function OverviewView(): VNode {
  const { data, error } = useReport<Overview>(
    "overview",
    "",
    (known) => ({ since: known?.history.at.at(-1) }),
    LOOK_MS,
    (report, known) =>
      known === undefined ? report : { ...report, history: join(known.history, report.history) },
  );
  return (
    <>
      <Title text="Overview" />
      {data === undefined ? <Waiting error={error} /> : <Content data={data} error={error} />}
    </>
  );
}

function Content({ data, error }: { data: Overview; error: string | undefined }): VNode {
  const { history, timeline, watches, leases, connections, memory, calls } = data;
  const problems = [
    ...data.alarms.map((alarm) => `Alarm: ${alarm}`),
    ...(timeline.isHostReachable ? [] : ["The timeline host does not respond: writes fail until it does."]),
  ];
  return (
    <>
      <Stale error={error} />
      <Announcements data={data} />
      {problems.length > 0 && (
        <div class="notice bad" role="alert">
          <ul>
            {problems.map((text) => (
              <li key={text}>{text}</li>
            ))}
          </ul>
        </div>
      )}
      {data.plan !== null && (
        <div class="notice">
          Plan {data.plan} moves keys between shards. <a href={linkTo("plan")}>Its progress</a>
        </div>
      )}
      <div class="tiles">
        <Tile
          name="Requests"
          number={`${rate(calls.requestsPerSecond)}/s`}
          more={`${count(data.inFlight)} in progress, streams included`}
        >
          <Chart label="Requests a second" at={history.at} values={history.requests} format={rate} />
        </Tile>
        <Tile name="Latency, p99" number={latency(calls.p99)} more={<P50 seconds={calls.p50} />}>
          <Chart label="Latency" at={history.at} values={history.p99} second={history.p50} format={latency} />
        </Tile>
        <Tile name="Errors" number={`${rate(calls.errorsPerSecond)}/s`} more={errorText(data)}>
          <Chart label="Errors a second" at={history.at} values={history.errors} format={rate} />
        </Tile>
        <Tile
          name="Sealing, p99"
          number={latency(timeline.sealP99)}
          more={<P50 seconds={timeline.sealP50} />}
        >
          <Chart
            label="Time to seal"
            at={history.at}
            values={history.sealP99}
            second={history.sealP50}
            format={latency}
          />
        </Tile>
        <Tile
          name="Watches"
          number={count(watches.synced + watches.lagging + watches.replaying)}
          more={`${count(watches.lagging + watches.replaying)} behind, ${rate(watches.eventsPerSecond)} events/s`}
        >
          <Chart label="Watches" at={history.at} values={history.watches} format={count} />
        </Tile>
        <Tile
          name="Connections"
          number={count(connections.http2 + connections.http1)}
          more={`${count(connections.http2)} gRPC, ${count(connections.http1)} HTTP/1.1`}
        >
          <Chart label="Connections" at={history.at} values={history.connections} format={count} />
        </Tile>
        <Tile
          name="Memory"
          number={bytes(memory.resident)}
          more={`heap ${bytes(memory.heap)}, ${memory.cpu === null ? "–" : memory.cpu.toFixed(2)} CPU cores`}
        >
          <Chart label="Memory" at={history.at} values={history.memory} format={bytes} />
        </Tile>
        <Tile
          name="Leases"
          number={`${count(leases.granted)} granted`}
          more={`${rate(leases.renewalsPerSecond)} keep-alives/s, ${count(leases.ended)} ended by this proxy`}
        />
      </div>
      <h2 id="shards">Shards</h2>
      <ul class="shards" aria-labelledby="shards">
        {data.shards.map((shard) => (
          <Shard key={shard.name} shard={shard} history={history} />
        ))}
      </ul>
      <div class="columns">
        <section class="panel" aria-labelledby="timeline">
          <h2 id="timeline">Timeline</h2>
          <dl>
            <dt>Revision</dt>
            <dd>
              {count(data.revision)}, compacted at {count(data.compactRevision)}
            </dd>
            <dt>Log</dt>
            <dd>
              {plural(timeline.entries, "entry").replace("entrys", "entries")},{" "}
              {rate(timeline.appendsPerSecond)} appends/s by this proxy
            </dd>
            <dt>Append</dt>
            <dd>
              p50 {latency(timeline.appendP50)}, p99 {latency(timeline.appendP99)}
            </dd>
            <dt>Table</dt>
            <dd>
              {plural(timeline.segments, "segment")}, {bytes(timeline.tableBytes)}
            </dd>
          </dl>
        </section>
        <section class="panel" aria-labelledby="proxy">
          <h2 id="proxy">Proxy</h2>
          <dl>
            <dt>Version</dt>
            <dd>{data.version}</dd>
            <dt>Running for</dt>
            <dd>{data.startedAt === null ? "–" : span((data.at - data.startedAt) / 1_000)}</dd>
            {data.workers > 1 && (
              <>
                <dt>Workers</dt>
                <dd>{count(data.workers)}</dd>
              </>
            )}
            <dt>Store</dt>
            <dd class="mono">{data.store ?? "–"}</dd>
            <dt>Watch streams</dt>
            <dd>
              {count(watches.streams)}, {plural(watches.lag, "revision")} to deliver
            </dd>
            <dt>Refused connections</dt>
            <dd>{count(connections.refused)}</dd>
          </dl>
        </section>
        <section class="panel" aria-labelledby="methods">
          <h2 id="methods">Calls</h2>
          <Table caption="Calls by method" head={["Method", "#Per second", "#p50", "#p99", "#Open"]}>
            {data.methods.map((each) => (
              <tr key={each.method}>
                <td>{each.method}</td>
                <Cell>{rate(each.requestsPerSecond)}</Cell>
                <Cell>{latency(each.p50)}</Cell>
                <Cell>{latency(each.p99)}</Cell>
                <Cell>{count(each.inFlight)}</Cell>
              </tr>
            ))}
          </Table>
          {data.methods.length === 0 && <p class="soft">No calls in the last 10 seconds.</p>}
        </section>
        <section class="panel" aria-labelledby="errors">
          <h2 id="errors">Errors</h2>
          {data.errors.length === 0 ? (
            <p class="soft">None since the start.</p>
          ) : (
            <Table caption="Errors by code" head={["Code", "#Per second", "#Since the start"]}>
              {data.errors.map(({ code, perSecond, total }) => (
                <tr key={code}>
                  <td>{code}</td>
                  <Cell>{rate(perSecond)}</Cell>
                  <Cell>{count(total)}</Cell>
                </tr>
              ))}
            </Table>
          )}
        </section>
      </div>
    </>
  );
}

function errorText({ errors }: Overview): string {
  const total = errors.reduce((sum, each) => (each.code === "Canceled" ? sum : sum + each.total), 0);
  return `${count(total)} since the start`;
}

function Tile({
  name,
  number,
  more,
  children,
}: {
  name: string;
  number: string;
  more: string | VNode;
  children?: VNode;
}): VNode {
  return (
    <section class="tile" aria-label={name}>
      <h2>{name}</h2>
      <div class="number">{number}</div>
      <div class="more">{more}</div>
      {children}
    </section>
  );
}

/** With the color of the second line of a chart. */
const P50 = ({ seconds }: { seconds: number | null }): VNode => (
  <>
    <i class="swatch" aria-hidden="true" />
    p50 {latency(seconds)}
  </>
);

const KINDS = { ok: "good", degraded: "warn", down: "bad", unknown: undefined } as const;

function Shard({ shard, history }: { shard: ShardReport; history: History }): VNode {
  const kind = KINDS[shard.state];
  const own = history.shards[shard.name];
  return (
    <li class={shard.state}>
      <div class="head">
        <h3>{shard.name}</h3>
        <Badge {...(kind && { kind })}>{shard.state}</Badge>
        {shard.isTimelineHost && <Badge>timeline host</Badge>}
        {shard.alarms.map((alarm) => (
          <Badge key={alarm} kind="bad">
            {alarm}
          </Badge>
        ))}
        <span class="right">
          {rate(shard.requestsPerSecond)}/s · p50 {latency(shard.p50)} · p99 {latency(shard.p99)}
        </span>
      </div>
      {own && (
        <Chart
          label={`Calls a second to ${shard.name}`}
          at={history.at}
          values={own.requests}
          format={rate}
        />
      )}
      <table class="members">
        <caption class="hidden">Members of {shard.name}</caption>
        <tbody>
          {shard.members.map((member) => (
            <Member key={member.endpoint} member={member} />
          ))}
        </tbody>
      </table>
    </li>
  );
}

const MEMBER_KINDS: Partial<Record<MemberReport["state"], "good" | "warn" | "bad">> = {
  leader: "good",
  follower: "good",
  connected: "good",
  "no leader": "bad",
  unreachable: "bad",
};

function Member({ member }: { member: MemberReport }): VNode {
  const { endpoint, state, version, size, quota, isInUse, problems } = member;
  const kind = MEMBER_KINDS[state];
  return (
    <>
      <tr>
        <td class="mono">{endpoint}</td>
        <td class="nowrap">
          <Badge {...(kind && { kind })}>{state}</Badge>
          {isInUse && <span class="soft"> in use</span>}
        </td>
        <td>{version ?? "–"}</td>
        <Cell>
          {bytes(size)}
          {quota !== null && size !== null && (
            <>
              {" "}
              <meter
                min={0}
                max={quota}
                high={quota * 0.85}
                value={size}
                aria-label={`Size of the quota of ${endpoint}`}
              />{" "}
              {bytes(quota)}
            </>
          )}
        </Cell>
      </tr>
      {problems.map((problem) => (
        <tr key={problem}>
          <td class="problem" colSpan={4}>
            {problem}
          </td>
        </tr>
      ))}
    </>
  );
}

/** Says changes of the shards' states to a screen reader. */
function Announcements({ data }: { data: Overview }): VNode {
  const before = useRef(new Map<string, string>());
  const [text, setText] = useState("");
  useEffect(() => {
    const changes = data.shards
      .filter(({ name, state }) => (before.current.get(name) ?? state) !== state)
      .map(({ name, state }) => `Shard ${name} is ${state}.`);
    before.current = new Map(data.shards.map(({ name, state }) => [name, state]));
    if (changes.length > 0) setText(changes.join(" "));
  }, [data]);
  return (
    <div class="hidden" aria-live="polite">
      {text}
    </div>
  );
}

/** Appends the newer samples, and drops those that are too old for the charts. */
function join(old: History, newer: History): History {
  if (newer.at.length === 0) return old;
  const after = (newer.at.at(-1) ?? 0) - CHART_MS;
  const found = old.at.findIndex((time) => time >= after);
  const from = found < 0 ? old.at.length : found;
  const both = <T,>(a: readonly T[] | undefined, b: readonly T[], missing: T): T[] => [
    ...(a ?? old.at.map(() => missing)).slice(from),
    ...b,
  ];
  return {
    at: both(old.at, newer.at, 0),
    requests: both(old.requests, newer.requests, null),
    errors: both(old.errors, newer.errors, null),
    p50: both(old.p50, newer.p50, null),
    p99: both(old.p99, newer.p99, null),
    sealP50: both(old.sealP50, newer.sealP50, null),
    sealP99: both(old.sealP99, newer.sealP99, null),
    watches: both(old.watches, newer.watches, 0),
    connections: both(old.connections, newer.connections, 0),
    memory: both(old.memory, newer.memory, 0),
    shards: Object.fromEntries(
      Object.entries(newer.shards).map(([name, { requests, p99 }]) => {
        const known = old.shards[name];
        return [name, { requests: both(known?.requests, requests, null), p99: both(known?.p99, p99, null) }];
      }),
    ),
  };
}
