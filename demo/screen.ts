import { styleText } from "node:util";
import type { Client } from "./network.ts";

export interface Fate {
  readonly sent: number;
  readonly arrived: number;
  readonly why?: string | undefined;
}

export interface Row {
  update(arrived: number): void;
  finish(fate: Fate): void;
}

/** Lines as they happen; on a terminal the row of a running scene is renewed in place. */
export class Screen {
  readonly #isTerminal = process.stdout.isTTY;
  #running = 0;

  title(text: string): void {
    this.#line(this.#paint("bold", text));
  }

  picture(lines: readonly string[]): void {
    this.#line("");
    for (const line of lines) this.#line(`    ${line}`);
  }

  step(text: string): void {
    this.#line("");
    this.#line(`${this.#paint("green", "▸")} ${this.#paint("bold", text)}`);
  }

  note(text: string): void {
    this.#line(`  ${text}`);
  }

  output(text: string): void {
    for (const line of text.trimEnd().split("\n")) this.note(line);
  }

  quote(text: string): void {
    this.#line("");
    for (const line of text.trimEnd().split("\n")) this.#line(this.#paint("dim", `  │ ${line}`));
  }

  failure(text: string): void {
    this.#line(this.#paint("red", `✗ ${text}`));
  }

  answer(who: string, isAnswered: boolean, story: string): void {
    const fate = isAnswered ? this.#paint("green", "answered ") : this.#paint("red", "no answer");
    this.#line(`  ${who.padEnd(24)} ${fate}   ${this.#paint("dim", story)}`);
  }

  row({ name, address, story }: Client): Row {
    const head = `  ${name.padEnd(12)} ${address.padEnd(14)}`;
    this.#running++;
    return {
      update: (arrived) => {
        // Two rows that run at once would overwrite each other.
        if (this.#isTerminal && this.#running === 1) process.stdout.write(`\r${head} arrived ${arrived} …\u001b[K`);
      },
      finish: ({ sent, arrived, why }) => {
        this.#running--;
        const dropped = Math.max(0, sent - arrived);
        const counts = `sent ${String(sent).padStart(6)}   arrived ${this.#paint("green", String(arrived).padStart(6))}   dropped ${this.#paint(dropped > 0 ? "red" : "dim", String(dropped).padStart(6))}`;
        if (this.#isTerminal) process.stdout.write("\r\u001b[K");
        this.#line(`${head} ${counts}   ${this.#paint("dim", story)}`);
        if (why !== undefined) this.#line(`  ${"".padEnd(27)} ${this.#paint("yellow", `↳ ${why}`)}`);
      },
    };
  }

  #paint(style: "bold" | "dim" | "green" | "red" | "yellow", text: string): string {
    return this.#isTerminal ? styleText(style, text) : text;
  }

  #line(text: string): void {
    process.stdout.write(`${text}\n`);
  }
}
