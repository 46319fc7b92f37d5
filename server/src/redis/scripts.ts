import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** A library of one Redis function. Its name tells its version, so that servers of different versions get along. */
export interface Library {
  readonly name: string;
  readonly source: string;
}

const INCLUDE = /^--@include (\S+)$/gm;

/**
 * Reads a library and puts the files that it names by `--@include file.lua` in their place, and its name, which ends in a
 * hash of the source, in the place of every `@name`.
 */
export function loadLibrary(url: URL, prefix: string): Library {
  const source = expand(url);
  const name = `${prefix}_${createHash('sha256').update(source).digest('hex').slice(0, 12)}`;
  return { name, source: source.replaceAll('@name', name) };
}

function expand(url: URL): string {
  return readFileSync(url, 'utf8').replace(INCLUDE, (_, file: string) => expand(new URL(file, url)));
}
