import type { Static } from "typebox";
import { intOrString } from "../../schema/fields.ts";
import { Type } from "../../schema/type.ts";
import { entities } from "../../policy/entities.ts";
import { portlessProtocols } from "../../policy/port-text.ts";

/**
 * What Cilium's definitions know of a rule, and what the documents write beside it. Rules about several fields are
 * not in here but in `check-rule.ts`: an API server could not pay for them in lists within lists.
 */

const longList = 4096;
const atomic = { "x-kubernetes-list-type": "atomic" } as const;

function list<T extends Parameters<typeof Type.Array>[0]>(
  items: T,
  description: string,
  maxItems = longList,
): ReturnType<typeof Type.Array<T>> {
  return Type.Array(items, { description, maxItems, ...atomic });
}

const labelValue = {
  maxLength: 63,
  pattern: "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
  patternMeaning: "a label's value: letters, digits, -, _ and ., and begin and end with a letter or digit",
} as const;

const selectorFields = {
  matchLabels: Type.Optional(
    Type.Record(Type.String(), Type.String(labelValue), {
      description: "Labels that must be there with these values.",
    }),
  ),
  matchExpressions: Type.Optional(
    Type.Array(
      Type.Object({
        key: Type.String({ minLength: 1, maxLength: 512, description: "Name of the label." }),
        operator: Type.Enum(["In", "NotIn", "Exists", "DoesNotExist"], {
          description: "How the label is compared. NotIn also holds where the label is missing.",
        }),
        values: Type.Optional(
          Type.Array(Type.String(labelValue), { maxItems: 256, description: "Values for In and NotIn.", ...atomic }),
        ),
      }),
      { maxItems: 64, description: "Further requirements; all must hold.", ...atomic },
    ),
  ),
};

function selector(description: string): ReturnType<typeof Type.Object<typeof selectorFields>> {
  return Type.Object(selectorFields, { description });
}

const aSelector = selector("Which ones, by their labels; {} is all.");

const prefix = {
  minLength: 1,
  maxLength: 49,
  description: "An IPv4 or IPv6 address, or a CIDR.",
} as const;

const cidrRule = Type.Object(
  {
    cidr: Type.Optional(Type.String(prefix)),
    cidrGroupRef: Type.Optional(
      Type.String({ maxLength: 253, description: "A CiliumCIDRGroup. Not served: the object says so." }),
    ),
    cidrGroupSelector: Type.Optional(selector("CiliumCIDRGroups. Not served: the object says so.")),
    except: Type.Optional(list(Type.String(prefix), "CIDRs within cidr that are left out.")),
  },
  { description: "Exactly one of cidr, cidrGroupRef and cidrGroupSelector." },
);

const group = Type.Object({
  aws: Type.Optional(
    Type.Object({
      labels: Type.Optional(Type.Record(Type.String(), Type.String())),
      region: Type.Optional(Type.String({ maxLength: 64 })),
      securityGroupsIds: Type.Optional(list(Type.String({ maxLength: 256 }), "Ids of security groups.")),
      securityGroupsNames: Type.Optional(list(Type.String({ maxLength: 256 }), "Names of security groups.")),
    }),
  ),
});

const name = {
  maxLength: 255,
  pattern: "^[-a-zA-Z0-9_]+(\\.[-a-zA-Z0-9_]+)*\\.?$",
  patternMeaning: "a DNS name, without *; patterns go under matchPattern",
  description: "A DNS name, in any case.",
} as const;

const namePattern = {
  maxLength: 255,
  pattern: "^[-a-zA-Z0-9_*]+(\\.[-a-zA-Z0-9_*]+)*\\.?$",
  patternMeaning: "a DNS name in which * stands for any characters of one label",
  description:
    "A DNS name with * for any characters within one label. Alone * is every name; **. at the begin is one or more labels.",
} as const;

const fqdn = Type.Object(
  { matchName: Type.Optional(Type.String(name)), matchPattern: Type.Optional(Type.String(namePattern)) },
  { description: "Exactly one of matchName and matchPattern." },
);

const secret = Type.Object({
  name: Type.Optional(Type.String({ maxLength: 253, description: "Its name." })),
  namespace: Type.Optional(Type.String({ maxLength: 63, description: "Its namespace." })),
});

const tlsContext = Type.Object(
  {
    secret: Type.Optional(secret),
    certificate: Type.Optional(Type.String({ maxLength: 256 })),
    privateKey: Type.Optional(Type.String({ maxLength: 256 })),
    trustedCA: Type.Optional(Type.String({ maxLength: 256 })),
  },
  { description: "Not served: the object says so." },
);

const kept = { "x-kubernetes-preserve-unknown-fields": true } as const;

