import type { Rule } from "../../schema/json-schema.ts";
import type { TrafficControlSpec, TrafficFilter } from "./schema.ts";

type Action = NonNullable<TrafficFilter["action"]>;
type Parameter = "mark" | "police" | "redirect";

/** Of a text whose pattern lets digits and a unit pass. */
export const notZero: Rule = {
  cel: "self.matches('[1-9]')",
  holds: (self: string) => /[1-9]/.test(self),
  reads: [""],
  field: "",
  code: "invalid",
  message: "must be more than 0",
};

function needs(type: Parameter): Rule {
  return {
    cel: `self.type != '${type}' || has(self.${type})`,
    holds: (self: Action) => self.type !== type || self[type] !== undefined,
    reads: ["/type", `/${type}`],
    field: `/${type}`,
    code: "required",
    message: `is required for type ${type}`,
  };
}

export const actionRules: readonly Rule[] = (["mark", "police", "redirect"] as const).map(needs);

const classful = ["htb", "hfsc"];

export const trafficControlRules: readonly Rule[] = [
  {
    cel: "!has(self.filters) || self.filters.all(filter, !has(filter.classID) || (has(self.classes) && self.classes.exists(each, each.id == filter.classID)))",
    holds: ({ filters = [], classes = [] }: TrafficControlSpec) =>
      filters.every(({ classID }) => classID === undefined || classes.some(({ id }) => id === classID)),
    reads: [],
    shapes: ["/filters", "/classes"],
    field: "/filters",
    code: "invalid",
    message: "must have each classID be the id of one of the classes",
    explain: ({ filters = [], classes = [] }: TrafficControlSpec) => {
      const at = filters.findIndex(({ classID }) => classID !== undefined && !classes.some(({ id }) => id === classID));
      const known = classes.length === 0 ? "there are none" : `there are ${classes.map(({ id }) => id).join(", ")}`;
      return `must have each classID be the id of one of the classes; [${at}] has ${filters[at]?.classID}, ${known}`;
    },
  },
  {
    cel: "self.direction == 'ingress' || !has(self.classes) || size(self.classes) == 0 || (has(self.queueingDiscipline) && self.queueingDiscipline.type in ['htb', 'hfsc'])",
    holds: ({ direction, classes = [], queueingDiscipline }: TrafficControlSpec) =>
      direction === "ingress" ||
      classes.length === 0 ||
      (queueingDiscipline !== undefined && classful.includes(queueingDiscipline.type)),
    reads: ["/direction"],
    shapes: ["/classes", "/queueingDiscipline"],
    field: "/classes",
    code: "forbidden",
    message: "needs queueingDiscipline.type htb or hfsc: the others have no classes",
  },
  {
    cel: "!has(self.queueingDiscipline) || self.queueingDiscipline.type != 'tbf' || has(self.queueingDiscipline.rate)",
    holds: ({ queueingDiscipline }: TrafficControlSpec) =>
      queueingDiscipline?.type !== "tbf" || queueingDiscipline.rate !== undefined,
    reads: [],
    shapes: ["/queueingDiscipline"],
    field: "/queueingDiscipline/rate",
    code: "required",
    message: "is required for type tbf",
  },
  {
    cel: "!has(self.filters) || self.filters.all(filter, filter.protocol != 'icmp' || !has(filter.match) || (!has(filter.match.srcPort) && !has(filter.match.dstPort)))",
    holds: ({ filters = [] }: TrafficControlSpec) =>
      filters.every(
        ({ protocol, match }) => protocol !== "icmp" || (match?.srcPort === undefined && match?.dstPort === undefined),
      ),
    reads: [],
    shapes: ["/filters"],
    field: "/filters",
    code: "forbidden",
    message: "must have no ports in a match of protocol icmp: it has none",
  },
];
