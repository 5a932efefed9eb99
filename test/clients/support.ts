import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { endWithParent } from "../../src/dev/guard.js";
import { ROOT, startGuardedStore } from "../auth/support.js";
import { startStore, type TestStore } from "../support/store.js";
import { TENANTS } from "./tenants.js";

/** True in `npm run test:clients`: clients that are not there yet are fetched and built. */
const complete = process.env.BRAID_TEST_CLIENTS === "1";

/** Longest time a client may take for all its scenarios, ms. */
const RUN_TIMEOUT = 240_000;
/** Longest time to fetch what a client needs, ms: a registry that hangs must not hold up CI. */
const FETCH_TIMEOUT = 180_000;
/** Longest time to build a client, ms. */
const BUILD_TIMEOUT = 600_000;

// Tests run compiled or from their sources; what is not TypeScript stays with the sources.
const root = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "../../" : "../../../", import.meta.url),
);

/** A folder of a client's sources: `test/clients/<name>`. */
export const sourcesOf = (name: string): string => join(root, "test/clients", name);

/** One store that is open to everybody and one with authentication on, two proxies each; and one with tenants. */
export interface Stores {
  readonly open: TestStore;
  readonly guarded: TestStore;
  /** With one proxy: limits are divided between proxies, and then no count would be exact. */
  readonly limited: TestStore;
  /** What a client is told by: `ENDPOINTS`, `GUARDED`, `ROOT` and `LIMITED`. */
  readonly env: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

/** Starts all stores. */
export async function startStores(): Promise<Stores> {
  const started: TestStore[] = [];
  const keep = async (starting: Promise<TestStore>) => {
    const store = await starting;
    started.push(store);
    return store;
  };
  const remove = async () => {
    await Promise.all(started.map((store) => store.remove()));
  };
  try {
    const open = await keep(startStore({ proxies: 2 }));
    const guarded = await keep(startGuardedStore({ proxies: 2 }));
    const limited = await keep(startStore({ shards: 2, config: { tenants: TENANTS } }));
    const list = (store: TestStore) => store.proxies.map(({ endpoint }) => endpoint).join(",");
    const env = { ENDPOINTS: list(open), GUARDED: list(guarded), ROOT, LIMITED: limited.endpoint };
    return { open, guarded, limited, env, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** How to make a client that is fetched from a registry and built. */
export interface Client {
  /** Its name under .cache/clients. */
  readonly name: string;
  /** Its sources: a folder of test/clients. */
  readonly sources: string;
  /** Names of the files there that the build depends on. */
  readonly inputs: RegExp;
  /** A command that fails or is missing where the toolchain is, with its arguments. */
  readonly toolchain: readonly string[];
  /** Commands that fetch from a registry, in the sources' folder, what the client in the folder `target` needs. */
  fetch(target: string): readonly (readonly string[])[];
  /** Commands that build it into `target`, in the sources' folder. */
  build(target: string): readonly (readonly string[])[];
  /** Variables of the environment for the build. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Where the built client is: a folder under .cache/clients that belongs to exactly these sources. Otherwise why there is
 * none, for the test to be skipped with. Only `npm run test:clients` fetches and builds; `npm test` takes what is built.
 */
export async function builtClient(client: Client): Promise<{ target: string } | { missing: string }> {
  const sources = sourcesOf(client.sources);
  const hash = createHash("sha256").update(
    JSON.stringify([client.fetch(""), client.build(""), client.env ?? {}]),
  );
  for (const file of readdirSync(sources).sort()) {
    if (client.inputs.test(file)) hash.update(file).update(readFileSync(join(sources, file)));
  }
  const cache = join(root, ".cache/clients");
  const target = join(cache, `${client.name}-${hash.digest("hex").slice(0, 12)}`);
  if (existsSync(target)) return { target };
  const [tool, ...args] = client.toolchain;
  if (spawnSync(tool, args).status !== 0) return { missing: `${tool} is not installed here` };
  if (!complete) return { missing: "not built yet: npm run test:clients" };
  mkdirSync(cache, { recursive: true });
  // A build that was interrupted leaves nothing under the final name.
  const unfinished = `${target}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  const run = async ([command, ...rest]: readonly string[], timeout: number) => {
    const env = { ...process.env, ...client.env };
    await promisify(execFile)(command, rest, { cwd: sources, env, timeout, maxBuffer: 1 << 26 });
  };
  try {
    for (const command of client.fetch(unfinished)) await run(command, FETCH_TIMEOUT);
  } catch (error) {
    // A registry that does not answer is no fault of the code under test.
    return { missing: `${client.name} cannot be fetched here: ${whyNotFetched(error as FetchError)}` };
  }
  for (const command of client.build(unfinished)) await run(command, BUILD_TIMEOUT);
  renameSync(unfinished, target);
  return { target };
}

interface FetchError extends Error {
  readonly stdout?: string;
  readonly stderr?: string;
  /** Whether it took too long. */
  readonly killed?: boolean;
}

function whyNotFetched({ stdout = "", stderr = "", killed, message }: FetchError): string {
  if (killed) return `not done within ${FETCH_TIMEOUT / 1_000} s`;
  return /(ERROR|dial|lookup).*/.exec(stdout + stderr)?.[0] ?? message;
}

/**
 * Runs a client's program against the stores. `env` is added to what the stores tell it. It has to print `ok NAME` for each of `scenarios` and to end with 0; what it
 * said otherwise is in the error.
 */
export async function runClient(
  command: readonly string[],
  stores: Stores,
  scenarios: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const child = spawn(command[0], command.slice(1), {
    env: { ...process.env, ...stores.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  endWithParent(child);
  const timer = setTimeout(() => child.kill("SIGKILL"), RUN_TIMEOUT);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const code = await new Promise<number | string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status, signal) => resolve(status ?? signal ?? 1));
  });
  clearTimeout(timer);
  const held = [...output.matchAll(/^ok (\S+)$/gm)].map(([, name]) => name);
  assert.deepEqual({ code, held: held.toSorted() }, { code: 0, held: scenarios.toSorted() }, output);
}
