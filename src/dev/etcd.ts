/** Where one etcd process listens and keeps its data. URLs are `http://host:port`. */
export interface EtcdPlan {
  readonly name: string;
  readonly dir: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** `--initial-cluster`; default: this member alone. Read by etcd only when the data directory is new. */
  readonly initialCluster?: string;
}

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
 * This process's environment without ETCD_*: etcd takes every flag from there too, and the shell's are not
 * meant for ours. One stays: on some processors etcd starts only when it is set.
 */
export function etcdEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("ETCD_") || name === "ETCD_UNSUPPORTED_ARCH",
  );
  return Object.fromEntries(kept);
}

/**
 * True when the etcd of `plan` answers at its URL and has a leader. False while it does not, and when
 * another etcd, which got the port first, is the one that answers.
 */
export async function isEtcdReady(plan: EtcdPlan): Promise<boolean> {
  const health = await ask<{ health?: unknown }>(`${plan.clientUrl}/health`);
  if (String(health?.health) !== "true") return false;
  const list = await ask<{ members?: { name?: string; clientURLs?: string[] }[]; message?: string }>(
    `${plan.clientUrl}/v3/cluster/member/list`,
    { method: "POST", body: "{}" },
  );
  // Newer etcds tell their members only to users, once they have some: then that is all there is to see.
  if (list?.message?.endsWith("user name is empty")) return true;
  return (list?.members ?? []).some(
    (member) => member.name === plan.name && member.clientURLs?.includes(plan.clientUrl),
  );
}

/** How long one question may take, ms; an etcd that is busy starting is asked again. */
const ASK_TIMEOUT = 2_000;

async function ask<Reply>(url: string, request: RequestInit = {}): Promise<Reply | undefined> {
  try {
    const response = await fetch(url, { ...request, signal: AbortSignal.timeout(ASK_TIMEOUT) });
    return (await response.json()) as Reply;
  } catch {
    return undefined; // nothing listens yet, or not an etcd
  }
}
