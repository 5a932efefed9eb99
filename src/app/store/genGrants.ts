import type { Log } from "../../ops/log.js";
import { grantGenToRoles } from "../../services/auth/genGrants.js";
import { isEnabled } from "../../services/auth/query.js";
import type { Shard } from "../../shard/shard.js";
import type { ShardSet } from "../../shard/shardSet.js";
import { StatusError, withDetail } from "../../status/error.js";
import { isUnreachable } from "./marks.js";

/** Pause between two attempts on a shard that cannot be reached, in milliseconds. */
const RETRY_MS = 5_000;

/**
 * Lets the roles of shards with authentication on read gen, which all writes compare. Roles that a client has granted
 * permissions through a proxy may do so already. Others are from an older version, or were made without a proxy.
 */
export class GenGrants {
  private readonly timers = new Set<NodeJS.Timeout>();
  private unfollow: (() => void) | undefined;
  private stopped = false;

  constructor(
    private readonly shards: ShardSet<Shard>,
    private readonly genKey: Uint8Array,
    private readonly log: Log,
  ) {}

  /** Resolves when all shards that can be reached are done. Continues in the background with the others, and with new ones. */
  async start(): Promise<void> {
    await this.grant(this.shards.all());
    if (this.stopped) return;
    const known = new Set(this.shards.all());
    this.unfollow = this.shards.follow({
      added: (shard) => {
        if (!known.has(shard)) void this.grant([shard]);
      },
    });
  }

  stop(): void {
    this.stopped = true;
    this.unfollow?.();
    for (const timer of this.timers) clearTimeout(timer);
  }

  private async grant(shards: readonly Shard[]): Promise<void> {
    const isDone = await Promise.all(shards.map((shard) => this.grantOn(shard)));
    const rest = shards.filter((_, i) => !isDone[i]);
    if (rest.length === 0 || this.stopped) return;
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      void this.grant(rest);
    }, RETRY_MS);
    timer.unref();
    this.timers.add(timer);
  }

  /** Resolves to false if the shard cannot be reached. */
  private async grantOn(shard: Shard): Promise<boolean> {
    const { log, genKey } = this;
    try {
      if (!(await isEnabled(shard))) return true;
      const roles = await grantGenToRoles(shard, genKey, { idempotent: true });
      if (roles.length > 0) {
        log.info(
          { shard: shard.name, roles },
          "allowed roles to read the shard's mark, which all writes compare",
        );
      }
      return true;
    } catch (reason) {
      const error = StatusError.from(reason);
      if (isUnreachable(error)) return false;
      log.error(
        { shard: shard.name, error: withDetail(error) },
        "roles cannot write until they may read the shard's mark: run `braid auth repair`",
      );
      return true;
    }
  }
}
