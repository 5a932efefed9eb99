import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Period in which a process may use its share, in microseconds: the kernel's default, and that of containers. */
const PERIOD_MICROSECONDS = 100_000;

/** This machine does not let us limit processes. */
export class NoQuotaError extends Error {}

/** Where the kernel takes quotas: cgroups of version 1 with the controller `cpu`, or version 2. */
export interface Cgroups {
  readonly version: 1 | 2;
  /** Folder in which groups can be made. */
  readonly root: string;
}

/** Finds the cgroups in the text of `/proc/mounts`. Throws a NoQuotaError if there are none for CPU time. */
export function findCgroups(mounts: string): Cgroups {
  const all = mounts.split("\n").map((line) => line.split(" "));
  const v1 = all.find(([, , type, options]) => type === "cgroup" && options.split(",").includes("cpu"));
  if (v1 !== undefined) return { version: 1, root: v1[1] };
  const v2 = all.find(([, , type]) => type === "cgroup2");
  if (v2 !== undefined) return { version: 2, root: v2[1] };
  throw new NoQuotaError("no cgroups are mounted, so the etcds cannot be held to a share of a core");
}

/** Holds processes to a share of a core each. */
export class Quotas {
  private readonly groups: string[] = [];
  private readonly folder: string;

  /** Throws a NoQuotaError if this process may not make groups. */
  constructor(private readonly cgroups: Cgroups) {
    this.folder = join(cgroups.root, `etcd-braid-bench-${process.pid}`);
    attempt(() => {
      this.passOn(cgroups.root);
      mkdirSync(this.folder);
      this.passOn(this.folder);
    });
  }

  /** Holds each process to `share` of a core, 0 to 1. The processes have no other limit in common. */
  limit(pids: readonly number[], share: number): void {
    const quota = Math.round(PERIOD_MICROSECONDS * share);
    attempt(() => {
      for (const pid of pids) {
        const group = join(this.folder, `${pid}`);
        mkdirSync(group);
        this.groups.push(group);
        if (this.cgroups.version === 2)
          writeFileSync(join(group, "cpu.max"), `${quota} ${PERIOD_MICROSECONDS}`);
        else {
          writeFileSync(join(group, "cpu.cfs_period_us"), `${PERIOD_MICROSECONDS}`);
          writeFileSync(join(group, "cpu.cfs_quota_us"), `${quota}`);
        }
        writeFileSync(join(group, "cgroup.procs"), `${pid}`);
      }
    });
  }

  /** Removes the groups. The processes in them must have ended. */
  close(): void {
    for (const group of [...this.groups, this.folder]) {
      try {
        rmdirSync(group);
      } catch {
        // The kernel does not remove a group with a process that is still ending.
      }
    }
  }

  /** With version 2, groups in `folder` have no file for the quota otherwise. */
  private passOn(folder: string): void {
    if (this.cgroups.version === 2) writeFileSync(join(folder, "cgroup.subtree_control"), "+cpu");
  }
}

function attempt(action: () => void): void {
  try {
    action();
  } catch (reason) {
    const { message } = reason as Error;
    throw new NoQuotaError(
      `the etcds cannot be held to a share of a core, because cgroups cannot be used: ${message}`,
    );
  }
}

/** Quotas on this machine. Throws a NoQuotaError if there are none. */
export function openQuotas(): Quotas {
  let mounts = "";
  try {
    mounts = readFileSync("/proc/mounts", "utf8");
  } catch {
    // not Linux
  }
  return new Quotas(findCgroups(mounts));
}
