import type { MethodStats } from "../stats/methods.js";
import { Code, type StatusError } from "../status/error.js";
import { turnTime } from "../turn/clock.js";
import type { Deadlines, Timed } from "../turn/deadlines.js";
import type { Endpoint } from "./endpoint.js";
import { AbandonedError, answered, classify, type Failure, type RawStatus, unsent } from "./errors.js";
import type { CallListener, LinkCall } from "./link.js";
import type { Members } from "./members.js";
import type { CallOptions, Done } from "./shard.js";

const EMPTY = new Uint8Array(0);
/** Most attempts of one call. Reached only if endpoints keep coming and going. */
const MAX_ATTEMPTS = 5;
/** Calls that take at least this long are reported to their origin. */
const SLOW_CALL_MS = 50;

/**
 * One unary call with all its attempts. An idempotent call is sent again to another endpoint if an attempt is
 * lost, goes unanswered or finds no leader. Other calls are sent again only if they certainly never reached an
 * etcd.
 */
export class UnaryCall implements CallListener, Timed<UnaryCall> {
  before: UnaryCall | undefined = undefined;
  after: UnaryCall | undefined = undefined;
  readonly deadline: number;
  private readonly ownDeadline: boolean;
  private readonly since = turnTime();
  /** `turnTime()` of the latest attempt. */
  private sentAt = 0;
  private stopWaiting: (() => void) | undefined;
  private attempt: LinkCall | undefined;
  private endpoint: Endpoint | undefined;
  private response: Uint8Array | undefined;
  private attempts = 0;
  private movedOn = false;
  private finished = false;

  constructor(
    private readonly members: Members,
    private readonly stats: MethodStats,
    private readonly request: Uint8Array,
    private readonly options: CallOptions,
    private readonly done: Done,
    private readonly calls: Deadlines<UnaryCall>,
  ) {
    const { deadline } = options;
    stats.started++;
    this.ownDeadline = deadline !== undefined && Number.isFinite(deadline);
    this.deadline = this.ownDeadline ? deadline! : Date.now() + members.requestTimeoutMs;
  }

  start(): void {
    this.calls.add(this);
    // `done` must not be called before `unary` has returned.
    if (this.members.isClosed) process.nextTick(() => this.close());
    else this.send();
  }

  /** Ends the call without a result. */
  readonly cancel = (): void => {
    if (this.release(Code.CANCELLED)) this.abandon();
  };

  /** Ends the call because the shard is closed. */
  close(): void {
    const { members } = this;
    this.fail(
      this.attempt === undefined
        ? this.unsent(members.error("closed"))
        : members.error(`closed${this.doubt}`),
    );
  }

  /** Returns when the attempt that waits for `endpoint` was sent (`turnTime()`), or undefined if none does. */
  waitsSince(endpoint: Endpoint): number | undefined {
    return this.attempt !== undefined && this.endpoint === endpoint ? this.sentAt : undefined;
  }

  /** If this call waits for a silent endpoint while another answers, sends it there or gives it up. */
  leaveSilent(): void {
    const { endpoint } = this;
    if (this.attempt === undefined || endpoint === undefined || !endpoint.isSilent) return;
    const { idempotent, abandonSilent } = this.options;
    if (!(idempotent || abandonSilent) || !this.members.hasOther(endpoint)) return;
    if (idempotent) {
      this.abandon();
      this.send();
    } else {
      const { code, message, detail } = this.members.error(`no answer${this.doubt}`, {
        detail: endpoint.label,
      });
      this.fail(new AbandonedError(code, message, { detail }));
    }
  }

  private send(): void {
    const endpoint = this.members.choose();
    if (endpoint === undefined) {
      this.stopWaiting = this.members.awaitEndpoint(
        () => {
          this.stopWaiting = undefined;
          this.send();
        },
        () => this.fail(this.unsent(this.members.unreachable())),
      );
      return;
    }
    this.attempts++;
    this.endpoint = endpoint;
    this.response = undefined;
    this.sentAt = turnTime();
    const call = endpoint.begin(this.stats.path, this.options.metadata, this);
    this.attempt = call;
    endpoint.expectAnswer();
    call.sendAndEnd(this.request);
  }

