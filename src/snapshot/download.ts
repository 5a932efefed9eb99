import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { SnapshotResponse } from "../wire/messages.js";
import { Maintenance } from "../wire/paths.js";

/** How long a download may bring nothing, ms. */
const SILENCE = 30_000;
const DIGEST = 32;

export interface Downloaded {
  readonly bytes: number;
  /** Of the whole file, hexadecimal. */
  readonly sha256: string;
}

/**
 * Saves a member's backend as a new file, in the form of `etcdctl snapshot save`: the SHA-256 of the data follows it.
 * Resolves when all of it has come, agrees with the member's SHA-256 and is on the disk. `progress` hears how many bytes
 * have come and how many are still to come. Aborted, it rejects with the signal's reason.
 */
export function download(
  shard: Shard,
  path: string,
  signal: AbortSignal,
  progress: (bytes: number, remaining: number) => void,
): Promise<Downloaded> {
  const fd = openSync(path, "wx", 0o600);
  const data = createHash("sha256");
  const whole = createHash("sha256");
  let bytes = 0;
  /** The last piece: it is the digest if nothing comes after it, and data otherwise. */
  let last: Uint8Array = new Uint8Array(0);

  return new Promise<Downloaded>((resolve, reject) => {
    const failed = (text: string, code: Code = Code.UNAVAILABLE) => {
      finish(() => reject(new StatusError(code, `shard "${shard.name}": ${text}`)));
    };
    const finish = (action: () => void) => {
      clearTimeout(silence);
      signal.removeEventListener("abort", aborted);
      stream.cancel();
      closeSync(fd);
      action();
    };
    const aborted = () => finish(() => reject(signal.reason));
    signal.addEventListener("abort", aborted);
    const silence = setTimeout(() => failed(`the snapshot has stopped for ${SILENCE} ms`), SILENCE);
    const complete = () => {
      if (last.length !== DIGEST || !data.digest().equals(last)) {
        failed("what came of the snapshot does not agree with its SHA-256", Code.DATA_LOSS);
        return;
      }
      fsyncSync(fd);
      finish(() => resolve({ bytes, sha256: whole.digest("hex") }));
    };
    const stream = shard.stream(Maintenance.Snapshot, {
      message: (message) => {
        silence.refresh();
        const { blob, remainingBytes } = SnapshotResponse.decode(message);
        try {
          for (let done = 0; done < blob.length; ) done += writeSync(fd, blob, done);
        } catch (error) {
          finish(() => reject(error));
          return;
        }
        data.update(last);
        whole.update(blob);
        bytes += blob.length;
        last = blob;
        progress(bytes, remainingBytes);
      },
      closed: (error) => {
        // Etcd ends the stream when it has sent the digest; how the shard client calls that makes no difference.
        if (last.length === DIGEST) complete();
        else finish(() => reject(error));
      },
    });
    stream.send(new Uint8Array(0), true);
  });
}
