import { field } from "./field.js";
import { header } from "./header.js";
import { KeyValue } from "./keyvalue.js";
import { type MessageOf, message } from "./message.js";

/** Who leads, or stands for it. */
export const LeaderKey = message({
  /** Of the election. */
  name: field.data(1),
  key: field.data(2),
  /** The key's create revision. */
  rev: field.int64(3),
  lease: field.bigInt64(4),
});
export type LeaderKey = MessageOf<typeof LeaderKey>;

/** Stands for leadership and waits for it. */
export const CampaignRequest = message({
  name: field.data(1),
  /** What leadership is held under; 0: a new lease of 60 seconds. */
  lease: field.bigInt64(2),
  value: field.data(3),
});
export type CampaignRequest = MessageOf<typeof CampaignRequest>;

/** Leadership was won. */
export const CampaignResponse = message({ header, leader: field.message(2, LeaderKey) });
export type CampaignResponse = MessageOf<typeof CampaignResponse>;

/** Changes the leader's value. */
export const ProclaimRequest = message({ leader: field.message(1, LeaderKey), value: field.data(2) });
export type ProclaimRequest = MessageOf<typeof ProclaimRequest>;

/** Answer to a proclamation. */
export const ProclaimResponse = message({ header });
export type ProclaimResponse = MessageOf<typeof ProclaimResponse>;

/** Asks who leads, once or (Observe) for ever. */
export const LeaderRequest = message({ name: field.data(1) });
export type LeaderRequest = MessageOf<typeof LeaderRequest>;

/** Who leads. */
export const LeaderResponse = message({ header, kv: field.message(2, KeyValue) });
export type LeaderResponse = MessageOf<typeof LeaderResponse>;

/** Gives leadership up. */
export const ResignRequest = message({ leader: field.message(1, LeaderKey) });
export type ResignRequest = MessageOf<typeof ResignRequest>;

/** Answer to a resignation. */
export const ResignResponse = message({ header });
export type ResignResponse = MessageOf<typeof ResignResponse>;
