import { connect, type Socket } from "node:net";
import { Meter } from "../processes.js";
import { quantile } from "../statistics.js";
import type { HttpTask, TaskResult } from "./task.js";

/** How long connecting, and the last responses after the measurement, may take. */
const COMPLETION_TIMEOUT_MS = 20_000;

/** A closed loop over HTTP/1.1: every connection repeats the request after each response, until the time is over. */
export async function runHttp(task: HttpTask): Promise<TaskResult> {
  const request = Buffer.from(
    `POST ${task.path} HTTP/1.1\r\nhost: 127.0.0.1:${task.port}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(task.body)}\r\n\r\n${task.body}`,
  );
  const clients: Client[] = [];
  try {
    return await new Promise((resolve, reject) => {
      const patience = setTimeout(
        () => reject(new Error(`requests have no response after ${COMPLETION_TIMEOUT_MS} ms`)),
        task.milliseconds + 2 * COMPLETION_TIMEOUT_MS,
      );
      const latencies: number[] = [];
      let errors = 0;
      let outstanding = 0;
      let connected = 0;
      let [begin, end] = [0, 0];
      let meter: Meter;
      const finish = () => {
        const seconds = (performance.now() - begin) / 1000;
        clearTimeout(patience);
        latencies.sort((a, b) => a - b);
        const [p50Ms, p99Ms] = [quantile(latencies, 0.5), quantile(latencies, 0.99)];
        resolve({ operations: latencies.length, errors, seconds, p50Ms, p99Ms, ...meter.read() });
      };
      const answered = (client: Client, good: boolean, milliseconds: number) => {
        outstanding--;
        if (good) latencies.push(milliseconds);
        else errors++;
        if (performance.now() < end) issue(client);
        else if (outstanding === 0) finish();
      };
      const issue = (client: Client) => {
        outstanding++;
        client.send(request);
      };
      for (let i = 0; i < task.connections; i++) {
        const ready = () => {
          if (++connected < task.connections) return;
          meter = new Meter(task.pids);
          begin = performance.now();
          end = begin + task.milliseconds;
          for (const each of clients) issue(each);
        };
        clients.push(new Client(task, ready, answered, reject));
      }
    });
  } finally {
    for (const client of clients) client.close();
  }
}

/** One connection. It reads only the status and the length of a response. */
class Client {
  private readonly socket: Socket;
  /** Remaining bytes of the current response; -1 until its headers are known. */
  private missing = -1;
  private head = "";
  private good = false;
  private started = 0;

  constructor(
    task: HttpTask,
    ready: () => void,
    private readonly answered: (client: Client, good: boolean, milliseconds: number) => void,
    private readonly failed: (error: Error) => void,
  ) {
    const buffer = Buffer.allocUnsafe(64 * 1024);
    this.socket = connect({
      port: task.port,
      host: "127.0.0.1",
      noDelay: true,
      onread: {
        buffer,
        callback: (length) => {
          this.take(buffer, length, task.leastBytes);
          return true;
        },
      },
    });
    this.socket.once("connect", ready);
    this.socket.once("error", failed);
    this.socket.once("end", () => failed(new Error("the server closed the connection")));
  }

  send(request: Buffer): void {
    this.started = performance.now();
    this.socket.write(request);
  }

  close(): void {
    this.socket.removeAllListeners("end").destroy();
  }

  private take(bytes: Buffer, length: number, leastBytes: number): void {
    if (this.missing < 0) {
      // The headers nearly always arrive in one piece.
      this.head += bytes.toString("latin1", 0, length);
      const end = this.head.indexOf("\r\n\r\n");
      if (end < 0) return;
      const size = Number(/content-length: (\d+)/i.exec(this.head)?.[1] ?? Number.NaN);
      if (Number.isNaN(size)) {
        this.failed(new Error("a response without content-length"));
        return;
      }
      this.good = this.head.startsWith("HTTP/1.1 200") && size >= leastBytes;
      this.missing = size - (this.head.length - end - 4);
      this.head = "";
    } else this.missing -= length;
    if (this.missing > 0) return;
    this.missing = -1;
    this.answered(this, this.good, performance.now() - this.started);
  }
}
