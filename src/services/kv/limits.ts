import type { Config } from "../../config/types.js";

export type KvLimits = Pick<Config["limits"], "maxRequestBytes" | "maxTxnOps" | "requestTimeoutMs">;
