export { policyStatusSchema as statusSchema } from "../../policy/policy-status.ts";
export { ruleSchema as specSchema, specsSchema } from "../rule/rule-schema.ts";
