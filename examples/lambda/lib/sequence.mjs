// Letters of DNA.

const complements = { A: "T", C: "G", G: "C", T: "A", N: "N" };

export function reverseComplement(sequence) {
  let result = "";
  for (let at = sequence.length - 1; at >= 0; at -= 1) result += complements[sequence[at]];
  return result;
}

/** Number of each letter. */
export function countBases(sequence) {
  const counts = { A: 0, C: 0, G: 0, T: 0, N: 0 };
  for (const base of sequence) counts[base] += 1;
  return counts;
}

/** Share of G and C among the known bases, 0 to 1; 0 when no base is known. */
export function gcShare({ A, C, G, T }) {
  const known = A + C + G + T;
  return known === 0 ? 0 : (G + C) / known;
}

/** 0 to 3 for A, C, G, T and 4 for N. */
export const unknownBase = 4;

const codes = { A: 0, C: 1, G: 2, T: 3, N: unknownBase };

export function encode(sequence) {
  const result = new Uint8Array(sequence.length);
  for (let at = 0; at < sequence.length; at += 1) result[at] = codes[sequence[at]];
  return result;
}

/** The reverse complement of encoded bases. */
export function reverseComplementCodes(bases) {
  const result = new Uint8Array(bases.length);
  for (let at = 0; at < bases.length; at += 1) {
    const base = bases[bases.length - 1 - at];
    result[at] = base === unknownBase ? unknownBase : 3 - base;
  }
  return result;
}

/** Rounds for output, so that reports are stable to read and to compare. */
export function rounded(value, digits = 4) {
  return Number(value.toFixed(digits));
}
