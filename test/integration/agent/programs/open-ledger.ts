/** Opens the ledger of a state directory and says how many jobs it holds and how much memory that took at most. */
import { openLedger } from "../ledger.ts";

await using ledger = await openLedger(process.argv[2] ?? "");
const memoryMb = process.resourceUsage().maxRSS / 1024;
process.stdout.write(JSON.stringify({ jobs: ledger.book.jobs.size, memoryMb }));
