import { PutRequest, WatchRequest } from "../../src/wire/messages.js";
import { KV, Watch } from "../../src/wire/paths.js";
import { Meter, residentMemory } from "../processes.js";
import { quantile } from "../statistics.js";
import { Connection } from "./connection.js";
import { EventReader } from "./events.js";
import type { FanoutTask, TaskResult } from "./task.js";
import { grpcMessage } from "./unary.js";

/** How long the creation of watchers, and the arrival of the last events, may take. */
const COMPLETION_TIMEOUT_MS = 30_000;
/** Time for the proxy to become idle after many watchers were created. */
const SETTLE_WAIT_MS = 1_000;
/** Interval at which due writes are sent. */
const TICK_MS = 5;

/**
 * Watchers of one range, and an open loop of writes to it. Each write contains the time at which it was sent, from which each
 * event's latency is measured. Ends when every watcher has received every write.
 */
export async function runFanout(task: FanoutTask): Promise<TaskResult> {
  const connections: Connection[] = [];
  const latencies = new Float64Array(
    task.watchers * Math.ceil((task.writesPerSecond * task.milliseconds) / 1000),
  );
  let lost: (error: Error) => void = () => {};
  let created = 0;
  let delivered = 0;
  let progress: () => void = () => {};
  const open = async (path: string) => {
    const connection = await Connection.open(task.port, path, (error) => lost(error));
    connections.push(connection);
    return connection;
  };

  /** Opens a watch stream. Returns a function that creates a watcher on it. */
  const watchStream = (connection: Connection, measured = true): (() => void) => {
    const reader = new EventReader({
      created: () => {
        created++;
      },
      event: (sentAt) => {
        if (!measured) return;
        if (delivered < latencies.length) latencies[delivered] = performance.now() - sentAt;
        delivered++;
      },
      failed: (reason) => lost(new Error(reason)),
    });
    const stream = connection.start({
      data: (chunk) => {
        reader.take(chunk);
        progress();
      },
      end: () => lost(new Error("the server has ended a watch stream")),
    });
    return () => connection.send(stream, createRequest(task.prefix), false);
  };

  /** Resolves when `condition` holds. It is checked whenever data arrives. */
  const until = (what: string, condition: () => boolean) =>
    new Promise<void>((resolve, reject) => {
      const patience = setTimeout(() => {
        reject(new Error(`${what}: ${created} watchers created, ${delivered} events delivered`));
      }, COMPLETION_TIMEOUT_MS);
      lost = reject;
      progress = () => {
        if (!condition()) return;
        clearTimeout(patience);
        resolve();
      };
      progress();
    });

  try {
    const streams: (() => void)[] = [];
    for (let c = 0; c < task.connections; c++) {
      const connection = await open(Watch.Watch);
      for (let i = 0; i < task.streams; i++) streams.push(watchStream(connection));
    }
    const { proxy } = task.pids;
    const before = proxy === undefined ? 0 : residentMemory(proxy);
    for (let w = 0; w < task.watchers; w++) streams[w % streams.length]();
    const writer = await open(KV.Put);
    await until("not all watchers were created", () => created === task.watchers);
    await new Promise((resolve) => setTimeout(resolve, SETTLE_WAIT_MS));
    const grown = proxy === undefined ? 0 : residentMemory(proxy) - before;
    if (task.stalled > 0) {
      const stalled = await open(Watch.Watch);
      const stream = watchStream(stalled, false);
      for (let w = 0; w < task.stalled; w++) stream();
      await until("not all watchers were created", () => created === task.watchers + task.stalled);
      stalled.pause();
    }

    let written = 0;
    let answered = 0;
    let errors = 0;
    const write = () => {
      let received = 0;
      writer.request(writeRequest(task, written++), {
        data: (chunk) => {
          received += chunk.length;
        },
        end: () => {
          answered++;
          if (received === 0) errors++;
          progress();
        },
      });
    };
    const meter = new Meter(task.pids);
    const begin = performance.now();
    const total = Math.floor(latencies.length / task.watchers);
    const timer = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - begin) / 1000) * task.writesPerSecond));
      while (written < due) write();
    }, TICK_MS);
    try {
      await until(
        "not all events came",
        () => answered === total && delivered >= (total - errors) * task.watchers,
      );
    } finally {
      clearInterval(timer);
    }
    const seconds = (performance.now() - begin) / 1000;
    const measured = meter.read();
    const ascending = latencies.subarray(0, delivered).sort();
    return {
      operations: delivered,
      errors,
      seconds,
      p50Ms: quantile(ascending, 0.5),
      p99Ms: quantile(ascending, 0.99),
      ...measured,
      ...(proxy !== undefined && { watcherBytes: grown / task.watchers }),
    };
  } finally {
    for (const connection of connections) connection.close();
  }
}

function createRequest(prefix: string): Buffer {
  const key = Buffer.from(prefix);
  const rangeEnd = Buffer.from(prefix);
  rangeEnd[rangeEnd.length - 1]++;
  return grpcMessage(WatchRequest.encode({ kind: "create", request: { key, rangeEnd } }));
}

function writeRequest(task: FanoutTask, n: number): Buffer {
  const value = Buffer.alloc(task.valueBytes);
  value.writeDoubleLE(performance.now());
  const key = Buffer.from(`${task.prefix}${n % task.groups}/key`);
  return grpcMessage(PutRequest.encode({ key, value }));
}
