/** Where the lease room reports what an operator should know; a pino logger is one. */
export interface LeaseLog {
  warn(details: object, message: string): void;
}
