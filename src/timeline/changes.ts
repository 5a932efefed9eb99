import type { Change } from "../reshard/change.js";
import { Code, StatusError } from "../status/error.js";
import type { Applied } from "./fold.js";
import type { Seals } from "./view.js";

/**
 * Changes of the placement for the log, with their waiters. They are logged one after another, each in an entry that no other
 * change shares. A change whose append has an unknown outcome is sent again only when that append can no longer take effect.
 */
export class Changes {
  private readonly queue: Proposal[] = [];

  /** Resolves like `Timeline.proposeChange`. */
  propose(change: Change, seals: Seals): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      this.queue.push({ change, seals, key: undefined, resolve, reject });
    });
  }

  /** The change for the next entry. Undefined when there is none, or while the one before it is not folded. */
  get next(): Proposal | undefined {
    const first = this.queue[0];
    return first?.key === undefined ? first : undefined;
  }

  /** Records that the entry `key` contains the change `next`. */
  sent(key: string): void {
    const first = this.queue[0];
    if (first !== undefined) first.key = key;
  }

  /** Schedules the change of the entry `key` again, which was not logged and cannot be any more. */
  putBack(key: string): void {
    for (const proposal of this.queue) if (proposal.key === key) proposal.key = undefined;
  }

  /** True while it is not known what became of the change in the entry `key`. */
  isOpen(key: string): boolean {
    return this.queue.some((proposal) => proposal.key === key);
  }

  /** Settles the waiter of an entry that has been folded. */
  applied(key: string, { position }: Applied): void {
    const first = this.queue[0];
    if (first === undefined || first.key !== key) return;
    this.queue.shift();
    first.resolve(position > 0 ? position : undefined);
  }

  /** Rejects the waiter of the change in the entry `key`, which the host has refused: it never takes effect. */
  refuse(key: string, error: StatusError): void {
    const first = this.queue[0];
    if (first === undefined || first.key !== key) return;
    this.queue.shift();
    first.reject(error);
  }

  /** Rejects the waiter of a change that was sent: its entry may be among those that were skipped. */
  skipped(): void {
    const first = this.queue[0];
    if (first?.key === undefined) return;
    this.queue.shift();
    first.reject(new StatusError(Code.UNAVAILABLE, UNKNOWN));
  }

  rejectAll(error: StatusError): void {
    for (const { reject } of this.queue.splice(0)) reject(error);
  }
}

const UNKNOWN =
  "etcd-braid: the timeline log was reloaded meanwhile; whether the change of the placement took effect is unknown";

/** A change that is not folded yet. */
export interface Proposal {
  readonly change: Change;
  readonly seals: Seals;
  /** Key of the entry that contains this change; undefined while there is none. */
  key: string | undefined;
  resolve(position: number | undefined): void;
  reject(error: StatusError): void;
}