const l7Rules = Type.Object(
  {
    dns: Type.Optional(
      list(fqdn, "Names that may be asked for. Answers teach which addresses toFQDNs means. For egress only."),
    ),
    http: Type.Optional(
      Type.Array(Type.Object({}, kept), {
        maxItems: longList,
        description: "Not served: the object says so.",
        ...atomic,
      }),
    ),
    kafka: Type.Optional(
      Type.Array(Type.Object({}, kept), {
        maxItems: longList,
        description: "Not served: the object says so.",
        ...atomic,
      }),
    ),
    l7proto: Type.Optional(Type.String({ maxLength: 64, description: "Not served: the object says so." })),
    l7: Type.Optional(
      Type.Array(Type.Record(Type.String(), Type.String()), {
        maxItems: longList,
        description: "Not served: the object says so.",
        ...atomic,
      }),
    ),
  },
  { description: "What is allowed above the ports." },
);

export const protocols = ["TCP", "UDP", "SCTP", "ANY", ...Object.keys(portlessProtocols)] as const;

const portProtocol = Type.Object({
  port: Type.String({
    minLength: 1,
    maxLength: 15,
    description: "A number in quotes, or the name of a container's port. 0 is any port, unless endPort is there.",
  }),
  endPort: Type.Optional(
    Type.Integer({
      format: "int32",
      minimum: 0,
      maximum: 65535,
      description: "The last port of a range that begins with port.",
    }),
  ),
  protocol: Type.Optional(
    Type.Enum(protocols, {
      description: "ANY, the usual, is TCP, UDP and SCTP. Protocols without ports take port 0.",
    }),
  ),
});

const portRule = Type.Object({
  ports: Type.Optional(list(portProtocol, "Any of these ports; an empty list is none.", 40)),
  rules: Type.Optional(l7Rules),
  serverNames: Type.Optional(list(Type.String({ maxLength: 255 }), "Not served: the object says so.")),
  terminatingTLS: Type.Optional(tlsContext),
  originatingTLS: Type.Optional(tlsContext),
  listener: Type.Optional(
    Type.Object(
      {
        name: Type.Optional(Type.String({ maxLength: 253 })),
        priority: Type.Optional(Type.Integer({ format: "int32", minimum: 0, maximum: 100 })),
        envoyConfig: Type.Optional(
          Type.Object({
            kind: Type.Optional(Type.String({ maxLength: 64 })),
            name: Type.Optional(Type.String({ maxLength: 253 })),
          }),
        ),
      },
      { description: "Not served: the object says so." },
    ),
  ),
});

const icmpRule = Type.Object({
  fields: Type.Optional(
    list(
      Type.Object({
        family: Type.Enum(["IPv4", "IPv6"], { default: "IPv4", description: "ICMP or ICMPv6." }),
        type: intOrString({ description: "A type as number, 0 to 255, or by its name, such as EchoRequest." }),
      }),
      "Any of these types.",
      40,
    ),
  ),
});

const bandwidth = Type.Object(
  {
    rate: Type.Optional(intOrString({ description: "Bits each second, such as 50M." })),
    bitsPerSecond: Type.Optional(
      Type.Integer({ format: "int64", minimum: 1, maximum: 9007199254740991, description: "The same as a number." }),
    ),
    burstSize: Type.Optional(
      Type.Integer({
        format: "int64",
        minimum: 1,
        maximum: 9007199254740991,
        description: "Bytes that may pass at once.",
      }),
    ),
  },
  { description: "How much the rule lets through. Cilium does not have this field." },
);

const common = {
  description: Type.Optional(
    Type.String({ maxLength: 4096, description: "For people. Cilium has none on a single rule." }),
  ),
  toPorts: Type.Optional(list(portRule, "Only these ports. Each item adds to what is meant.")),
  icmps: Type.Optional(list(icmpRule, "Only these types of ICMP. Excludes toPorts.")),
  authentication: Type.Optional(
    Type.Object(
      {
        mode: Type.Enum(["disabled", "required", "test-always-fail"], {
          description: "Anything but disabled is not served: the object says so.",
        }),
      },
      { description: "Whether both sides must have authenticated." },
    ),
  ),
};

const allowed = {
  toBandwidth: Type.Optional(bandwidth),
  fromBandwidth: Type.Optional(bandwidth),
};

const requires = Type.Array(aSelector, { maxItems: 0, description: "Of old Cilium; must be empty.", ...atomic });

const ingressPeers = {
  fromEndpoints: Type.Optional(list(aSelector, "Pods; of the policy's own namespace unless a selector names another.")),
  fromCIDR: Type.Optional(list(Type.String(prefix), "Addresses outside of the cluster.")),
  fromCIDRSet: Type.Optional(list(cidrRule, "Addresses outside of the cluster, with exceptions.")),
  fromEntities: Type.Optional(
    list(Type.Enum(entities, { description: "What Cilium has a name for." }), "What has no labels: world, host, …"),
  ),
  fromNodes: Type.Optional(list(aSelector, "Nodes by their labels.")),
  fromGroups: Type.Optional(list(group, "Not served: the object says so.")),
  fromRequires: Type.Optional(requires),
  toCIDR: Type.Optional(
    Type.Array(Type.String(prefix), {
      maxItems: 0,
      description: "Must be empty, and means nothing: a document writes it so.",
      ...atomic,
    }),
  ),
};

