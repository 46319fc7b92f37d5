/** What reads a value of unknown origin: anything that has zod's `safeParse`, or is a Standard Schema (zod, valibot, arktype, …). */
export type Schema<T> = SafeParser<T> | StandardSchema<T>;

interface SafeParser<T> {
  safeParse(value: unknown): { readonly success: true; readonly data: T } | { readonly success: false; readonly error: unknown };
}

interface StandardSchema<T> {
  readonly '~standard': {
    validate(value: unknown): Outcome<T> | Promise<Outcome<T>>;
  };
}

type Outcome<T> = { readonly value: T; readonly issues?: undefined } | { readonly issues: readonly { readonly message: string }[] };

/**
 * @returns the value as the schema has it.
 * @throws what is wrong with it; a TypeError for a schema that takes its time, since the answer is needed at once.
 */
export function parse<T>(schema: Schema<T>, value: unknown): T {
  if ('safeParse' in schema) {
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    throw result.error;
  }
  const outcome = schema['~standard'].validate(value);
  if (outcome instanceof Promise) throw new TypeError('schema: is asynchronous; a setting needs one that answers at once');
  if (outcome.issues === undefined) return outcome.value;
  throw new TypeError(outcome.issues.map(({ message }) => message).join('; '));
}

/** @throws {TypeError} naming the argument, for something that is no schema. */
export function checkSchema(schema: unknown): void {
  const known =
    typeof schema === 'object' || typeof schema === 'function' ? (schema as Partial<SafeParser<unknown> & StandardSchema<unknown>>) : null;
  if (typeof known?.safeParse === 'function' || typeof known?.['~standard']?.validate === 'function') return;
  throw new TypeError('schema: must have a safeParse function, or be a Standard Schema');
}
