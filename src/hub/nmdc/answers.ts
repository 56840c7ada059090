/** What the NMDC routes answer, for the OpenAPI document. Answers are not checked against it: documents may hold more. */
import { z } from "zod";

const text = z.string();
const nullableText = text.nullable();
const time = text.describe("UTC; without a zone in every read, with `Z` in the reply that creates");
const anything = z.record(z.string(), z.unknown());

const workflow = z.object({
  id: text,
  name: nullableText.optional(),
  description: nullableText.optional(),
  capability_ids: z.array(text).nullable().optional(),
  created_at: time.nullable().optional(),
});

const jobAnswer = z
  .object({
    id: text,
    workflow,
    name: nullableText.optional(),
    description: nullableText.optional(),
    created_at: time.optional(),
    config: anything,
    claims: z
      .array(
        z.object({
          op_id: text,
          site_id: text,
          done: z.boolean().nullable().optional(),
          cancelled: z.boolean().nullable().optional(),
        }),
      )
      .optional()
      .describe("absent on jobs that a trigger made and nobody claimed"),
  })
  .describe("fields that are not set are absent; null in the replies to a release");

const operationAnswer = z.object({
  id: text,
  done: z.boolean(),
  expire_time: time,
  result: z.unknown().nullable(),
  metadata: anything.nullable(),
});

const siteAnswer = z.object({ id: text, capability_ids: z.array(text) });

const userAnswer = z.object({
  username: text,
  email: nullableText.optional(),
  full_name: nullableText.optional(),
  site_admin: z.array(text).optional(),
  disabled: z.boolean().optional(),
});

const credentialsAnswer = z.object({ client_id: text, client_secret: text });

const tokenAnswer = z.object({
  access_token: text,
  token_type: z.literal("bearer"),
  expires: z.object({ days: z.int(), hours: z.int(), minutes: z.int() }).describe("a duration: add it to now"),
});

const allowanceAnswer = z.object({ username: text, action: text });

const objectAnswer = z.object({
  id: text,
  self_uri: text,
  name: nullableText.optional(),
  description: nullableText.optional(),
  mime_type: nullableText.optional(),
  aliases: z.array(text).nullable().optional(),
  size: z.int(),
  version: nullableText.optional(),
  created_time: time,
  updated_time: time.nullable().optional(),
  checksums: z.array(z.object({ type: text, checksum: text })),
  access_methods: z.array(anything).nullable().optional(),
  contents: z.array(anything).nullable().optional(),
  types: z.array(text).optional(),
});

const registryAnswer = z.object({ id: text, name: text, description: nullableText, created_at: time });
const workflowAnswer = registryAnswer.extend({ capability_ids: z.array(text) });
const triggerAnswer = z.object({ id: text, object_type_id: text, workflow_id: text, created_at: time });

/** Those that the document has once, by name. */
export const answerParts: Readonly<Record<string, z.ZodType>> = {
  NmdcJob: jobAnswer,
  NmdcOperation: operationAnswer,
  NmdcSite: siteAnswer,
  NmdcUser: userAnswer,
  NmdcObject: objectAnswer,
  NmdcRegistryEntry: registryAnswer,
  NmdcWorkflow: workflowAnswer,
  NmdcTrigger: triggerAnswer,
};

/** A page; the last one has no token, or null. With a projection the elements have less. */
function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ resources: z.array(item), next_page_token: nullableText.optional() });
}

const pid = z.object({
  id: text,
  name: text,
  typecode: z.object({ id: text }),
  shoulder: z.object({ id: text }),
  status: text,
  bindings: anything.nullable(),
});
const status = z.object({ status: text, checks: z.record(z.string(), z.boolean()).optional() });

interface Answer {
  readonly status: number;
  readonly schema: z.ZodType;
}

function answer(schema: z.ZodType, code = 200): Answer {
  return { status: code, schema };
}

/** By method and route. What is not listed answers without a JSON body, or is refused always. */
export const answers: Readonly<Record<string, Answer>> = {
  "POST /token": answer(tokenAnswer),
  "GET /users/me": answer(userAnswer),
  "POST /users": answer(userAnswer, 201),
  "PUT /users": answer(userAnswer),
  "GET /admin/users": answer(z.array(userAnswer)),
  "GET /sites": answer(pageOf(siteAnswer)),
  "POST /sites": answer(siteAnswer.extend({ clients: z.array(anything) }), 201),
  "GET /sites/{site_id}": answer(siteAnswer),
  "POST /sites/{site_id}:generateCredentials": answer(credentialsAnswer),
  "GET /admin/allowances/actions": answer(z.array(text)),
  "GET /admin/allowances": answer(z.object({ resources: z.array(allowanceAnswer) })),
  "POST /admin/allowances": answer(allowanceAnswer, 201),
  "GET /jobs": answer(pageOf(jobAnswer)),
  "POST /jobs": answer(jobAnswer, 201),
  "GET /jobs/{job_id}": answer(jobAnswer),
  "POST /jobs/{job_id}:claim": answer(operationAnswer),
  "POST /jobs/{job_id}:release": answer(jobAnswer),
  "POST /jobs/release": answer(z.array(jobAnswer)),
  "GET /operations": answer(pageOf(operationAnswer)),
  "GET /operations/{op_id}": answer(operationAnswer),
  "PATCH /operations/{op_id}": answer(operationAnswer),
  "GET /objects": answer(pageOf(objectAnswer)),
  "POST /objects": answer(objectAnswer, 201),
  "GET /objects/{object_id}": answer(objectAnswer),
  "PATCH /objects/{object_id}": answer(objectAnswer),
  "GET /objects/{object_id}/types": answer(z.array(registryAnswer)),
  "PUT /objects/{object_id}/types": answer(objectAnswer),
  "GET /object_types": answer(z.array(registryAnswer)),
  "GET /object_types/{id}": answer(registryAnswer),
  "GET /object_types/{id}/workflows": answer(z.array(workflowAnswer)),
  "GET /capabilities": answer(z.array(registryAnswer)),
  "GET /capabilities/{id}": answer(registryAnswer),
  "GET /workflows": answer(z.array(workflowAnswer)),
  "GET /workflows/{id}": answer(workflowAnswer),
  "GET /workflows/{id}/capabilities": answer(z.array(registryAnswer)),
  "GET /workflows/{id}/object_types": answer(z.array(registryAnswer)),
  "GET /triggers": answer(z.array(triggerAnswer)),
  "GET /triggers/{id}": answer(triggerAnswer),
  "POST /pids/mint": answer(z.array(text)),
  "GET /pids/resolve/{id}": answer(pid),
  "POST /pids/bind": answer(pid),
  "GET /health": answer(z.object({ web_server: z.boolean(), database: z.boolean() })),
  "GET /version": answer(z.record(z.string(), z.unknown())),
  "GET /livez": answer(status),
  "GET /readyz": answer(status),
  "POST /workflows/workflow_executions": answer(z.object({ message: text })),
};
