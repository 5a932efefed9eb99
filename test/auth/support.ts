import assert from "node:assert/strict";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { type CommandResult, etcdctl } from "../support/etcdctl.js";
import { startStore, type TestStore, type TestStoreOptions } from "../support/store.js";

/** The lowest cost of hashing passwords. */
export const CHEAP = { flags: ["--bcrypt-cost", "4"] };
/** The proxies' own user. */
export const OWN = { user: "braid", password: "own-secret-4711" };
export const ROOT = "root:root-secret-42";

/** etcdctl as a user (`name:password`). */
export function as(user: string, endpoint: string, ...args: string[]): Promise<CommandResult> {
  return etcdctl(endpoint, "--user", user, ...args);
}

/** Runs a command. When it fails, the error has its output. */
export async function ok(result: Promise<CommandResult>): Promise<string> {
  const { code, stdout, stderr } = await result;
  assert.equal(code, 0, stderr);
  return stdout;
}

/** Makes the users root and braid, both with the role root, on one etcd. */
export async function addRoots(endpoint: string): Promise<void> {
  for (const [name, password] of [ROOT.split(":"), [OWN.user, OWN.password]]) {
    await ok(etcdctl(endpoint, "user", "add", `${name}:${password}`));
    await ok(etcdctl(endpoint, "user", "grant-role", name, "root"));
  }
}

/** Etcds with authentication on, and the users root and braid. */
export async function startGuardedEtcds(count: number): Promise<EtcdProcess[]> {
  const etcds = await startEtcds(count, CHEAP);
  await Promise.all(
    etcds.map(async ({ endpoint }) => {
      await addRoots(endpoint);
      await ok(etcdctl(endpoint, "auth", "enable"));
    }),
  );
  return etcds;
}

/** A store with authentication on everywhere. `remove` also ends the etcds. */
export async function startGuardedStore(options: TestStoreOptions = {}): Promise<TestStore> {
  const backends = await startGuardedEtcds(options.shards ?? 3);
  const remove = async () => {
    await Promise.all(backends.map((etcd) => etcd.remove()));
  };
  try {
    const store = await startStore({ ...options, backends, config: { auth: OWN, ...options.config } });
    return {
      ...store,
      remove: async () => {
        await store.remove();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
