import type { Metrics } from "../../ops/prometheus.js";
import type { FromWorker, ToWorker } from "./messages.js";

/** How long a scrape waits for the primary, ms: longer than the primary waits for the other workers. */
const PATIENCE = 5_000;

/** A worker's end of the channel to its primary. */
export class WorkerLink {
  private own: Metrics | undefined;
  private nextId = 1;
  private readonly waiting = new Map<number, (text: string) => void>();

  constructor() {
    process.on("message", (message: ToWorker) => {
      if (message.kind === "metrics") this.waiting.get(message.id)?.(message.text);
      else this.report(message.id);
    });
  }

  /** Tells that this worker serves. */
  serving(addresses: readonly string[]): void {
    send({ kind: "serving", addresses });
  }

  /** Has the primary collect `own`, and gives a function to read the totals over all workers as text. */
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
        }, PATIENCE);
        this.waiting.set(id, (text) => {
          over();
          resolve(text);
        });
        send({ kind: "metrics", id });
      });
  }

  private report(id: number): void {
    void (this.own?.values() ?? Promise.resolve([])).then((values) => send({ kind: "values", id, values }));
  }
}

function send(message: FromWorker): void {
  // Without its primary a worker ends; who asked then gets no answer anyway.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}