const service = Type.Object(
  {
    k8sService: Type.Optional(
      Type.Object({
        serviceName: Type.Optional(Type.String({ maxLength: 253, description: "Its name." })),
        namespace: Type.Optional(Type.String({ maxLength: 63, description: "Its namespace." })),
      }),
    ),
    k8sServiceSelector: Type.Optional(
      Type.Object({
        selector: selector("Services by their labels."),
        namespace: Type.Optional(Type.String({ maxLength: 63, description: "Their namespace; all when left out." })),
      }),
    ),
  },
  { description: "Exactly one of k8sService and k8sServiceSelector." },
);

const egressPeers = {
  toEndpoints: Type.Optional(list(aSelector, "Pods; of the policy's own namespace unless a selector names another.")),
  toCIDR: Type.Optional(list(Type.String(prefix), "Addresses outside of the cluster.")),
  toCIDRSet: Type.Optional(list(cidrRule, "Addresses outside of the cluster, with exceptions.")),
  toEntities: Type.Optional(
    list(Type.Enum(entities, { description: "What Cilium has a name for." }), "What has no labels: world, host, …"),
  ),
  toNodes: Type.Optional(list(aSelector, "Nodes by their labels.")),
  toServices: Type.Optional(list(service, "What stands behind Services.")),
  toGroups: Type.Optional(list(group, "Not served: the object says so.")),
  toFQDNs: Type.Optional(list(fqdn, "Names; their addresses are learnt from answers to allowed DNS questions.")),
  toRequires: Type.Optional(requires),
};

const ingressRule = Type.Object({ ...ingressPeers, ...common, ...allowed });
const egressRule = Type.Object({ ...egressPeers, ...common, ...allowed });
const ingressDenyRule = Type.Object({ ...ingressPeers, ...common });
const egressDenyRule = Type.Object({ ...egressPeers, ...common });

const label = Type.Object({
  key: Type.String({ minLength: 1, maxLength: 317, description: "Name of the label." }),
  value: Type.Optional(Type.String({ maxLength: 1024, description: "Its value." })),
  source: Type.Optional(Type.String({ maxLength: 64, description: "Where it comes from." })),
});

export const ruleSchema = Type.Object(
  {
    endpointSelector: Type.Optional(selector("The pods whose traffic is judged; {} is every pod.")),
    nodeSelector: Type.Optional(
      selector("The nodes whose own traffic is judged; for CiliumClusterwideNetworkPolicy only."),
    ),
    ingress: Type.Optional(list(ingressRule, "What may come in. An empty item allows nothing.")),
    ingressDeny: Type.Optional(list(ingressDenyRule, "What must not come in, whatever else allows it.")),
    egress: Type.Optional(list(egressRule, "What may go out. An empty item allows nothing.")),
    egressDeny: Type.Optional(list(egressDenyRule, "What must not go out, whatever else allows it.")),
    enableDefaultDeny: Type.Optional(
      Type.Object(
        {
          ingress: Type.Optional(Type.Boolean({ description: "For what comes in." })),
          egress: Type.Optional(Type.Boolean({ description: "For what goes out." })),
        },
        {
          description:
            "Whether what no rule allows is denied. Left out: in each direction for which there is a rule, of either sort.",
        },
      ),
    ),
    labels: Type.Optional(list(label, "Names of the rule, for people and tools.")),
    description: Type.Optional(Type.String({ maxLength: 4096, description: "For people." })),
    log: Type.Optional(
      Type.Object(
        {
          value: Type.Optional(
            Type.String({
              maxLength: 32,
              pattern: "^[ -~]*$",
              patternMeaning: "printable ASCII",
              description: "Text of the events. With one, flows that rules of the policy decide are logged.",
            }),
          ),
        },
        { description: "What events of the rule carry." },
      ),
    ),
    options: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: 256 }), {
        description: 'Wishes for hardware, such as xdp: "true". Cilium does not have this field.',
      }),
    ),
  },
  { description: "Whose traffic is judged, and what is allowed or denied." },
);

export const specsSchema = Type.Array(ruleSchema, {
  maxItems: 1024,
  description: "Several rules in one object; they stand beside spec.",
  ...atomic,
});

export type CiliumRule = Static<typeof ruleSchema>;
export type CiliumIngressRule = Static<typeof ingressRule>;
export type CiliumEgressRule = Static<typeof egressRule>;
export type CiliumPortRule = Static<typeof portRule>;
export type CiliumCidrRule = Static<typeof cidrRule>;
export type CiliumService = Static<typeof service>;
export type CiliumName = Static<typeof fqdn>;
export type CiliumSelector = Static<typeof aSelector>;
export type CiliumBandwidth = Static<typeof bandwidth>;
