import { connect, FencedStore, StafettError } from '@stafett/client';

/** A resource that refuses whoever had the lock before the last one who wrote. */
const fence = new FencedStore();
const documents = new Map<string, string>();

const stafett = await connect('127.0.0.1:50051', { client: 'fenced-resource' });
const write = (token: bigint, text: string) => fence.write('customer/42', token, () => documents.set('customer/42', text));

// The first holder loses its lock while it thinks; the second one writes; then the first wakes up and tries to.
const first = await stafett.locks.acquire('customer/42');
await stafett.locks.forceRelease('customer/42');
await stafett.locks.run('customer/42', (second) => write(second.fencingToken, 'by the second holder'));
try {
  await write(first.fencingToken, 'by the first holder, too late');
} catch (error) {
  console.log(StafettError.from(error).message);
}
console.log(documents.get('customer/42'));
await stafett.close();
