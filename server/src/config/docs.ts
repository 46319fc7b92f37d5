import { VARIABLES, type Variable } from './variables.js';

const all: readonly Variable<unknown>[] = Object.values(VARIABLES);

/** What `--help` prints. Made from the same table as the documentation. */
export function renderHelp(version: string): string {
  const variables = all.map(
    ({ env, fallback, type, help }) =>
      `  ${env}\n${wrap(plain(help), 6, 100)}\n      ${plain(type.allowed)}. Default: ${fallback ?? 'unset'}.\n`,
  );
  return `stafett-server ${version}: fair, fenced, multi-key locks over Redis or Valkey

Usage: stafett-server [--check-config | --help | --version]

  --check-config  Prints the effective configuration, passwords masked, and exits: with 0, or with 1 and what is wrong.
  --help          Prints this.
  --version       Prints the version.

Environment variables (an empty one counts as unset; durations are written as 250ms, 5s, 2m or 1h):

${variables.join('\n')}`;
}

/** The whole of `docs/configuration.md`. */
export function renderConfigurationDoc(): string {
  const rows = all.map(
    ({ env, fallback, type, help }) =>
      `| \`${env}\` | ${fallback === undefined ? 'unset' : `\`${fallback}\``} | ${type.allowed} | ${help} |`,
  );
  return `# Configuration

<!-- Made from server/src/config/variables.ts; a test compares them. To renew:
     npm run build && node -e "import('./server/dist/config/docs.js').then((m) => process.stdout.write(m.renderConfigurationDoc()))" > docs/configuration.md -->

The server is configured by environment variables. An empty variable counts as unset. Durations are written as \`250ms\`, \`5s\`, \`2m\` or \`1h\`.
A wrong value, or a \`STAFETT_\` variable that does not exist, is named with what is allowed, all at once, and the server does not start.

| variable | default | allowed | meaning |
|---|---|---|---|
${rows.join('\n')}

\`--check-config\` prints the effective configuration with passwords masked, and exits with 0, or with 1 and what is wrong. \`--help\` prints this table.

Variables that begin with \`STAFETT_TEST_\`, \`STAFETT_DEMO_\` or \`STAFETT_BENCH_\` belong to this project's tools and are ignored by the server, as are those that
Kubernetes sets for a service called \`stafett\` (\`STAFETT_SERVICE_HOST\`, \`STAFETT_PORT=tcp://…\` and so on).
`;
}

function plain(markdown: string): string {
  return markdown.replaceAll('`', '');
}

function wrap(text: string, indent: number, width: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width - indent) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].map((each) => ' '.repeat(indent) + each).join('\n');
}
