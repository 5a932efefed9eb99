// Generated from proto/ by `npm run generate`. Edit proto/ instead.

export const KeyValue = {
  key: 0x0a,
  createRevision: 0x10,
  modRevision: 0x18,
  version: 0x20,
  value: 0x2a,
  lease: 0x30,
} as const;

export const Event = {
  type: 0x08,
  kv: 0x12,
  prevKv: 0x1a,
} as const;

export const ResponseHeader = {
  clusterId: 0x08,
  memberId: 0x10,
  revision: 0x18,
  raftTerm: 0x20,
} as const;

export const RangeRequest = {
  key: 0x0a,
  rangeEnd: 0x12,
  limit: 0x18,
  revision: 0x20,
  sortOrder: 0x28,
  sortTarget: 0x30,
  serializable: 0x38,
  keysOnly: 0x40,
  countOnly: 0x48,
  minModRevision: 0x50,
  maxModRevision: 0x58,
  minCreateRevision: 0x60,
  maxCreateRevision: 0x68,
} as const;

export const RangeResponse = {
  header: 0x0a,
  kvs: 0x12,
  more: 0x18,
  count: 0x20,
} as const;

export const PutRequest = {
  key: 0x0a,
  value: 0x12,
  lease: 0x18,
  prevKv: 0x20,
  ignoreValue: 0x28,
  ignoreLease: 0x30,
} as const;

export const PutResponse = {
  header: 0x0a,
  prevKv: 0x12,
} as const;

export const DeleteRangeRequest = {
  key: 0x0a,
  rangeEnd: 0x12,
  prevKv: 0x18,
} as const;

export const DeleteRangeResponse = {
  header: 0x0a,
  deleted: 0x10,
  prevKvs: 0x1a,
} as const;

export const TxnRequest = {
  compare: 0x0a,
  success: 0x12,
  failure: 0x1a,
} as const;

export const Compare = {
  result: 0x08,
  target: 0x10,
  key: 0x1a,
  version: 0x20,
  createRevision: 0x28,
  modRevision: 0x30,
  value: 0x3a,
  lease: 0x40,
  rangeEnd: 0x202,
} as const;

export const RequestOp = {
  requestRange: 0x0a,
  requestPut: 0x12,
  requestDeleteRange: 0x1a,
  requestTxn: 0x22,
} as const;

export const TxnResponse = {
  header: 0x0a,
  succeeded: 0x10,
  responses: 0x1a,
} as const;

export const ResponseOp = {
  responseRange: 0x0a,
  responsePut: 0x12,
  responseDeleteRange: 0x1a,
  responseTxn: 0x22,
} as const;

export const WatchRequest = {
  createRequest: 0x0a,
  cancelRequest: 0x12,
  progressRequest: 0x1a,
} as const;

export const WatchCreateRequest = {
  key: 0x0a,
  rangeEnd: 0x12,
  startRevision: 0x18,
  progressNotify: 0x20,
  filters: 0x28,
  prevKv: 0x30,
  watchId: 0x38,
  fragment: 0x40,
} as const;

export const WatchCancelRequest = {
  watchId: 0x08,
} as const;

export const WatchResponse = {
  header: 0x0a,
  watchId: 0x10,
  created: 0x18,
  canceled: 0x20,
  compactRevision: 0x28,
  cancelReason: 0x32,
  fragment: 0x38,
  events: 0x5a,
} as const;

export const LeaseStatus = {
  id: 0x08,
} as const;

export const HealthCheckRequest = {
  service: 0x0a,
} as const;

export const HealthCheckResponse = {
  status: 0x08,
} as const;

export const ServerReflectionRequest = {
  host: 0x0a,
  fileByFilename: 0x1a,
  fileContainingSymbol: 0x22,
  fileContainingExtension: 0x2a,
  allExtensionNumbersOfType: 0x32,
  listServices: 0x3a,
} as const;

export const ExtensionRequest = {
  containingType: 0x0a,
  extensionNumber: 0x10,
} as const;

export const ServerReflectionResponse = {
  validHost: 0x0a,
  originalRequest: 0x12,
  fileDescriptorResponse: 0x22,
  allExtensionNumbersResponse: 0x2a,
  listServicesResponse: 0x32,
  errorResponse: 0x3a,
} as const;

export const FileDescriptorResponse = {
  fileDescriptorProto: 0x0a,
} as const;

export const ExtensionNumberResponse = {
  baseTypeName: 0x0a,
  extensionNumber: 0x10,
} as const;

export const ListServiceResponse = {
  service: 0x0a,
} as const;

export const ServiceResponse = {
  name: 0x0a,
} as const;

export const ErrorResponse = {
  errorCode: 0x08,
  errorMessage: 0x12,
} as const;
