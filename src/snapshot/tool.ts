import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { SnapshotError } from "./manifest.js";

const run = promisify(execFile);
/** etcd's programs that can build a data directory from a snapshot file, the newer one first. */
const CANDIDATES = ["etcdutl", "etcdctl"];

/** A program with `snapshot restore`. */
export interface Tool {
  readonly command: string;
  /** E.g. 3.5.21. */
  readonly version: string;
}

/**
 * Finds the program for the restore: `command` if given, or else `etcdutl` or `etcdctl` on the PATH. It must have the minor
 * version of the saved etcds (`versions`) or a newer one; the same minor version is preferred. Rejects with `SnapshotError`.
 */
export async function findTool(command: string | undefined, versions: readonly string[]): Promise<Tool> {
  const needed = Math.max(...versions.map(minor));
  const found: Tool[] = [];
  const failures: string[] = [];
  for (const candidate of command === undefined ? CANDIDATES : [command]) {
    try {
      found.push({ command: candidate, version: await versionOf(candidate) });
    } catch (error) {
      failures.push(`${candidate}: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  const usable = found.filter(({ version }) => minor(version) >= needed);
  const tool = usable.find(({ version }) => minor(version) === needed) ?? usable[0];
  if (tool !== undefined) return tool;
  const reasons = [
    ...found.map(({ command, version }) => `${command} is version ${version}, which is too old`),
    ...failures,
  ];
  throw new SnapshotError(
    `data directories are built with etcd's own etcdutl (or etcdctl before 3.6) of version ${versionText(needed)} or ` +
      `newer, and there is none on the PATH (${reasons.join("; ")}); install it, or name one with --etcdutl`,
  );
}

async function versionOf(command: string): Promise<string> {
  const { stdout } = await run(command, ["version"], { env: environment() });
  const version = /version: (\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1];
  if (version === undefined) throw new Error("it does not report its version");
  // Since 3.6 only etcdutl has this command.
  await run(command, ["snapshot", "restore", "--help"], { env: environment() });
  return version;
}

/** Runs `snapshot restore` with these options. Rejects with `SnapshotError` and the program's error output. */
export async function restoreWith(
  { command }: Tool,
  file: string,
  options: readonly string[],
): Promise<void> {
  try {
    await run(command, ["snapshot", "restore", file, ...options], { env: environment(), maxBuffer: 1 << 26 });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    throw new SnapshotError(`${command} snapshot restore failed: ${(stderr || message).trim()}`, {
      cause: error,
    });
  }
}

/** The environment without the user's settings for etcdctl, which may be for another store. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith("ETCD"));
  return { ...Object.fromEntries(own), ETCDCTL_API: "3" };
}

/** 3005 for 3.5.21. */
function minor(version: string): number {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return 1000 * major + minor;
}

const versionText = (minor: number): string => `${Math.floor(minor / 1000)}.${minor % 1000}`;
