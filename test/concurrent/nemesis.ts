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
}

/** Time without trouble at the start and between two strokes, ms. */
const CALM = 1_500;
/** Longest time that a process is away, ms. */
const AWAY = 2_000;

/** Kills and stops processes at random until the run is over; then all of them run again. Rejects when one does not come back. */
export async function torment(random: Random, targets: Targets): Promise<string[]> {
  const done: string[] = [];
  const say = (what: string) => done.push(`${performance.now().toFixed(0)} ms: ${what}`);
  const killEtcd = async () => {
    const etcd = random.pick(targets.etcds);
    say(`kill etcd ${etcd.name}`);
    await etcd.kill();
    await pause(random.below(AWAY));
    await etcd.restart();
    say(`etcd ${etcd.name} is back`);
  };
  const killProxy = async () => {
    const proxy = random.pick(targets.proxies);
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
  const freezeEtcd = () => {
    const etcd = random.pick(targets.etcds);
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
  const { compact, host } = targets;
  const strokes = [
    killEtcd,
    killEtcd,
    killEtcd,
    killProxy,
    killProxy,
    restartProxy,
    blackout,
    freezeEtcd,
    freezeProxy,
    () => Promise.all([killEtcd(), killProxy()]),
    ...(compact ? [compact, compact, compact] : []),
    ...(host.length > 0 ? Array(8).fill(freezeMember) : []),
  ];
  await pause(CALM);
  while (!targets.over()) {
    await random.pick(strokes)();
    await pause(random.below(CALM));
  }
  return done;
}
