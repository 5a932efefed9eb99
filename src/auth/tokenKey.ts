import { randomBytes } from "node:crypto";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { BASE_KEY, TAIL_KEY, TOKEN_KEY } from "../timeline/keys.js";
import {
  CompareResult,
  CompareTarget,
  EMPTY,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from "../wire/messages.js";
import { KV } from "../wire/paths.js";

const READ = RangeRequest.encode({ key: TOKEN_KEY });

/**
 * Reads the key that all proxies of a store seal tokens with from the timeline host. The first proxy makes it. It is put
 * together with the log's tail, so that its host revision counts as the timeline's own and not as a client's. Rejects
 * with UNAVAILABLE while the host has no log yet.
 */
export async function loadTokenKey(host: Shard): Promise<Uint8Array> {
  const stored = await read(host);
  if (stored !== undefined) return stored;
  const request = TxnRequest.encode({
    compare: [
      { target: CompareTarget.VERSION, result: CompareResult.EQUAL, key: TOKEN_KEY, version: 0 },
      // Without a base the log does not exist yet.
      { target: CompareTarget.VERSION, result: CompareResult.GREATER, key: BASE_KEY, version: 0 },
    ],
    success: [
      { kind: "put", request: { key: TOKEN_KEY, value: randomBytes(32) } },
      { kind: "put", request: { key: TAIL_KEY, value: EMPTY } },
    ],
  });
  TxnResponse.decode(await host.call(KV.Txn, request, { idempotent: false }));
  const made = await read(host);
  if (made !== undefined) return made;
  throw new StatusError(Code.UNAVAILABLE, "etcd-braid: the timeline host has no log yet");
}

async function read(host: Shard): Promise<Uint8Array | undefined> {
  const response = RangeResponse.decode(await host.call(KV.Range, READ, { idempotent: true }));
  return response.kvs[0]?.value;
}
