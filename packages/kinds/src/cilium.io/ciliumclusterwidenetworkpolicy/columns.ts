export { policyColumns as columns } from "../../policy/policy-status.ts";
