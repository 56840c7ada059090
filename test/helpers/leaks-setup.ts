import { failFileOnLeakedProcesses } from "./leaks.ts";

failFileOnLeakedProcesses();
