import { mayMaintain } from "../../auth/permission.js";
import type { Call } from "../../rpc/call.js";
import type { CallOptions, Shard } from "../../shard/shard.js";
import { Code, StatusError, withDetail } from "../../status/error.js";
import { StatusResponse } from "../../wire/messages.js";
import { Maintenance } from "../../wire/paths.js";
import { EMPTY } from "../../wire/reader.js";
import { type Backend, connected, type MaintenanceDeps, optionsFor } from "./context.js";
import { DefragmentLock } from "./defragmentLock.js";
import { type Outcome, valuesOf } from "./outcomes.js";

/** How long one member may take, in milliseconds. In effect no limit. */
const MEMBER_TIMEOUT_MS = 24 * 3_600_000;

interface Member {
  readonly backend: Backend;
  readonly endpoint: string;
  /** Its status, or the error of the status request. */
  readonly status: StatusResponse | StatusError;
}

/**
 * Defragments all backends, one member at a time and the leader of each backend last, because a member does not respond
 * while it defragments. Requests run one at a time, over all proxies.
 */
export class Defragmenter {
  /** Resolves when the last accepted request is done. Never rejects. */
  private last: Promise<unknown> = Promise.resolve();
  private readonly lock: DefragmentLock;

  constructor(private readonly deps: MaintenanceDeps) {
    this.lock = new DefragmentLock(deps.host);
  }

  /** The response is empty, without header, as in etcd. Rejects if a member has failed, but only after all were tried. */
  async answer(call: Call): Promise<Uint8Array> {
    // Checked before the request waits, because it makes others wait.
    await mayMaintain(this.deps.shards.all(), call);
    const turn = this.last.then(() => this.all(call));
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private async all(call: Call): Promise<Uint8Array> {
    await this.lock.acquire(call);
    try {
      return await this.allAlone(call);
    } finally {
      await this.lock.release();
    }
  }

  private async allAlone(call: Call): Promise<Uint8Array> {
    const outcomes: Outcome<void>[] = [];
    for (const backend of this.deps.backends()) {
      for (const member of await membersOf(backend, optionsFor(call, true, backend))) {
        // The client has cancelled. No further member is begun.
        if (call.cancelled) return EMPTY;
        await this.lock.renew();
        const outcome = await this.one(call, member);
        // An error of etcd itself, such as a lack of permission, holds for all members.
        if (outcome.error?.message.startsWith("etcdserver:") && outcome.error.code !== Code.UNAVAILABLE) {
          throw outcome.error;
        }
        outcomes.push(outcome);
      }
    }
    valuesOf(outcomes);
    return EMPTY;
  }

  private async one(call: Call, { backend, endpoint, status }: Member): Promise<Outcome<void>> {
    const { log } = this.deps;
    const fields = { cluster: backend.name, endpoint };
    const { name } = backend;
    try {
      if (status instanceof StatusError) throw status;
      log.info({ ...fields, bytes: status.dbSize }, "defragmenting");
      await connected(backend, endpoint, async (member) => {
        const begin = performance.now();
        // Without the client's deadline: etcd would go on, and the next member must not begin before it is done.
        const options = { ...optionsFor(call, false, backend), deadline: Date.now() + MEMBER_TIMEOUT_MS };
        await member.call(Maintenance.Defragment, EMPTY, options);
        const ms = Math.round(performance.now() - begin);
        const after = await statusOf(member, optionsFor(call, true, backend)).catch(() => undefined);
        log.info({ ...fields, bytes: after?.dbSize, ms }, "defragmented");
      });
      return { name, value: undefined };
    } catch (reason) {
      const error = StatusError.from(reason);
      log.warn({ ...fields, error: withDetail(error) }, "not defragmented");
      return { name, error };
    }
  }
}

/** The members of a backend, its leader last. */
async function membersOf(backend: Backend, options: CallOptions): Promise<Member[]> {
  const members = await Promise.all(
    backend.endpoints.map(async (endpoint) => {
      const status = await connected(backend, endpoint, (member) => statusOf(member, options)).catch(
        StatusError.from,
      );
      return { backend, endpoint, status };
    }),
  );
  return members.sort((a, b) => Number(isLeader(a)) - Number(isLeader(b)));
}

function isLeader({ status }: Member): boolean {
  return !(status instanceof StatusError) && status.leader === status.header?.memberId;
}

async function statusOf(member: Pick<Shard, "call">, options: CallOptions): Promise<StatusResponse> {
  return StatusResponse.decode(await member.call(Maintenance.Status, EMPTY, options));
}
