import type { Metrics } from "../../ops/prometheus.js";
import type { FromWorker, StoredMessage, ToWorker } from "./messages.js";

/** How long a scrape waits for the primary. It is longer than the primary waits for the other workers. */
const TOTALS_TIMEOUT_MS = 5_000;

/** A worker's end of the channel to its primary. */
export class WorkerLink {
  private own: Metrics | undefined;
  private nextId = 1;
  private stored: StoredMessage["stored"] | undefined;
  private storedListener: (stored: StoredMessage["stored"]) => void = () => {};
  private readonly waiting = new Map<number, (text: string) => void>();

  /** `worker` is the number of this worker, from 1. */
  constructor(private readonly worker: number) {
    process.on("message", (message: ToWorker) => {
      if (message.kind === "metrics") this.waiting.get(message.id)?.(message.text);
      else if (message.kind === "collect") this.report(message.id);
      else {
        this.stored = message.stored;
        this.storedListener(message.stored);
      }
    });
  }

  get isFirst(): boolean {
    return this.worker === 1;
  }

  /** Reports that this worker serves. */
  serving(addresses: readonly string[]): void {
    send({ kind: "serving", addresses });
  }

  /** Lets the primary collect `own`. Returns a function that reads the totals of all workers as text. */
  share(own: Metrics): () => Promise<string> {
    this.own = own;
    return () =>
      new Promise((resolve, reject) => {
        const id = this.nextId++;
        const over = () => {
          clearTimeout(timer);
          this.waiting.delete(id);
        };
        const timer = setTimeout(() => {
          over();
          reject(new Error("the primary process did not add up the workers' metrics in time"));
        }, TOTALS_TIMEOUT_MS);
        this.waiting.set(id, (text) => {
          over();
          resolve(text);
        });
        send({ kind: "metrics", id });
      });
  }

  tellStored(stored: StoredMessage["stored"]): void {
    send({ kind: "stored", stored });
  }

  onStored(listener: (stored: StoredMessage["stored"]) => void): void {
    this.storedListener = listener;
    if (this.stored !== undefined) listener(this.stored);
  }

  private report(id: number): void {
    void (this.own?.values() ?? Promise.resolve([])).then((values) => send({ kind: "values", id, values }));
  }
}

function send(message: FromWorker): void {
  // Without its primary a worker ends, so the message does not matter then.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}
