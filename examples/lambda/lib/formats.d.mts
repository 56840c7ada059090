export interface Read {
  readonly name: string;
  readonly sequence: string;
  readonly quality: string;
}
export interface Genome {
  readonly name: string;
  readonly description: string;
  readonly sequence: string;
}
export function readFastq(path: string): AsyncGenerator<readonly Read[], void, undefined>;
export function readGenome(path: string): Promise<Genome>;
