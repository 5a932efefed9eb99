import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";

/**
 * Reads "+ pid" and "- pid" lines. When its input ends, because this process has ended, it kills the remaining processes.
 * This has to be another process (POSIX sh): a parent that was killed with SIGKILL can run no code, and Node.js offers no
 * parent-death signal.
 */
const script = `
pids=
while read -r verb pid; do
  rest=
  for p in $pids; do [ "$p" = "$pid" ] || rest="$rest $p"; done
  pids=$rest
  [ "$verb" = + ] && pids="$pids $pid"
done
for p in $pids; do kill -KILL "$p" 2>/dev/null; done
`;

const guarded = new Set<number>();
let guard: ChildProcess | undefined;

function startGuard(): ChildProcess {
  // In a separate session, so that Ctrl-C in the terminal does not reach it. In "/", so that it keeps no directory in use.
  const child = spawn("/bin/sh", ["-c", script], {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.unref();
  const input = child.stdin as unknown as Socket;
  input.unref();
  input.on("error", () => {}); // the guard has ended, and "exit" follows
  child.once("exit", () => {
    guard = undefined;
    if (guarded.size > 0) guard = startGuard();
  });
  for (const pid of guarded) input.write(`+ ${pid}\n`);
  return child;
}

/**
 * Ensures that `child` does not outlive this process: it is killed when this process ends, even by SIGKILL. All guarded
 * children share one small `sh` process.
 */
export function endWithParent(child: ChildProcess): void {
  const pid = child.pid;
  if (pid === undefined) return; // it never started
  guard ??= startGuard();
  guarded.add(pid);
  guard.stdin?.write(`+ ${pid}\n`);
  child.once("exit", () => {
    guarded.delete(pid);
    guard?.stdin?.write(`- ${pid}\n`);
  });
}
