import type { MemberReport, Overview, ShardReport } from "../console/report.js";
import { formatTable, plural, size, thousands } from "./table.js";

/** Most methods and codes to show. */
const MAX_ROWS = 8;
const BLOCKS = "▁▂▃▄▅▆▇█";
/** Cells of the chart of requests, for 15 minutes. */
const CHART_CELLS = 30;
const CHART_MS = 15 * 60_000;

/** The overview as lines of a terminal. `from` is where it comes from. */
export function topLines(overview: Overview, from: string): string[] {
  const { calls, timeline, watches, leases, connections, memory, shards, methods, errors } = overview;
  const behind = watches.lagging + watches.replaying;
  const age = overview.startedAt === null ? "" : `, up ${span((overview.at - overview.startedAt) / 1_000)}`;
  const workers = overview.workers > 1 ? `, ${plural(overview.workers, "worker")}` : "";
  const members = shards.flatMap((shard) => shard.members.map((member) => memberRow(shard, member)));
  const problems = shards.flatMap(({ name, members }) =>
    members.flatMap(({ endpoint, problems }) =>
      problems.map((text) => `${name}, member ${endpoint}: ${text}`),
    ),
  );
  return [
    `etcd-braid ${overview.version} at ${from}${age}${workers}, ${new Date(overview.at).toISOString().slice(11, 19)} UTC`,
    "",
    ...warnings(overview),
    ...formatTable([
      ["requests", `${rate(calls.requestsPerSecond)}/s`, latencies(calls), chartOf(overview)],
      ["errors", `${rate(calls.errorsPerSecond)}/s`, `${thousands(overview.inFlight)} calls in progress`],
      [
        "timeline",
        `revision ${thousands(overview.revision)}`,
        `sealed in ${latencies({ p50: timeline.sealP50, p99: timeline.sealP99 })}`,
        `${thousands(timeline.entries)} entries, ${rate(timeline.appendsPerSecond)} appends/s`,
      ],
      [
        "watches",
        thousands(watches.synced + behind),
        `${thousands(behind)} behind, ${plural(watches.streams, "stream")}`,
        `${rate(watches.eventsPerSecond)} events/s`,
      ],
      [
        "leases",
        `${thousands(leases.granted)} granted`,
        `${rate(leases.renewalsPerSecond)} keep-alives/s`,
        `${thousands(leases.ended)} ended`,
      ],
      [
        "clients",
        plural(connections.http2 + connections.http1, "connection"),
        `${thousands(connections.http2)} gRPC, ${thousands(connections.http1)} HTTP/1.1`,
      ],
      ["process", size(memory.resident), memory.cpu === null ? "-" : `${memory.cpu.toFixed(2)} CPU cores`],
    ]).split("\n"),
    "",
    ...formatTable([
      ["SHARD", "STATE", "CALLS/S", "P50", "P99", "ERRORS/S", "REVISION", "ALARMS"],
      ...shards.map(shardRow),
    ]).split("\n"),
    "",
    ...formatTable([["SHARD", "MEMBER", "STATE", "VERSION", "SIZE", "QUOTA"], ...members]).split("\n"),
    ...(problems.length > 0 ? ["", "PROBLEMS", ...problems] : []),
    ...(methods.length > 0
      ? [
          "",
          ...formatTable([
            ["METHOD", "CALLS/S", "P50", "P99", "OPEN"],
            ...methods
              .slice(0, MAX_ROWS)
              .map((each) => [
                each.method,
                rate(each.requestsPerSecond),
                latency(each.p50),
                latency(each.p99),
                thousands(each.inFlight),
              ]),
          ]).split("\n"),
        ]
      : []),
    ...(errors.length > 0
      ? [
          "",
          ...formatTable([
            ["ERROR", "PER SECOND", "SINCE THE START"],
            ...errors
              .slice(0, MAX_ROWS)
              .map(({ code, perSecond, total }) => [code, rate(perSecond), thousands(total)]),
          ]).split("\n"),
        ]
      : []),
  ].map(oneLine);
}

function warnings({ alarms, timeline, plan }: Overview): string[] {
  const texts = [
    ...alarms.map((alarm) => `ALARM ${alarm}`),
    ...(timeline.isHostReachable ? [] : ["The timeline host does not respond: writes fail until it does."]),
    ...(plan === null
      ? []
      : [`Plan ${plan} moves keys between shards. \`braid status\` shows its progress.`]),
  ];
  return texts.length === 0 ? [] : [...texts, ""];
}

function shardRow(shard: ShardReport): string[] {
  const name = shard.isTimelineHost ? `${shard.name} (timeline)` : shard.name;
  return [
    name,
    shard.state,
    rate(shard.requestsPerSecond),
    latency(shard.p50),
    latency(shard.p99),
    rate(shard.errorsPerSecond),
    shard.revision === null ? "-" : thousands(shard.revision),
    shard.alarms.join(", ") || "-",
  ];
}

function memberRow({ name }: ShardReport, member: MemberReport): string[] {
  return [
    name,
    member.endpoint,
    member.isInUse ? `${member.state}, in use` : member.state,
    member.version ?? "-",
    member.size === null ? "-" : size(member.size),
    member.quota === null ? "-" : size(member.quota),
  ];
}

/** Requests a second of the last 15 minutes, the newest on the right. */
function chartOf({ history, at }: Overview): string {
  const cells = Array.from({ length: CHART_CELLS }, (): number | undefined => undefined);
  history.at.forEach((time, i) => {
    const cell = CHART_CELLS - 1 - Math.floor(((at - time) / CHART_MS) * CHART_CELLS);
    const value = history.requests[i];
    if (value === null || value === undefined || cell < 0 || cell >= CHART_CELLS) return;
    cells[cell] = Math.max(cells[cell] ?? 0, value);
  });
  const most = Math.max(...cells.map((cell) => cell ?? 0));
  if (most <= 0) return "";
  const bars = cells.map((cell) =>
    cell === undefined ? " " : BLOCKS[Math.min(BLOCKS.length - 1, Math.floor((cell / most) * BLOCKS.length))],
  );
  return `${bars.join("").trimStart()}  at most ${rate(most)}/s`;
}

const latencies = ({ p50, p99 }: { readonly p50: number | null; readonly p99: number | null }): string =>
  `p50 ${latency(p50)}, p99 ${latency(p99)}`;

function latency(seconds: number | null): string {
  if (seconds === null) return "-";
  const ms = seconds * 1_000;
  return ms < 100 ? `${ms.toFixed(ms < 1 ? 2 : 1)} ms` : `${thousands(Math.round(ms))} ms`;
}

function rate(value: number | null): string {
  if (value === null) return "-";
  return value < 10 ? String(Math.round(value * 10) / 10) : thousands(Math.round(value));
}

function span(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.max(0, Math.floor(seconds))} s`;
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}

/** A member's text must not move the cursor. */
const oneLine = (text: string): string => text.replace(/\p{Cc}/gu, " ");
