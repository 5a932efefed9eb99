import { Meter } from "../processes.js";
import { quantile } from "../statistics.js";
import { Connection } from "./connection.js";
import type { TaskResult, UnaryTask } from "./task.js";
import { Watchers } from "./watchers.js";

/** How long the last requests may take after the measurement. */
const COMPLETION_TIMEOUT_MS = 20_000;

/** A closed loop: each response is followed by the next request, until the time is over. */
export async function runUnary(task: UnaryTask): Promise<TaskResult> {
  const bodies = task.requests.map((request) => grpcMessage(Buffer.from(request, "base64")));
  let lost: (error: Error) => void = () => {};
  const connections = await Promise.all(
    Array.from({ length: task.connections }, () =>
      Connection.open(task.port, task.path, (error) => lost(error)),
    ),
  );
  const watchers = new Watchers();
  let patience: NodeJS.Timeout | undefined;
  try {
    if (task.watchers) await watchers.open(task.port, task.watchers, (error) => lost(error));
    return await new Promise((resolve, reject) => {
      lost = reject;
      patience = setTimeout(
        () => reject(new Error(`requests have no response after ${COMPLETION_TIMEOUT_MS} ms`)),
        task.milliseconds + COMPLETION_TIMEOUT_MS,
      );
      const latencies: number[] = [];
      let errors = 0;
      let outstanding = 0;
      let next = 0;
      const finish = () => {
        const seconds = (performance.now() - begin) / 1000;
        latencies.sort((a, b) => a - b);
        resolve({
          operations: latencies.length,
          errors,
          seconds,
          p50Ms: quantile(latencies, 0.5),
          p99Ms: quantile(latencies, 0.99),
          ...meter.read(),
          ...(task.watchers && { events: watchers.events }),
        });
      };
      const issue = (connection: Connection) => {
        outstanding++;
        const started = performance.now();
        let received = 0;
        connection.request(bodies[next++ % bodies.length], {
          data: (chunk) => {
            received += chunk.length;
          },
          end: () => {
            const now = performance.now();
            outstanding--;
            // A failed gRPC call gets trailers and no message.
            if (received < task.leastBytes) errors++;
            else latencies.push(now - started);
            if (now < end) issue(connection);
            else if (outstanding === 0) finish();
          },
        });
      };
      const meter = new Meter(task.pids);
      const begin = performance.now();
      const end = begin + task.milliseconds;
      for (const connection of connections) {
        for (let i = 0; i < task.inFlight; i++) issue(connection);
      }
    });
  } finally {
    clearTimeout(patience);
    watchers.close();
    for (const connection of connections) connection.close();
  }
}

/** A message with gRPC's prefix: not compressed, and its length. */
export function grpcMessage(message: Uint8Array): Buffer {
  const bytes = Buffer.alloc(5 + message.length);
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, 5);
  return bytes;
}
