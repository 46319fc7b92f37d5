import { expect, test } from 'vitest';
import { Resolver } from '../../clients/typescript/src/resolving.js';

test('a name stands for all its addresses, in their order; what is no name stands for itself', async () => {
  const asked: string[] = [];
  const lookUp = async (host: string) => {
    asked.push(host);
    return ['10.0.0.1', 'fe80::1'];
  };
  const addresses = ['one.example:1', '10.0.0.9:2', '[::1]:3', 'unix:/tmp/socket', 'dns:///two.example:4', 'no port'];
  expect(await new Resolver(addresses, lookUp).targets()).toEqual([
    { address: '10.0.0.1:1', authority: 'one.example:1' },
    { address: '[fe80::1]:1', authority: 'one.example:1' },
    ...addresses.slice(1).map((address) => ({ address })),
  ]);
  expect(asked).toEqual(['one.example']);
});

test('what cannot be resolved is left to the channel, or is what it was last', async () => {
  const answers = [['10.0.0.1'], [], undefined];
  const lookUp = async () => {
    const answer = answers.shift();
    if (!answer) throw new Error('ENOTFOUND');
    return answer;
  };
  const known = new Resolver(['name:1'], lookUp);
  const first = await known.targets();
  expect(first).toEqual([{ address: '10.0.0.1:1', authority: 'name:1' }]);
  expect(await known.targets()).toEqual([{ address: 'name:1' }]); // it has none any more
  expect(await known.targets()).toEqual(first);
  expect(await new Resolver(['name:1'], lookUp).targets()).toEqual([{ address: 'name:1' }]);
});

test('a name server that does not answer holds nobody up', async () => {
  const resolver = new Resolver(['name:1', '10.0.0.1:2'], () => new Promise(() => {}));
  expect(await resolver.targets()).toEqual([{ address: 'name:1' }, { address: '10.0.0.1:2' }]);
});
