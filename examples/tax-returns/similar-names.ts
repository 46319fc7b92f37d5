/** Finds people who are in the register twice, under two spellings. Slow: it compares everybody with everybody. */

const FIRST = ['Kari', 'Karin', 'Ola', 'Olav', 'Ingrid', 'Inger', 'Jonas', 'Johannes', 'Astrid', 'Sigrid'];
const LAST = ['Hansen', 'Hanssen', 'Johansen', 'Johannessen', 'Nilsen', 'Nielsen', 'Kristiansen', 'Christiansen'];
/** Two names that differ by no more letters may be one. */
const LETTERS_MAX = 1;

export const REGISTER = FIRST.flatMap((first) => LAST.map((last) => `${first} ${last}`));

export function similarTo(name: string, register: readonly string[]): string[] {
  const wanted = simplify(name);
  const similar: string[] = [];
  for (const other of register) if (other !== name && editDistance(wanted, simplify(other)) <= LETTERS_MAX) similar.push(other);
  return similar;
}

function simplify(name: string): string {
  return name.toLowerCase().replaceAll(' ', '');
}

/** How many letters have to be put in, taken out or changed. */
function editDistance(a: string, b: string): number {
  const row = new Uint16Array(b.length + 1).map((_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    let diagonal = row[0] as number;
    row[0] = i;
    for (let j = 1; j <= b.length; j++) {
      const changed = diagonal + (a[i - 1] === b[j - 1] ? 0 : 1);
      diagonal = row[j] as number;
      row[j] = Math.min(changed, diagonal + 1, (row[j - 1] as number) + 1);
    }
  }
  return row[b.length] as number;
}
