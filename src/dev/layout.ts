import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EtcdPlan } from "./etcd.js";
import { freePort, isFree } from "./ports.js";

/** Shards of the local store. Their names decide where keys lie, so they never change. */
const SHARD_NAMES = ["a", "b", "c"];

/** What a local store consists of and where it lies. */
export interface Layout {
  readonly dir: string;
  /** `host:port` of the proxy. */
  readonly listen: string;
  readonly shards: readonly EtcdPlan[];
  /** The proxy's configuration file, written from this layout. */
  readonly configFile: string;
}

/** Ports of an etcd, kept in the data folder so that the next start is found at the same place. */
interface Ports {
  client: number;
  peer: number;
}

/**
 * Plans the store of a data folder: ports as at the last start where they are still free, others drawn
 * anew. Writes what must be there before the processes start.
 */
export async function planLayout(dir: string, proxyPort: number): Promise<Layout> {
  mkdirSync(dir, { recursive: true });
  const remembered = readPorts(join(dir, "ports.json"));
  const ports: Record<string, Ports> = {};
  for (const name of SHARD_NAMES) {
    ports[name] = { client: await keep(remembered[name]?.client), peer: await keep(remembered[name]?.peer) };
  }
  writeFileSync(join(dir, "ports.json"), `${JSON.stringify(ports, null, 2)}\n`);
  const layout = {
    dir,
    listen: `127.0.0.1:${proxyPort}`,
    shards: SHARD_NAMES.map((name) => ({
      name,
      dir: join(dir, `etcd-${name}`),
      clientUrl: `http://127.0.0.1:${ports[name].client}`,
      peerUrl: `http://127.0.0.1:${ports[name].peer}`,
    })),
    configFile: join(dir, "shards.yaml"),
  };
  writeFileSync(layout.configFile, configText(layout));
  return layout;
}

async function keep(port: number | undefined): Promise<number> {
  return port !== undefined && (await isFree(port)) ? port : freePort();
}

function readPorts(file: string): Record<string, Ports | undefined> {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return {}; // the first start, or a file cut off by a crash: new ports do no harm
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
