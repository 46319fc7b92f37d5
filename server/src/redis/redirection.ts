import { ReplyError } from 'ioredis';

/** What a node of a cluster answers when it does not serve the slot of a command, or not now. */
export type Redirection = MovedSlot | { readonly kind: 'TRYAGAIN' | 'CLUSTERDOWN' };

/** ASK: the key is on its way to another master. MOVED: the slot belongs to another one. */
interface MovedSlot {
  readonly kind: 'MOVED' | 'ASK';
  readonly host: string;
  readonly port: number;
}

const REDIRECTION = /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b(?: \d+ (\S*):(\d+))?/;

/** What the error, or the one that caused it, says of the slot; undefined if it speaks of something else. */
export function redirectionOf(error: unknown): Redirection | undefined {
  const reply = error instanceof ReplyError ? error : (error as Error | undefined)?.cause;
  if (!(reply instanceof ReplyError)) return undefined;
  const [, kind, host = '', port] = REDIRECTION.exec((reply as Error).message) ?? [];
  if (kind === 'MOVED' || kind === 'ASK') return { kind, host, port: Number(port) };
  return kind === 'TRYAGAIN' || kind === 'CLUSTERDOWN' ? { kind } : undefined;
}

/** Is the slot being moved, so that its keys may be spread over two masters? */
export function isOnTheMove(error: unknown): boolean {
  const kind = redirectionOf(error)?.kind;
  return kind === 'ASK' || kind === 'TRYAGAIN';
}
