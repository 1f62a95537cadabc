import { Failure } from "../failure.ts";

/** The form that `-o` asks for, as long as it is one of `forms`. */
export function parseForm<Form extends string>(text: string | undefined, ...forms: readonly Form[]): Form | undefined {
  const form = forms.find((each) => each === text);
  if (form === undefined && text !== undefined) throw noSuchForm(text, forms.join("|"));
  return form;
}

export function noSuchForm(text: string, forms: string): Failure {
  return new Failure(
    `unable to match a printer suitable for the output format "${text}", allowed formats are: ${forms}`,
  );
}
