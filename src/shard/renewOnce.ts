import { Code, StatusError } from "../status/error.js";
import type { Runtime } from "../turn/runtime.js";
import { LeaseKeepAliveRequest, LeaseKeepAliveResponse } from "../wire/messages.js";
import { Lease } from "../wire/paths.js";
import { describeShard } from "./name.js";
import type { Shard } from "./shard.js";

const RENEW_TIMEOUT_MS = 3_000;

/** Renews a part once. Resolves to false if the shard does not have it. Rejects with UNAVAILABLE after three seconds. */
export function renewOnce(
  shard: Pick<Shard, "stream" | "name" | "index">,
  id: bigint,
  runtime: Pick<Runtime, "timer">,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const stopTimer = runtime.timer(RENEW_TIMEOUT_MS, () => {
      stream.cancel();
      reject(new StatusError(Code.UNAVAILABLE, `${describeShard(shard)} did not renew a lease in time`));
    });
    const stream = shard.stream(Lease.LeaseKeepAlive, {
      message: (message) => {
        stopTimer();
        stream.cancel();
        resolve(LeaseKeepAliveResponse.decode(message).ttl > 0);
      },
      closed: (error) => {
        stopTimer();
        reject(error);
      },
    });
    stream.send(LeaseKeepAliveRequest.encode({ id }));
  });
}
