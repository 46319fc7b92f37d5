import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

// The rules of the house that a program can check, and that the linter and the compiler do not.

const root = fileURLToPath(new URL('../../', import.meta.url));
const LINES_MAX = 350;
const SOURCES = new Set(['.ts', '.mjs', '.lua', '.proto', '.sh', '.py', '.go', '.java']);

/** What is, or could be, in git, and is there. */
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '--deduplicate'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && readable(file));

const sources = files.filter((file) => SOURCES.has(extname(file)));
const typescript = files.filter((file) => /^(server|clients\/typescript)\/src\/.*\.ts$/.test(file));
const scripts = files.filter((file) => /^server\/src\/.*\.lua$/.test(file));

describe('Lua', () => {
  test('there are scripts', () => expect(scripts).not.toEqual([]));

  test.each(scripts)('%s says what it does', (file) => {
    const lines = read(file).split('\n');
    const isWhole = lines[0]?.startsWith('#!');
    const header = linesWhile(isWhole ? lines.slice(1) : lines, (line) => line.startsWith('--') && !line.startsWith('--@'));
    expect(header[0]).toMatch(/^-- What: \S/);
    const wanted = isWhole ? ['KEYS', 'ARGV', 'Reply'] : [];
    expect(wanted.filter((part) => !header.some((line) => line.startsWith(`-- ${part}: `)))).toEqual([]);
  });
});

describe('errors', () => {
  test('every reason has its cause and cure in docs/errors.md, and nothing else has', () => {
    const reasons = [...read('proto/stafett/v1/error.proto').matchAll(/^\s*ERROR_REASON_(\w+) = \d+;/gm)].map(([, name]) => name);
    const documented = [...read('docs/errors.md').matchAll(/^## ([A-Z][A-Z0-9_]+)\s*$/gm)].map(([, name]) => name);
    expect(documented.toSorted()).toEqual(reasons.filter((name) => name !== 'UNSPECIFIED').toSorted());
  });
});

describe('TypeScript', () => {
  test('there are no default exports', () => {
    expect(offenders(typescript, /^export default\b|^export \{[^}]*\bas default\b/m)).toEqual([]);
  });

  test('relative imports end in .js', () => {
    const all = files.filter((file) => extname(file) === '.ts');
    expect(offenders(all, /\b(?:from|import|import\() ?'\.{1,2}\/(?![^']*\.m?js')[^']*'/)).toEqual([]);
  });
});

describe('files', () => {
  test('have names in kebab-case', () => {
    expect(sources.filter((file) => !/^[a-z0-9]+([-.][a-z0-9]+)*$/.test(basename(file)))).toEqual([]);
  });

  test(`have at most ${LINES_MAX} lines`, () => {
    // But for a service's contract, which belongs in one file with all its comments.
    const programs = sources.filter((file) => extname(file) !== '.proto');
    expect(programs.filter((file) => read(file).split('\n').length > LINES_MAX)).toEqual([]);
  });

  test('name no path of the machine that they were written on', () => {
    expect(offenders(files, /(?<![\w.*-])\/(work|home\/[\w-]+|Users\/[\w-]+)\//)).toEqual([]);
  });

  test('the lockfile names no registry', () => {
    expect(offenders(['package-lock.json'], /"resolved": "https?:/)).toEqual([]);
  });
});

function offenders(candidates: readonly string[], pattern: RegExp): string[] {
  return candidates.flatMap((file) => {
    const found = pattern.exec(read(file))?.[0];
    return found === undefined ? [] : [`${file}: ${found}`];
  });
}

function linesWhile(lines: readonly string[], holds: (line: string) => boolean): string[] {
  const end = lines.findIndex((line) => !holds(line));
  return lines.slice(0, end === -1 ? undefined : end);
}

function readable(file: string): boolean {
  try {
    read(file);
    return true;
  } catch {
    return false; // deleted, but not yet committed; or a link to a directory
  }
}

function read(file: string): string {
  return readFileSync(`${root}${file}`, 'utf8');
}
