import { spawnSync } from 'node:child_process';
import { useChosenRedis } from './chosen-redis.mjs';
import { inProject } from './project.mjs';
import { ensureRedis, findRedis } from './redis.mjs';
import { exitOf, Stop, step, succeeds } from './steps.mjs';

const DEFAULT_IMAGE = 'redis:7';
/** The image that scripts/docker-redis-image.sh makes where none can be pulled. */
const LOCAL_IMAGE = 'stafett-test/redis:local';
const DOCKER_TIMEOUT_MS = 15_000;
const PULL_TIMEOUT_MS = 90_000;

/**
 * Decides which Redis the tests run against, gets what it needs, and tells which it is: Testcontainers where Docker
 * works, else a private redis-server. STAFETT_TEST_REDIS=docker|private forces one, STAFETT_TEST_REDIS_PROGRAM names a server of this
 * machine. Returns the environment of the tests.
 */
export async function prepareTestRedis() {
  const wanted = process.env.STAFETT_TEST_REDIS || undefined;
  if (wanted !== undefined && wanted !== 'docker' && wanted !== 'private') {
    throw new Stop(`STAFETT_TEST_REDIS is '${wanted}'; it must be docker or private, or unset`);
  }
  const chosen = useChosenRedis();
  if (chosen !== undefined && wanted === 'docker') throw new Stop('STAFETT_TEST_REDIS_PROGRAM needs STAFETT_TEST_REDIS=private, or unset');
  const docker = await maybeDocker(wanted, chosen);
  if (docker.image === undefined && wanted === 'docker') throw new Stop(`STAFETT_TEST_REDIS=docker, but ${docker.missing}`);
  // The tests of the server's embedded Redis need a program in either case.
  const program = await ensureRedis();
  if (docker.image === undefined) {
    step(`Redis of the tests: private, ${versionOf(program)}, ${chosen ?? program} (${docker.missing})`);
    return { STAFETT_TEST_REDIS: 'private' };
  }
  step(`Redis of the tests: Testcontainers, image ${docker.image}`);
  return {
    STAFETT_TEST_REDIS: 'docker',
    STAFETT_TEST_REDIS_IMAGE: docker.image,
    // The tests remove their containers themselves (test/support/global-setup.ts), so this needs no second image.
    TESTCONTAINERS_RYUK_DISABLED: process.env.TESTCONTAINERS_RYUK_DISABLED ?? 'true',
  };
}

/** The image to use, or why there is none. */
function maybeDocker(wanted, chosen) {
  if (chosen !== undefined) return { missing: 'STAFETT_TEST_REDIS_PROGRAM' };
  return wanted === 'private' ? { missing: 'STAFETT_TEST_REDIS=private' } : prepareDocker();
}

async function prepareDocker() {
  const info = spawnSync('docker', ['info', '--format', '{{.ServerVersion}}'], { encoding: 'utf8', timeout: DOCKER_TIMEOUT_MS });
  if (info.status !== 0 || info.stdout.trim() === '') return { missing: 'Docker is not there: `docker info` fails' };
  const asked = process.env.STAFETT_TEST_REDIS_IMAGE || undefined;
  const image = asked ?? DEFAULT_IMAGE;
  if (hasImage(image)) return { image };
  if (image !== LOCAL_IMAGE && (asked !== undefined || !hasImage(LOCAL_IMAGE)) && (await pull(image))) return { image };
  if (asked !== undefined && asked !== LOCAL_IMAGE) return { missing: `Docker has no image ${image} and cannot pull it` };
  if (hasImage(LOCAL_IMAGE) || (await makeLocalImage())) return { image: LOCAL_IMAGE };
  return { missing: `Docker cannot pull ${image}, and scripts/docker-redis-image.sh failed` };
}

function hasImage(image) {
  return succeeds('docker', ['image', 'inspect', image], DOCKER_TIMEOUT_MS);
}

async function pull(image) {
  step(`pulling the image ${image}`);
  const { code } = await exitOf('docker', ['pull', '--quiet', image], { stdio: ['ignore', 2, 2], timeout: PULL_TIMEOUT_MS });
  return code === 0;
}

async function makeLocalImage() {
  if (process.platform !== 'linux') return false;
  await ensureRedis();
  step(`making the image ${LOCAL_IMAGE} of ${findRedis()}`);
  const { code } = await exitOf('bash', [inProject('scripts/docker-redis-image.sh'), LOCAL_IMAGE], { stdio: ['ignore', 2, 2] });
  return code === 0;
}

/** Such as `Redis 7.0.15` or `Valkey 8.0.1`. */
function versionOf(program) {
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return (
    /^(\w+) server v=(\S+)/
      .exec(stdout ?? '')
      ?.slice(1, 3)
      .join(' ') ?? 'of unknown version'
  );
}
