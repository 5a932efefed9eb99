import { Code, StatusError } from "./error.js";

/** One of etcd's errors. Calling it makes a new error, whose stack starts at the caller. */
export interface EtcdError {
  (): StatusError;
  /** The exact text that clients see and compare. */
  readonly message: string;
  /** Whether `reason` has this error's text. Codes are not compared: some differ between versions of etcd. */
  is(reason: unknown): boolean;
}

function define(code: Code, message: string): EtcdError {
  const create = () => new StatusError(code, message);
  const is = (reason: unknown) => reason instanceof StatusError && reason.message === message;
  return Object.assign(create, { message, is });
}

/** etcd's own errors, with the codes and exact texts of its package `api/v3rpc/rpctypes` (error.go). */
export const etcd = {
  emptyKey: define(Code.INVALID_ARGUMENT, "etcdserver: key is not provided"),
  keyNotFound: define(Code.INVALID_ARGUMENT, "etcdserver: key not found"),
  valueProvided: define(Code.INVALID_ARGUMENT, "etcdserver: value is provided"),
  leaseProvided: define(Code.INVALID_ARGUMENT, "etcdserver: lease is provided"),
  tooManyOps: define(Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request"),
  duplicateKey: define(Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request"),
  invalidSortOption: define(Code.INVALID_ARGUMENT, "etcdserver: invalid sort option"),
  compacted: define(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"),
  futureRevision: define(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"),
  requestTooLarge: define(Code.INVALID_ARGUMENT, "etcdserver: request is too large"),
  leaseNotFound: define(Code.NOT_FOUND, "etcdserver: requested lease not found"),
  leaseExists: define(Code.FAILED_PRECONDITION, "etcdserver: lease already exists"),
  leaseTtlTooLarge: define(Code.OUT_OF_RANGE, "etcdserver: too large lease TTL"),
  tooManyRequests: define(Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
  noLeader: define(Code.UNAVAILABLE, "etcdserver: no leader"),
  notLeader: define(Code.FAILED_PRECONDITION, "etcdserver: not leader"),
  stopped: define(Code.UNAVAILABLE, "etcdserver: server stopped"),
  badLeaderTransferee: define(Code.FAILED_PRECONDITION, "etcdserver: bad leader transferee"),
  memberNotFound: define(Code.NOT_FOUND, "etcdserver: member not found"),
  memberBadUrls: define(Code.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid"),
  memberNotLearner: define(Code.FAILED_PRECONDITION, "etcdserver: can only promote a learner member"),
  authNotEnabled: define(Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled"),
  authFailed: define(Code.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password"),
  invalidAuthToken: define(Code.UNAUTHENTICATED, "etcdserver: invalid auth token"),
  authOldRevision: define(Code.INVALID_ARGUMENT, "etcdserver: revision of auth store is old"),
  userEmpty: define(Code.INVALID_ARGUMENT, "etcdserver: user name is empty"),
  rootUserNotExist: define(Code.FAILED_PRECONDITION, "etcdserver: root user does not exist"),
  rootRoleNotExist: define(Code.FAILED_PRECONDITION, "etcdserver: root user does not have root role"),
  invalidAuthManagement: define(Code.INVALID_ARGUMENT, "etcdserver: invalid auth management"),
  roleNotFound: define(Code.FAILED_PRECONDITION, "etcdserver: role name not found"),
  permissionNotGranted: define(Code.FAILED_PRECONDITION, "etcdserver: permission is not granted to the role"),
  userNotFound: define(Code.FAILED_PRECONDITION, "etcdserver: user name not found"),
  permissionDenied: define(Code.PERMISSION_DENIED, "etcdserver: permission denied"),
  noSpace: define(Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
  permissionNotGiven: define(Code.INVALID_ARGUMENT, "etcdserver: permission not given"),
} as const;
