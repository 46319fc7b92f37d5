import { type CallParams, CallRefusal } from '../handler.js';

export function invalidParam(param: string, problem: string): CallRefusal {
  return new CallRefusal('INVALID_PARAMS', `${param}: ${problem}`, { param });
}

/** A name that is misspelt would else be a wish that is not heard. @throws {CallRefusal} INVALID_PARAMS */
export function checkNames(params: CallParams, known: readonly string[]): void {
  const unknown = Object.keys(params).find((name) => !known.includes(name));
  if (unknown !== undefined) throw invalidParam(unknown.slice(0, 64), `there is no such parameter; there are ${known.join(', ')}`);
}

/** @throws {CallRefusal} INVALID_PARAMS for what is neither a text nor absent. */
export function textParam(params: CallParams, name: string): string | undefined {
  const value = params[name];
  if (value === undefined || typeof value === 'string') return value;
  throw invalidParam(name, 'must be a text');
}

/** One text or several; none if it is absent. @throws {CallRefusal} INVALID_PARAMS */
export function textsParam(params: CallParams, name: string): string[] {
  const values = params[name] === undefined ? [] : [params[name]].flat();
  if (values.every((value) => typeof value === 'string')) return values;
  throw invalidParam(name, 'must be a text, or several');
}

/** @throws {CallRefusal} INVALID_PARAMS */
export function flagParam(params: CallParams, name: string): boolean {
  const value = params[name] ?? false;
  if (value === true || value === 'true') return true;
  if (value === false || value === 'false') return false;
  throw invalidParam(name, 'must be true or false');
}
