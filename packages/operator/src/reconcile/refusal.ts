import { isApiError, type ApiError } from "@bpfleet/kube";

/** What API servers say of fields that never change, in words of their own: there is no code for it. */
const immutable = /field is immutable|cannot change roleRef|may not change once set/;

/**
 * Whether a write was refused for nothing but fields that never change. Policies and webhooks that refuse have the same
 * status, and may use the same words; they name no fields with the reasons of the server's own checks.
 */
export function isOfImmutableField(error: unknown): error is ApiError {
  return isOfFields(error, (message) => immutable.test(message));
}

/** Whether it was refused for nothing but what fields would be then. */
export function isOfContent(error: unknown): error is ApiError {
  return isOfFields(error, (message) => !immutable.test(message));
}

/** How an API server says, with a 500 and without a cause, that its schema has no place for what is applied as a status. */
const noPlace = /^[^:]*: failed to create typed patch object\b.*?\.status\b/;

/** Whether a status was refused for a field that the CRD does not declare, or declares to be something else. */
export function isOfSchema(error: unknown): error is ApiError {
  return isApiError(error) && error.status === 500 && noPlace.test(error.message);
}

function isOfFields(error: unknown, isMeant: (message: string) => boolean): error is ApiError {
  return (
    isApiError(error) &&
    error.status === 422 &&
    error.causes.length > 0 &&
    error.causes.every(
      ({ field, reason, message }) => field !== "" && reason.startsWith("FieldValue") && isMeant(message),
    )
  );
}
