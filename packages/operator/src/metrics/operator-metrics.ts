/** One reading; the key of `samples` is its labels as they stand between the braces. */
interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly samples: ReadonlyMap<string, number>;
}

/** Numbers that only grow, by name and labels. */
export class Counters {
  readonly #families = new Map<string, { readonly help: string; readonly samples: Map<string, number> }>();

  add(name: string, help: string, labels: Readonly<Record<string, string>>, by: number = 1): void {
    const family = this.#families.get(name) ?? { help, samples: new Map<string, number>() };
    this.#families.set(name, family);
    const key = renderLabels(labels);
    family.samples.set(key, (family.samples.get(key) ?? 0) + by);
  }

  families(): readonly Family[] {
    return [...this.#families].map(([name, { help, samples }]) => ({ name, help, type: "counter", samples }));
  }
}

export function gauge(
  name: string,
  help: string,
  value: number,
  labels: Readonly<Record<string, string>> = {},
): Family {
  return { name, help, type: "gauge", samples: new Map([[renderLabels(labels), value]]) };
}

/** A count that is kept elsewhere. */
export function counter(name: string, help: string, value: number): Family {
  return { name, help, type: "counter", samples: new Map([["", value]]) };
}

/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
export function renderMetrics(families: readonly Family[]): string {
  return families
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, help, type, samples }) => {
      const lines = [...samples]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([labels, value]) => `${name}${labels === "" ? "" : `{${labels}}`} ${value}\n`);
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
    })
    .join("");
}

function renderLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(
      ([name, value]) => `${name}="${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`,
    )
    .join(",");
}
