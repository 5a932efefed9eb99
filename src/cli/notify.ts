import { spawn } from "node:child_process";
import type { Log } from "../ops/log.js";

/**
 * Reports the state of a unit with `Type=notify` to systemd. Without `NOTIFY_SOCKET` it does nothing. `assignments` are those
 * of sd_notify(3), such as `READY=1`. Node.js cannot send to Unix datagram sockets, so this runs `systemd-notify`. The unit
 * needs `NotifyAccess=all`, because that command is a separate process.
 */
export function notifySystemd(log: Log, ...assignments: string[]): void {
  if (!process.env.NOTIFY_SOCKET) return;
  const failed = (error: string) => log.warn({ error, assignments }, "systemd could not be notified");
  const child = spawn("systemd-notify", assignments, { stdio: "ignore" });
  child.once("error", ({ message }) => failed(message));
  child.once("exit", (code, signal) => {
    if (code !== 0) failed(`systemd-notify ended with ${signal ?? `exit code ${code}`}`);
  });
}
