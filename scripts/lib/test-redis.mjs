import { spawnSync } from 'node:child_process';
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
 * works, else a private redis-server. STAFETT_TEST_REDIS=docker|private forces one. Returns the environment of the tests.
 */
export async function prepareTestRedis() {
  const wanted = process.env.STAFETT_TEST_REDIS || undefined;
  if (wanted !== undefined && wanted !== 'docker' && wanted !== 'private') {
    throw new Stop(`STAFETT_TEST_REDIS is '${wanted}'; it must be docker or private, or unset`);
  }
  const docker = wanted === 'private' ? { missing: 'STAFETT_TEST_REDIS=private' } : await prepareDocker();
  if (docker.image === undefined && wanted === 'docker') throw new Stop(`STAFETT_TEST_REDIS=docker, but ${docker.missing}`);
  // The tests of the server's embedded Redis need a program in either case.
  const program = await ensureRedis();
  if (docker.image === undefined) {
    step(`Redis of the tests: private, ${program} (${docker.missing})`);
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
