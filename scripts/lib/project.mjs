import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The directory of the project, with a slash at its end. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

/** A path of the project as an absolute one. */
export function inProject(...parts) {
  return join(root, ...parts);
}

/** What is only of this checkout and may be removed at any time: stamps, test reports. */
export const stateDir = inProject('.stafett');

/** A program that came with the npm packages. */
export function bin(name) {
  return inProject('node_modules/.bin', name);
}
