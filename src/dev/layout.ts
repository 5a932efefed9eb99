import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EtcdPlan } from "./etcd.js";
import { freePort, isFree } from "./ports.js";

/** Number of shards of a new store. */
const DEFAULT_SHARDS = 3;
/** The console's port is that of the proxy and this number, if it is free: 2381 for 2379, as for etcd's metrics. */
const CONSOLE_OFFSET = 2;
/** Names of shards, in the order in which they join. They decide where keys live, so they never change. */
const SHARD_NAMES = [..."abcdefghijklmnopqrstuvwxyz"];

/** The parts of a local store and their places. */
export interface Layout {
  readonly dir: string;
  /** `host:port` of the proxy. */
  readonly listen: string;
  /** `host:port` of the console. */
  readonly console: string;
  readonly shards: readonly EtcdPlan[];
  /** The proxy's configuration file, written from this layout. */
  readonly configFile: string;
  /** The file that makes all of `shards` shards of the store; undefined if they are already. */
  readonly grownFile: string | undefined;
}

/** Ports of an etcd, saved in the data folder so that the next start uses the same. */
interface Ports {
  client: number;
  peer: number;
  /** True until the etcd is a shard of the store. */
  joins?: boolean;
}

/** A store has more shards than were asked for. */
export class TooManyShards extends Error {
  constructor(readonly shards: number) {
    super(`the store has ${shards} shards already`);
  }
}

/**
 * Plans the store of a data folder, with `count` shards, by default as many as it has. Uses the ports of the last start if they
 * are still free, and new ones otherwise. Writes the files that the processes need. Rejects with `TooManyShards`.
 */
export async function planLayout(dir: string, proxyPort: number, count?: number): Promise<Layout> {
  mkdirSync(dir, { recursive: true });
  const file = portsFile(dir);
  const remembered = readPorts(file);
  const known = SHARD_NAMES.findLastIndex((name) => name in remembered || existsSync(dataOf(dir, name))) + 1;
  if (count !== undefined && count < known) throw new TooManyShards(known);
  const ports = new Map<string, Ports>();
  for (const name of SHARD_NAMES.slice(0, count ?? (known || DEFAULT_SHARDS))) {
    const before = remembered[name];
    const isNew = before === undefined && !existsSync(dataOf(dir, name));
    const joins = isNew ? known > 0 : before?.joins === true;
    const { client, peer } = before ?? {};
    ports.set(name, { client: await keep(client), peer: await keep(peer), ...(joins && { joins }) });
  }
  writePorts(file, ports);
  const consolePort = proxyPort + CONSOLE_OFFSET;
  const layout = {
    dir,
    listen: `127.0.0.1:${proxyPort}`,
    console: `127.0.0.1:${consolePort <= 65_535 && (await isFree(consolePort)) ? consolePort : await freePort()}`,
    shards: [...ports].map(([name, { client, peer }]) => ({
      name,
      dir: dataOf(dir, name),
      clientUrl: `http://127.0.0.1:${client}`,
      peerUrl: `http://127.0.0.1:${peer}`,
    })),
    configFile: join(dir, "shards.yaml"),
  };
  const inForce = layout.shards.filter(({ name }) => !ports.get(name)?.joins);
  const grownFile = inForce.length < layout.shards.length ? join(dir, "grown.yaml") : undefined;
  writeFileSync(layout.configFile, configText(layout, inForce));
  if (grownFile !== undefined) writeFileSync(grownFile, configText(layout, layout.shards));
  return { ...layout, grownFile };
}

/** Records that all etcds of the layout are shards of the store. */
export function recordGrowth(layout: Layout): void {
  const { dir, shards, configFile } = layout;
  const file = portsFile(dir);
  const ports = Object.entries(readPorts(file)).map(([name, each]): [string, Partial<Ports>] => {
    const { joins: _, ...rest } = each ?? {};
    return [name, rest];
  });
  writeFileSync(configFile, configText(layout, shards));
  writePorts(file, ports);
}

const dataOf = (dir: string, name: string): string => join(dir, `etcd-${name}`);

const portsFile = (dir: string): string => join(dir, "ports.json");

const writePorts = (file: string, ports: Iterable<readonly [string, Partial<Ports>]>): void =>
  writeFileSync(file, `${JSON.stringify(Object.fromEntries(ports), null, 2)}\n`);

async function keep(port: number | undefined): Promise<number> {
  return port !== undefined && (await isFree(port)) ? port : freePort();
}

function readPorts(file: string): Record<string, Partial<Ports> | undefined> {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return {}; // the first start, or a file that a crash has truncated: new ports do no harm
  }
}

function configText(
  { listen, console }: Pick<Layout, "listen" | "console">,
  plans: readonly EtcdPlan[],
): string {
  const shards = plans.map(
    ({ name, clientUrl }) => `  - name: ${name}\n    endpoints: ["${clientUrl.replace("http://", "")}"]\n`,
  );
  return [
    "# Written by `braid dev` at every start.\n",
    `listen: ["${listen}"]\n`,
    "shards:\n",
    ...shards,
    `metrics:\n  listen: "${console}"\n`,
    "console:\n  enabled: true\n",
    "log:\n  level: warn\n",
  ].join("");
}
