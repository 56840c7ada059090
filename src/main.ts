/** Process entry. A handler for USR1 must be there before anything else: without one this signal opens Node's debugger. */
process.on("SIGUSR1", () => {});

// For units: `siteagent runner --socket … --state …` is the runner itself, without the command line's code around it.
if (process.argv[2] === "runner") {
  process.argv.splice(2, 1);
  await import("./runner/main.ts");
} else {
  const { main } = await import("./cli/main.ts");
  process.exit(await main(process.argv.slice(2), process));
}
