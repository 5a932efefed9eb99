import { Code, StatusError } from "./error.js";

/**
 * etcd's own errors: code and exact text as etcd's `rpctypes` package has them. Factories, not
 * constants, so that every error carries the stack of the place that raised it.
 */
export const etcd = {
  emptyKey: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: key is not provided"),
  keyNotFound: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: key not found"),
  valueProvided: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: value is provided"),
  leaseProvided: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: lease is provided"),
  tooManyOps: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request"),
  duplicateKey: () =>
    new StatusError(Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request"),
  invalidSortOption: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: invalid sort option"),
  compacted: () =>
    new StatusError(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"),
  futureRevision: () =>
    new StatusError(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"),
  requestTooLarge: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: request is too large"),
  leaseNotFound: () => new StatusError(Code.NOT_FOUND, "etcdserver: requested lease not found"),
  leaseExists: () => new StatusError(Code.FAILED_PRECONDITION, "etcdserver: lease already exists"),
  leaseTtlTooLarge: () => new StatusError(Code.OUT_OF_RANGE, "etcdserver: too large lease TTL"),
  tooManyRequests: () => new StatusError(Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
  noLeader: () => new StatusError(Code.UNAVAILABLE, "etcdserver: no leader"),
  timeout: () => new StatusError(Code.UNAVAILABLE, "etcdserver: request timed out"),
  notLeader: () => new StatusError(Code.FAILED_PRECONDITION, "etcdserver: not leader"),
  stopped: () => new StatusError(Code.UNAVAILABLE, "etcdserver: server stopped"),
  badLeaderTransferee: () => new StatusError(Code.FAILED_PRECONDITION, "etcdserver: bad leader transferee"),
  memberNotFound: () => new StatusError(Code.NOT_FOUND, "etcdserver: member not found"),
  memberBadUrls: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid"),
  memberNotLearner: () =>
    new StatusError(Code.FAILED_PRECONDITION, "etcdserver: can only promote a learner member"),
  authNotEnabled: () =>
    new StatusError(Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled"),
  authFailed: () =>
    new StatusError(Code.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password"),
  invalidAuthToken: () => new StatusError(Code.UNAUTHENTICATED, "etcdserver: invalid auth token"),
  authOldRevision: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: revision of auth store is old"),
  userEmpty: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: user name is empty"),
  rootUserNotExist: () => new StatusError(Code.FAILED_PRECONDITION, "etcdserver: root user does not exist"),
  rootRoleNotExist: () =>
    new StatusError(Code.FAILED_PRECONDITION, "etcdserver: root user does not have root role"),
  invalidAuthManagement: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: invalid auth management"),
  userNotFound: () => new StatusError(Code.FAILED_PRECONDITION, "etcdserver: user name not found"),
  permissionDenied: () => new StatusError(Code.PERMISSION_DENIED, "etcdserver: permission denied"),
  noSpace: () => new StatusError(Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
  permissionNotGiven: () => new StatusError(Code.INVALID_ARGUMENT, "etcdserver: permission not given"),
} as const;
