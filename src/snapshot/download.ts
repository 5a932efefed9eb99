import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { SnapshotResponse } from "../wire/messages.js";
import { Maintenance } from "../wire/paths.js";

/** How long a download may receive nothing. */
const SILENCE_TIMEOUT_MS = 30_000;
const DIGEST_BYTES = 32;

export interface Downloaded {
  readonly bytes: number;
  /** SHA-256 of the whole file, hexadecimal. */
  readonly sha256: string;
}

/**
 * Saves a member's backend as a new file, in the format of `etcdctl snapshot save`: the data, then its SHA-256. Resolves when
 * the file is complete, matches the member's SHA-256 and is on the disk. `progress` receives the number of bytes so far and
 * of those remaining. If `signal` aborts, rejects with its reason.
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
  /** The last piece: the digest if nothing follows it, and otherwise data. */
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
    const silence = setTimeout(
      () => failed(`the snapshot has received nothing for ${SILENCE_TIMEOUT_MS} ms`),
      SILENCE_TIMEOUT_MS,
    );
    const complete = () => {
      if (last.length !== DIGEST_BYTES || !data.digest().equals(last)) {
        failed("the received snapshot does not match its SHA-256", Code.DATA_LOSS);
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
        // etcd ends the stream after the digest. The shard client's error for this does not matter.
        if (last.length === DIGEST_BYTES) complete();
        else finish(() => reject(error));
      },
    });
    stream.send(new Uint8Array(0), true);
  });
}
