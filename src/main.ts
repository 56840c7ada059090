/** Process entry. A handler for USR1 must be there before anything else: without one this signal opens Node's debugger. */
process.on("SIGUSR1", () => {});

const { main } = await import("./cli/main.ts");
process.exit(await main(process.argv.slice(2), process));
