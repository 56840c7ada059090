/** As much of a thing as a test is about; whoever asks it for more is told so, and the test fails. */
export function stubOf<T extends object>(part: Partial<T>): T {
  return new Proxy(part, {
    get(target, name) {
      if (name in target) return target[name as keyof T];
      throw new Error(`the test does not say what '${String(name)}' is`);
    },
  }) as T;
}
