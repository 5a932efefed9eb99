/** Addresses and data directory of one etcd process. URLs are `http://host:port`. */
export interface EtcdPlan {
  readonly name: string;
  readonly dir: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** `--initial-cluster`; default: only this member. etcd reads it only if the data directory is new. */
  readonly initialCluster?: string;
}

/**
 * Flags that let a shard accept all requests that proxies with default limits accept. Proxies send writes in transactions
 * with one more compare or level, which need more operations and bytes than etcd's defaults (128, and 1.5 MiB).
 */
export const SHARD_FLAGS: readonly string[] = ["--max-txn-ops", "130", "--max-request-bytes", "1581056"];

/** The command line of an etcd process, without the binary. */
export function etcdArguments(plan: EtcdPlan): string[] {
  return [
    ["--name", plan.name],
    ["--data-dir", plan.dir],
    ["--listen-client-urls", plan.clientUrl],
    ["--advertise-client-urls", plan.clientUrl],
    ["--listen-peer-urls", plan.peerUrl],
    ["--initial-advertise-peer-urls", plan.peerUrl],
    ["--initial-cluster", plan.initialCluster ?? `${plan.name}=${plan.peerUrl}`],
    ["--logger", "zap"],
  ].flat();
}

/**
 * This process's environment without ETCD_*: etcd reads every flag from the environment too, and the shell's flags are for
 * other etcds. ETCD_UNSUPPORTED_ARCH stays, because on some processors etcd does not start without it.
 */
export function etcdEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("ETCD_") || name === "ETCD_UNSUPPORTED_ARCH",
  );
  return Object.fromEntries(kept);
}

/**
 * True if the etcd of `plan` responds at its URL and has a leader. False also if another etcd has taken the port and
 * responds there.
 */
export async function isEtcdReady(plan: EtcdPlan): Promise<boolean> {
  const health = await request<{ health?: unknown }>(`${plan.clientUrl}/health`);
  if (String(health?.health) !== "true") return false;
  const list = await request<{ members?: { name?: string; clientURLs?: string[] }[]; message?: string }>(
    `${plan.clientUrl}/v3/cluster/member/list`,
    { method: "POST", body: "{}" },
  );
  // With authentication on, newer etcds list their members only for users. Then this cannot be checked.
  if (list?.message?.endsWith("user name is empty")) return true;
  return (list?.members ?? []).some(
    (member) => member.name === plan.name && member.clientURLs?.includes(plan.clientUrl),
  );
}

/** Timeout of one request. While an etcd starts, requests are repeated. */
const RESPONSE_TIMEOUT_MS = 2_000;

async function request<Reply>(url: string, init: RequestInit = {}): Promise<Reply | undefined> {
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(RESPONSE_TIMEOUT_MS) });
    return (await response.json()) as Reply;
  } catch {
    return undefined; // no server yet, or not an etcd
  }
}
