import { z } from "zod";
import { isToken, type Token } from "../../common/token.ts";

/** A `ScheduledJob` as it is stored. */
export const scheduledJobSchema = z.object({
  id: z.string().min(1),
  cluster: z.string().optional(),
  origin: z.string().optional(),
  task: z.int().nonnegative().optional(),
  token: z.string().refine((text): text is Token => isToken(text)),
  submittedAt: z.string(),
});
