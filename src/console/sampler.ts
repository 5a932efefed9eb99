import { figuresOf } from "./figures.js";
import { SAMPLE_MS, Samples } from "./samples.js";

/** While nobody looks, samples are taken this far apart, in milliseconds. Each costs the proxy some milliseconds. */
const IDLE_SAMPLE_MS = 10_000;
/** Somebody looks for this time after a look, in milliseconds. */
const LOOKING_MS = 30_000;

/** Takes samples of the metrics, so that a page that is opened shows the last minutes. */
export class Sampler {
  readonly samples = new Samples();
  private running: Promise<void> | undefined;
  private lookedAt = Number.NEGATIVE_INFINITY;
  private takenAt = Number.NEGATIVE_INFINITY;
  private readonly timer: NodeJS.Timeout;

  /** `read` resolves to Prometheus' text. `failed` is called when it rejects. */
  constructor(
    private readonly read: () => Promise<string>,
    private readonly failed: (reason: unknown) => void,
  ) {
    this.timer = setInterval(() => {
      const now = performance.now();
      // The timer is not exact.
      const isDue = now - this.takenAt > IDLE_SAMPLE_MS - SAMPLE_MS / 2;
      if (isDue || now - this.lookedAt < LOOKING_MS) void this.take();
    }, SAMPLE_MS).unref();
    void this.take();
  }

  /** To be called when somebody looks. Resolves when there is a recent sample, or when it could not be taken. */
  async look(): Promise<void> {
    this.lookedAt = performance.now();
    if (this.lookedAt - this.takenAt > 2 * SAMPLE_MS) await this.take();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private take(): Promise<void> {
    // Workers that do not respond must not make samples pile up.
    this.running ??= this.read()
      .then((text) => {
        this.takenAt = performance.now();
        this.samples.add(figuresOf(text, Date.now()));
      })
      .catch(this.failed)
      .finally(() => {
        this.running = undefined;
      });
    return this.running;
  }
}
