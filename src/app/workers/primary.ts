import cluster, { type Worker } from "node:cluster";
import type { Log } from "../../ops/log.js";
import { adviceOn, type Ending, whyNotServing } from "./ending.js";
import { type FromWorker, POST_VARIABLE, type Post, type StoredMessage, type ToWorker } from "./messages.js";
import { type Source, Totals } from "./totals.js";

export interface PrimaryOptions {
  /** At least two. */
  readonly workers: number;
  /** `host:port` each, none of them 0. */
  readonly listen: readonly string[];
  /** The arguments of a worker's command line. */
  readonly args: readonly string[];
  readonly log: Log;
}

/** Delay before a crashed worker is replaced. It doubles each time the worker soon crashes again. */
const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 10_000;
/** A worker that has run for this long counts as stable: the delay starts again at its minimum. */
const STEADY_AFTER_MS = 30_000;

/**
 * Runs several worker processes that share the listen ports. The primary accepts connections and passes them to the workers
 * in turn, so that long-lived connections are spread evenly. It also replaces workers that crash.
 */
export class Primary {
  private readonly seats: Seat[];
  private readonly totals: Totals;
  private restarts = 0;
  /** What the worker that counts has sent last. */
  private stored: StoredMessage | undefined;
  private stopping = false;
  /** True once a worker has served: then the configuration is valid. */
  private proven = false;

  constructor(private readonly options: PrimaryOptions) {
    const { workers, args, log } = options;
    cluster.schedulingPolicy = cluster.SCHED_RR;
    cluster.setupPrimary({ args: [...args] });
    this.seats = Array.from({ length: workers }, (_, i) => new Seat(i + 1));
    this.totals = new Totals(
      () => this.seats.filter(({ serving }) => serving),
      () => this.restarts,
      (late) => log.warn({ workers: late }, "workers did not send their metrics in time"),
    );
  }

  /**
   * Starts the first worker and, once it serves, the others. Resolves to the addresses when all of them serve. If the first
   * one ends before that, resolves to its exit code if it has logged the reason or is being stopped. Otherwise rejects.
   */
  async start(): Promise<readonly string[] | number> {
    const [first, ...others] = this.seats;
    const started = await new Promise<readonly string[] | Ending>((resolve) => this.fill(first!, resolve));
    if ("length" in started) {
      await Promise.all(others.map((seat) => new Promise((resolve) => this.fill(seat, resolve))));
      return started;
    }
    const why = this.stopping ? undefined : whyNotServing(first!.number, started);
    if (why !== undefined) throw new Error(why);
    return started.code ?? 1;
  }

  /** Passes a signal on to all workers. */
  signal(signal: NodeJS.Signals): void {
    for (const { worker } of this.seats) worker?.process.kill(signal);
  }

  /** Stops all workers gracefully. Resolves to true if all of them succeeded. */
  async stop(): Promise<boolean> {
    this.stopping = true;
    const running = this.seats.flatMap((seat) => {
      clearTimeout(seat.timer);
      return seat.worker ?? [];
    });
    // Not `once` of node:events, because that rejects at an error of the channel, which is not the end of the worker.
    const endings = running.map(
      (worker) => new Promise<number | null>((resolve) => worker.once("exit", (code) => resolve(code))),
    );
    this.signal("SIGTERM");
    return (await Promise.all(endings)).every((code) => code === 0);
  }

  /** Calls `started` once, when the worker serves or has ended. */
  private fill(seat: Seat, started: (result: readonly string[] | Ending) => void = () => {}): void {
    const post: Post = { worker: seat.number, listen: this.options.listen };
    const worker = cluster.fork({ [POST_VARIABLE]: JSON.stringify(post) });
    const begun = performance.now();
    seat.worker = worker;
    worker.on("message", (message: FromWorker) => {
      if (message.kind === "serving") {
        seat.serving = true;
        if (this.stored !== undefined) send(worker, this.stored);
        this.proven = true;
        started(message.addresses);
      } else if (message.kind === "values") this.totals.take(seat.number, message.id, message.values);
      else if (message.kind === "stored") this.spread(message, worker);
      else void this.answer(worker, message.id);
    });
    const ended = (ending: Ending) => {
      if (seat.worker !== worker) return;
      seat.worker = undefined;
      seat.serving = false;
      this.totals.gone(seat.number);
      if (performance.now() - begun > STEADY_AFTER_MS) seat.failures = 0;
      if (this.stopping) {
        if (ending.code !== 0)
          this.options.log.error({ worker: seat.number, ...ending }, "worker did not stop gracefully");
        started(ending);
      } else if (this.proven) this.replace(seat, ending, started);
      else started(ending);
    };
    // A running worker with a broken channel is about to end, and "exit" follows.
    worker.on("error", (error) => {
      if (worker.process.pid === undefined) ended({ error: error.message });
    });
    worker.once("exit", (code: number | null, signal: string | null) =>
      ended({ code: code ?? undefined, signal: signal ?? undefined }),
    );
  }

  private replace(seat: Seat, ending: Ending, started: (result: readonly string[] | Ending) => void): void {
    const delayMs = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** seat.failures);
    seat.failures++;
    this.restarts++;
    const fields = { worker: seat.number, ...ending, advice: adviceOn(ending), delayMs };
    this.options.log.error(fields, "worker ended; it is replaced");
    seat.timer = setTimeout(() => this.fill(seat, started), delayMs);
  }

  /** Sends what a worker has counted to the others, and to those that serve later. */
  private spread(message: StoredMessage, from: Worker): void {
    this.stored = message;
    for (const { worker } of this.seats) if (worker !== undefined && worker !== from) send(worker, message);
  }

  private async answer(worker: Worker, id: number): Promise<void> {
    send(worker, { kind: "metrics", id, text: await this.totals.text() });
  }
}

/** The place of one worker and its replacements. */
class Seat implements Source {
  worker: Worker | undefined;
  serving = false;
  /** Number of consecutive endings soon after the start. */
  failures = 0;
  timer: NodeJS.Timeout | undefined;

  constructor(readonly number: number) {}

  collect(id: number): void {
    if (this.worker !== undefined) send(this.worker, { kind: "collect", id });
  }
}

function send(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.process.send(message, undefined, undefined, () => {});
}
