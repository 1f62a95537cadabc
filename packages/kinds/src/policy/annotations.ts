/** `shadow`: evaluated beside the policies in force, and counted. */
export const modeAnnotation = "bpfleet.io/mode";
/** `keep` lets connections live that a change of the policy would cut. */
export const onRevokeAnnotation = "bpfleet.io/on-revoke";
