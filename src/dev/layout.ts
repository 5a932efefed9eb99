import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EtcdPlan } from "./etcd.js";
import { freePort, isFree } from "./ports.js";

/** Shards of the local store. Their names decide where keys live, so they never change. */
const SHARD_NAMES = ["a", "b", "c"];

/** The parts of a local store and their places. */
export interface Layout {
  readonly dir: string;
  /** `host:port` of the proxy. */
  readonly listen: string;
  readonly shards: readonly EtcdPlan[];
  /** The proxy's configuration file, written from this layout. */
  readonly configFile: string;
}

/** Ports of an etcd, saved in the data folder so that the next start uses the same. */
interface Ports {
  client: number;
  peer: number;
}

/**
 * Plans the store of a data folder. Uses the ports of the last start if they are still free, and new ones otherwise. Writes
 * the files that the processes need.
 */
export async function planLayout(dir: string, proxyPort: number): Promise<Layout> {
  mkdirSync(dir, { recursive: true });
  const remembered = readPorts(join(dir, "ports.json"));
  const ports = new Map<string, Ports>();
  for (const name of SHARD_NAMES) {
    const { client, peer } = remembered[name] ?? {};
    ports.set(name, { client: await keep(client), peer: await keep(peer) });
  }
  writeFileSync(join(dir, "ports.json"), `${JSON.stringify(Object.fromEntries(ports), null, 2)}\n`);
  const layout = {
    dir,
    listen: `127.0.0.1:${proxyPort}`,
    shards: [...ports].map(([name, { client, peer }]) => ({
      name,
      dir: join(dir, `etcd-${name}`),
      clientUrl: `http://127.0.0.1:${client}`,
      peerUrl: `http://127.0.0.1:${peer}`,
    })),
    configFile: join(dir, "shards.yaml"),
  };
  writeFileSync(layout.configFile, configText(layout));
  return layout;
}

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

function configText(layout: Layout): string {
  const shards = layout.shards.map(
    ({ name, clientUrl }) => `  - name: ${name}\n    endpoints: ["${clientUrl.replace("http://", "")}"]\n`,
  );
  return [
    "# Written by `braid dev` at every start.\n",
    `listen: ["${layout.listen}"]\n`,
    "shards:\n",
    ...shards,
    "log:\n  level: warn\n",
  ].join("");
}
