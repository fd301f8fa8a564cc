/** What a promise is rejected with, with its errno name if it has one. Fails when it resolves. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  let value: unknown;
  try {
    value = await promise;
  } catch (err) {
    return err as Error & { code?: string };
  }
  throw new Error(`expected a rejection, got ${JSON.stringify(value)}`);
}
