/** For `npm run coverage`: vitest ends its workers by a signal, so that each test file has its counts written here. */
import { takeCoverage } from "node:v8";
import { afterAll } from "vitest";

afterAll(takeCoverage);
