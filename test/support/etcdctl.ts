import { execFile } from "node:child_process";

export interface CommandResult {
  /** Exit code; 1 also when a signal ended the command. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `etcdctl --endpoints <endpoints> <args>` and resolves however it ends. */
export function etcdctl(endpoints: string, ...args: string[]): Promise<CommandResult> {
  const env = { ...process.env, ETCDCTL_API: "3" };
  return new Promise((resolve) => {
    execFile(
      "etcdctl",
      ["--endpoints", endpoints, ...args],
      { env, timeout: 60_000 },
      (error, stdout, stderr) => {
        const code = error ? (typeof error.code === "number" ? error.code : 1) : 0;
        resolve({ code, stdout, stderr });
      },
    );
  });
}
