import { afterAll } from 'vitest';
import { cleanUpFile } from './cleanup.js';

// Before every test file: whatever it starts and does not end is ended after it.
afterAll(cleanUpFile);
