import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './project.mjs';

const PROTO_FILES = ['proto', 'buf.yaml'];

/**
 * Calls `use` with a directory that has the protos as they were: at the last version (a tag `v…`), else where this branch
 * left main, else at the commit before. Returns what it returns, or `{ missing }`, which says why there is none.
 */
export async function withProtoBaseline(use) {
  const commit = baselineCommit();
  if (commit === undefined) return { missing: 'there is no earlier commit to compare with' };
  if (PROTO_FILES.some((path) => git('cat-file', '-e', `${commit}:${path}`) === undefined)) return { missing: `${commit} has no protos` };
  const dir = mkdtempSync(join(tmpdir(), 'stafett-protos-'));
  try {
    const archive = spawnSync('git', ['archive', commit, ...PROTO_FILES], { cwd: root, maxBuffer: 64 * 1024 * 1024 });
    const unpacked = spawnSync('tar', ['-x', '-C', dir], { input: archive.stdout });
    if (archive.status !== 0 || unpacked.status !== 0) return { missing: `the protos of ${commit} could not be read` };
    return await use(dir, commit);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function baselineCommit() {
  return (
    git('describe', '--tags', '--match', 'v*', '--abbrev=0') ?? forkFromMain() ?? uncommitted() ?? git('rev-parse', '--verify', 'HEAD~1')
  );
}

function forkFromMain() {
  const head = git('rev-parse', '--verify', 'HEAD');
  const fork = git('merge-base', 'HEAD', 'main') ?? git('merge-base', 'HEAD', 'origin/main');
  return fork === head ? undefined : fork;
}

/** While protos are being changed, the last commit is the one to compare with. */
function uncommitted() {
  const changes = git('status', '--porcelain', '--', ...PROTO_FILES);
  return changes === undefined || changes === '' ? undefined : git('rev-parse', '--verify', 'HEAD');
}

/** What git says, or undefined if it fails. */
function git(...args) {
  const { status, stdout } = spawnSync('git', args, { cwd: root, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}
