import { connect } from '@stafett/client';

const stafett = await connect('127.0.0.1:50051', { client: 'tax-return-service' });

// Waits until both names are free, in line with everybody else; gives them back whatever happens.
await stafett.locks.run(['customer/42', 'customer/43'], async (lock) => {
  lock.assertHeld(); // throws if the lock may be lost
  console.log('token', lock.fencingToken); // give it to what you write to
});

// Gives up after five seconds, and tells who was in the way.
const outcome = await stafett.locks.tryRun('customer/42', () => 'done', { waitTimeout: '5s' });
console.log(outcome.acquired ? outcome.value : outcome.contention.blockers[0]?.holder);

await stafett.close();
