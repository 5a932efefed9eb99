import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import type { Random } from "../kv/model.js";
import type { EtcdProcess } from "../support/etcd.js";
import type { ProxyProcess } from "../support/store.js";
import { pause } from "./recorder.js";

export interface Targets {
  readonly etcds: readonly EtcdProcess[];
  /** Members of one cluster, of which it can do without one: that is stopped often. May be empty. */
  readonly host: readonly EtcdProcess[];
  readonly proxies: readonly ProxyProcess[];
  /** Compacts the store somewhere; undefined in a run without compactions. */
  readonly compact: (() => Promise<unknown>) | undefined;
  readonly over: () => boolean;
  /** Of a run with plans. */
  readonly plans?: PlanTargets | undefined;
}

export interface PlanTargets {
  /** Process id of the proxy that moves keys, or of one of its workers. */
  mover(): Promise<number | undefined>;
  /** Lets another proxy move keys, too. */
  endSeat(): Promise<void>;
  /** The etcds that join or leave the store by the active plan, if any. */
  concerned(): readonly EtcdProcess[];
}

/** Time without trouble at the start and between two strokes, ms. */
const CALM = 1_500;
/** Longest time that a process is away, ms. */
const AWAY = 2_000;
/** The same of a mover that is stopped: the lease of its seat may end. */
const MOVER_AWAY = 7_000;
/** How often a proxy stops in a stroke, and longest time of each stop and between two, ms. */
const STUTTERS = 40;
const MAX_STUTTER = 70;

/** Kills and stops processes at random until the run is over; then all of them run again. Rejects when one does not come back. */
export async function torment(random: Random, targets: Targets): Promise<string[]> {
  const done: string[] = [];
  const say = (what: string) => done.push(`${performance.now().toFixed(0)} ms: ${what}`);
  const killEtcd = async (etcds = targets.etcds) => {
    const etcd = random.pick(etcds);
    say(`kill etcd ${etcd.name}`);
    await etcd.kill();
    await pause(random.below(AWAY));
    await etcd.restart();
    say(`etcd ${etcd.name} is back`);
  };
  const killProxy = async (proxy = random.pick(targets.proxies)) => {
    say(`kill proxy ${proxy.port}`);
    await proxy.kill();
    await pause(random.below(AWAY / 4));
    await proxy.start();
    say(`proxy ${proxy.port} is back`);
  };
  const restartProxy = async () => {
    const proxy = random.pick(targets.proxies);
    say(`restart proxy ${proxy.port}`);
    await proxy.restart();
    say(`proxy ${proxy.port} is back`);
  };
  const blackout = async () => {
    say("kill all etcds");
    await Promise.all(targets.etcds.map((etcd) => etcd.kill()));
    await pause(random.below(AWAY));
    await Promise.all(targets.etcds.map((etcd) => etcd.restart()));
    say("all etcds are back");
  };
  const freeze = async (target: EtcdProcess | ProxyProcess, name: string) => {
    say(`stop ${name}`);
    await target.kill("SIGSTOP");
    await pause(500 + random.below(AWAY));
    await target.kill("SIGCONT");
    say(`continue ${name}`);
  };
  const freezeEtcd = (etcds = targets.etcds) => {
    const etcd = random.pick(etcds);
    return freeze(etcd, `etcd ${etcd.name}`);
  };
  const freezeProxy = () => {
    const proxy = random.pick(targets.proxies);
    return freeze(proxy, `proxy ${proxy.port}`);
  };
  const freezeMember = () => {
    const member = random.pick(targets.host);
    return freeze(member, `member ${member.endpoint} of the timeline host`);
  };
  const { compact, host, plans } = targets;
  const mover = async () => {
    const pid = await plans?.mover();
    const isIt = (proxy: ProxyProcess) =>
      proxy.isRunning && (proxy.pid === pid || parentOf(pid) === proxy.pid);
    const proxy = targets.proxies.find(isIt);
    return pid === undefined || proxy === undefined ? undefined : { pid, proxy };
  };
  const killMover = async () => {
    const found = await mover();
    if (found === undefined) return;
    say("kill the mover");
    await killProxy(found.proxy);
  };
  /** Stops the mover's process, often until another proxy has taken over. */
  const freezeMover = async () => {
    const found = await mover();
    if (found === undefined) return;
    say(`stop the mover, ${found.pid} of proxy ${found.proxy.port}`);
    process.kill(found.pid, "SIGSTOP");
    if (random.chance(0.5)) await plans?.endSeat();
    await pause(500 + random.below(MOVER_AWAY));
    process.kill(found.pid, "SIGCONT");
    say("continue the mover");
  };
  /** Stops a proxy again and again, so that calls reach it before it has followed the log. */
  const stutter = async () => {
    const proxy = random.pick(targets.proxies);
    say(`stutter of proxy ${proxy.port}`);
    for (let i = 0; i < STUTTERS; i++) {
      await proxy.kill("SIGSTOP");
      await pause(random.below(MAX_STUTTER));
      await proxy.kill("SIGCONT");
      await pause(random.below(MAX_STUTTER));
    }
  };
  /** Another proxy takes over while the mover is at work. */
  const overtake = async () => {
    await plans?.endSeat();
  };
  const strokes = [
    () => killEtcd(),
    () => killEtcd(),
    () => killEtcd(),
    () => killProxy(),
    () => killProxy(),
    restartProxy,
    blackout,
    () => freezeEtcd(),
    freezeProxy,
    () => Promise.all([killEtcd(), killProxy()]),
    ...(compact ? [compact, compact, compact] : []),
    ...(host.length > 0 ? Array(plans ? 2 : 8).fill(freezeMember) : []),
    ...(plans
      ? [
          killMover,
          killMover,
          freezeMover,
          freezeMover,
          ...Array(6).fill(stutter),
          overtake,
          overtake,
          () => killEtcd(plans.concerned()),
          () => killEtcd(plans.concerned()),
          () => freezeEtcd(plans.concerned()),
          () => freezeEtcd(plans.concerned()),
          () => Promise.all([killEtcd(plans.concerned()), killMover()]),
        ]
      : []),
  ];
  await pause(CALM);
  while (!targets.over()) {
    await random.pick(strokes)();
    await pause(random.below(CALM));
  }
  return done;
}

/** The parent of a process; undefined if there is none, or the system does not say. */
function parentOf(pid: number | undefined): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ")[1]);
  } catch {
    return undefined;
  }
}
