import { keptOfLongName, longestLabel, nodeLabel, type DefinedKind } from "@bpfleet/kinds";
import { isMade } from "./access.ts";
import type { Manifest } from "./manifest.ts";
import { daemonSetName, ownNamespace, ownNodePolicyName, partOf } from "./names.ts";

const admission = "admissionregistration.k8s.io/v1";
/** API servers say it of whoever comes with a token that is bound to a pod, since Kubernetes 1.30. */
const nodeNameKey = "authentication.kubernetes.io/node-name";

/**
 * Roles cannot tell one node from another: all agents have one account. This lets each write what is of its node, and
 * what is of other nodes nobody but their own. It comes with the manifests, and the operator has no right to change it.
 */
export function ownNodePolicy(kinds: readonly DefinedKind[]): readonly Manifest[] {
  const made = Map.groupBy(kinds.filter(isMade), ({ group }) => group);
  const ruleOf = (group: string, of: readonly string[]): object => ({
    apiGroups: [group],
    apiVersions: ["*"],
    operations: ["CREATE", "UPDATE", "DELETE"],
    resources: of,
    scope: "*",
  });
  return [
    {
      apiVersion: admission,
      kind: "ValidatingAdmissionPolicy",
      metadata: { name: ownNodePolicyName, labels: partOf },
      spec: {
        failurePolicy: "Fail",
        matchConstraints: {
          matchPolicy: "Equivalent",
          resourceRules: [
            ruleOf("bpfleet.io", withStatus("nodestates")),
            ...[...made].map(([group, members]) =>
              ruleOf(group, members.flatMap(({ plural }) => withStatus(plural)).toSorted()),
            ),
          ],
        },
        matchConditions: [
          {
            name: "agents",
            expression: `request.userInfo.username == 'system:serviceaccount:${ownNamespace}:${daemonSetName}'`,
          },
        ],
        variables: [
          {
            name: "node",
            expression: `has(request.userInfo.extra) && '${nodeNameKey}' in request.userInfo.extra ? request.userInfo.extra['${nodeNameKey}'][0] : ''`,
          },
          { name: "newIsOwn", expression: isOwn("object") },
          { name: "oldIsOwn", expression: isOwn("oldObject") },
        ],
        validations: [
          {
            expression: "variables.node != ''",
            message: "the agent's token is of no node: only one that is bound to a pod of the DaemonSet says which",
            reason: "Forbidden",
          },
          {
            expression: "variables.node == '' || (variables.newIsOwn && variables.oldIsOwn)",
            messageExpression: "'the agent of node ' + variables.node + ' writes of its own node only'",
            reason: "Forbidden",
          },
        ],
      },
    },
    {
      apiVersion: admission,
      kind: "ValidatingAdmissionPolicyBinding",
      metadata: { name: ownNodePolicyName, labels: partOf },
      spec: { policyName: ownNodePolicyName, validationActions: ["Deny"] },
    },
  ];
}

/** A NodeState has the name of its node; other objects tell it by a label, or, where somebody took that, by their name. */
function isOwn(object: "object" | "oldObject"): string {
  const { metadata, label } = { metadata: `${object}.metadata`, label: `${object}.metadata.labels['${nodeLabel}']` };
  const isLong = `size(variables.node) > ${longestLabel}`;
  const start = `variables.node.substring(0, ${keptOfLongName}) + '-'`;
  return [
    `${object} == null ? true`,
    `request.resource.resource == 'nodestates' ? ${metadata}.name == variables.node`,
    `!has(${metadata}.labels) || !('${nodeLabel}' in ${metadata}.labels) ? ${metadata}.name.endsWith('-' + variables.node)`,
    `${isLong} ? ${label}.startsWith(${start})`,
    `${label} == variables.node`,
  ].join(" : ");
}

function withStatus(plural: string): string[] {
  return [plural, `${plural}/status`];
}
