#!/bin/sh
# Runs the four steps of readqc in order. Nothing appears in the output directory unless all of them succeed, and
# report.json comes last.
set -eu
LC_ALL=C
export LC_ALL

usage() {
  cat <<'TEXT'
Usage: readqc.sh --reads FILE [--reads FILE]... --genome FILE --sample NAME [options]

Quality, k-mers, places and coverage of FASTQ reads on a small genome.

  --reads FILE      FASTQ, plain or gzipped; may be given several times
  --genome FILE     FASTA with one sequence, plain or gzipped
  --sample NAME     name in the report: letters, digits, '_', '.' and '-'
  --out DIR         where the results go; made if missing (default: .)
  --kmer N          bases of a k-mer, 3 to 63 (default: 21)
  --min-quality N   leave out reads with a mean Phred score below N, 0 to 60 (default: 15)
  --min-length N    leave out reads shorter than N bases (default: 30)
  --window N        positions in a row of coverage.tsv (default: 500)
  --node PATH       the Node to use, 18 or newer (default: $READQC_NODE, then 'node' of PATH)
  --help            this text

Results: report.json, summary.txt, quality.json, filtered.fastq.gz, kmers.json, kmers.tsv, spectrum.tsv,
placement.json, placements.tsv, coverage.tsv.
Exit codes: 0 done, 64 wrong options, 65 bad data, 66 no such input, 69 no Node, 74 output cannot be written.
TEXT
}

fail() {
  code=$1
  shift
  printf 'readqc: %s\n' "$*" >&2
  exit "$code"
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
node=${READQC_NODE:-node}
genome='' sample='' out=. kmer=21 min_quality=15 min_length=30 window=500

# Read files are moved to the end of the argument list, as a shell without arrays must: at the end of the loop the list
# holds `--reads FILE` pairs and nothing else.
left=$#
reads=0
while [ "$left" -gt 0 ]; do
  option=$1
  shift
  left=$((left - 1))
  case $option in
    --help) usage; exit 0 ;;
    --reads | --genome | --sample | --out | --kmer | --min-quality | --min-length | --window | --node) ;;
    *) fail 64 "unknown option '$option' (--help shows the options)" ;;
  esac
  [ "$left" -gt 0 ] || fail 64 "$option needs a value (--help shows the options)"
  value=$1
  shift
  left=$((left - 1))
  case $option in
    --reads) set -- "$@" "--reads=$value"; reads=$((reads + 1)) ;;
    --genome) genome=$value ;;
    --sample) sample=$value ;;
    --out) out=$value ;;
    --kmer) kmer=$value ;;
    --min-quality) min_quality=$value ;;
    --min-length) min_length=$value ;;
    --window) window=$value ;;
    --node) node=$value ;;
  esac
done

[ "$reads" -gt 0 ] || fail 64 "--reads is missing (--help shows the options)"
[ -n "$genome" ] || fail 64 "--genome is missing (--help shows the options)"
[ -n "$sample" ] || fail 64 "--sample is missing (--help shows the options)"
case $sample in
  [.-]* | *[!A-Za-z0-9_.-]*) fail 64 "--sample: '$sample' has other characters than letters, digits, '_', '.' and '-', or begins with '.' or '-'" ;;
esac
command -v "$node" >/dev/null 2>&1 || fail 69 "cannot run '$node': no such program (--node PATH names another)"
mkdir -p -- "$out" || fail 74 "cannot make the directory '$out'"

work=$out/.readqc.$$
trap 'rm -rf -- "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -- "$work" || fail 74 "cannot make the directory '$work'"

step() {
  printf 'readqc: step %s of 4: %s\n' "$1" "$2"
  script=$here/$2.mjs
  shift 2
  "$node" "$script" "$@"
}

step 1 quality "$@" --out="$work" --min-quality="$min_quality" --min-length="$min_length"
step 2 kmers --reads="$work/filtered.fastq.gz" --genome="$genome" --out="$work" --kmer="$kmer"
step 3 place --reads="$work/filtered.fastq.gz" --genome="$genome" --out="$work" --window="$window"
step 4 report --sample="$sample" --in="$work" --out="$work"

for name in filtered.fastq.gz quality.json kmers.json kmers.tsv spectrum.tsv placement.json placements.tsv coverage.tsv \
  summary.txt report.json; do
  mv -f -- "$work/$name" "$out/$name" || fail 74 "cannot write '$out/$name'"
done
printf 'readqc: done: %s\n' "$out/report.json"
