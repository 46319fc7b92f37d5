import type { Command } from './commands.js';

/** Commands that may wait for Redis, of all namespaces, and what they carry, in bytes, at the most. */
const COMMANDS_MAX = 500_000;
const BYTES_MAX = 268_435_456;
/** As much again of either is kept for keepalives. */
const URGENT_SHARE = 0.1;

/** For the commands of a server that wait for Redis: what bounds its memory while Redis is away or slow, however many namespaces there are. */
export class Room {
  #commands = 0;
  #bytes = 0;

  constructor(
    private readonly commandsMax = COMMANDS_MAX,
    private readonly bytesMax = BYTES_MAX,
  ) {}

  /** Whoever is let in leaves with the same bytes and commands. */
  enter(bytes: number, urgent: boolean, commands = 1): boolean {
    const share = urgent ? 1 + URGENT_SHARE : 1;
    if (this.#commands + commands > this.commandsMax * share || this.#bytes + bytes > this.bytesMax * share) return false;
    this.#commands += commands;
    this.#bytes += bytes;
    return true;
  }

  leave(bytes: number, commands = 1): void {
    this.#commands -= commands;
    this.#bytes -= bytes;
  }
}

/** What a command carries of which callers chose the size. The names of acquires are counted where those are let in. */
export function bytesOf(command: Command): number {
  let bytes = 0;
  if (command[0] === 'publish') for (const [, data] of command[1]) bytes += data.length;
  else for (const part of command) if (typeof part === 'string') bytes += part.length;
  return bytes;
}

/** How many commands it stands for. */
export function countOf(command: Command): number {
  if (command[0] === 'acquires') return (command.length - 5) / 2;
  return command[0] === 'releases' ? command.length - 2 : 1;
}