  message(message: Uint8Array): void {
    this.response = message;
  }

  ended(status: RawStatus): void {
    this.attempt = undefined;
    if (status.code === Code.OK) this.succeed();
    else this.failed(status, this.endpoint!);
  }

  private succeed(): void {
    const { response } = this;
    // A successful unary call has exactly one message. Without it, the server is at fault.
    if (response === undefined) this.fail(this.members.error("empty answer", { code: Code.INTERNAL }));
    else if (this.release(Code.OK)) this.done(undefined, response);
  }

  private failed(status: RawStatus, endpoint: Endpoint): void {
    const failure = classify(status);
    if (failure === "etcd" && status.code === Code.UNAVAILABLE) this.members.avoid(endpoint);
    if (this.mayRepeat(failure, status, endpoint)) this.send();
    else if (failure === "etcd" || failure === "answer") this.fail(answered(status));
    else {
      const text = `connection lost${failure === "lost" ? this.doubt : ""}`;
      const error = this.members.error(text, { detail: `${endpoint.label}: ${status.details}` });
      this.fail(failure === "lost" ? error : this.unsent(error));
    }
  }

  private mayRepeat(failure: Failure, status: RawStatus, endpoint: Endpoint): boolean {
    if (this.attempts >= MAX_ATTEMPTS) return false;
    if (failure === "unsent") return true;
    if (!this.options.idempotent) return false;
    if (failure === "lost") return true;
    // No leader, a new leader, or an etcd that is stopping: try another endpoint once.
    if (failure !== "etcd" || status.code !== Code.UNAVAILABLE || this.movedOn) return false;
    this.movedOn = true;
    return this.members.hasOther(endpoint);
  }

  expire(): void {
    // The endpoint may be cut off from its cluster without ever reporting it.
    if (!this.ownDeadline && this.attempt !== undefined) this.members.avoid(this.endpoint!);
    // Only the caller's deadline is DEADLINE_EXCEEDED; our own timeout is a failure of the shard.
    const code = this.ownDeadline ? Code.DEADLINE_EXCEEDED : Code.UNAVAILABLE;
    this.fail(
      this.attempt === undefined
        ? this.unsent(this.members.unreachable(code))
        : this.members.error(`no answer in time${this.doubt}`, { code, detail: this.endpoint?.label }),
    );
  }

  /** Returns the error for a call without an attempt in flight. If it is not idempotent, no attempt has reached an etcd. */
  private unsent(error: StatusError): StatusError {
    return unsent(error, this.options);
  }

  private get doubt(): string {
    return this.options.idempotent ? "" : "; whether the request took effect is unknown";
  }

  private fail(error: StatusError): void {
    if (!this.release(error.code)) return;
    this.abandon();
    this.done(error, EMPTY);
  }

  /** Cancels the attempt in flight, if any. */
  private abandon(): void {
    const call = this.attempt;
    this.attempt = undefined;
    call?.cancel();
  }

  /** Ends the call with a status. Returns false if it had ended before. */
  private release(code: Code): boolean {
    if (this.finished) return false;
    this.finished = true;
    this.count(code);
    this.stopWaiting?.();
    this.calls.delete(this);
    return true;
  }

  private count(code: Code): void {
    const { stats, attempts } = this;
    const ms = turnTime() - this.since;
    // `ended` has a count for each code.
    stats.ended[code]!++;
    stats.latency.observe(ms);
    const { origin } = this.options;
    if (ms < SLOW_CALL_MS || origin === undefined) return;
    if (origin.slowest !== undefined && origin.slowest.ms > ms) return;
    origin.slowest = {
      shard: this.members.name,
      endpoint: this.endpoint?.label,
      path: stats.path,
      ms,
      attempts,
    };
  }
}
