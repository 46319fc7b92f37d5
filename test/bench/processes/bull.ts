/** As BullMQ's documentation asks for it: workers must not give up a command. */
export function bullConnection(url: string) {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port), maxRetriesPerRequest: null };
}
