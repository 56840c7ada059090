import type { z } from "zod";
import {
  type objectTypeEditSchema,
  objectTypeListSchema,
  objectTypeViewSchema,
  type tokenCreateSchema,
  tokenCreatedSchema,
  tokenListSchema,
  type triggerEditSchema,
  triggerListSchema,
  triggerViewSchema,
  type userEditSchema,
  userListSchema,
  userViewSchema,
  type workflowEditSchema,
  workflowListSchema,
  workflowViewSchema,
} from "../wire/user-api.ts";
import { type HubHttp, part } from "./http.ts";
import { api } from "./paths.ts";

export type WorkflowView = z.output<typeof workflowViewSchema>;
export type ObjectTypeView = z.output<typeof objectTypeViewSchema>;
export type TriggerView = z.output<typeof triggerViewSchema>;
export type TokenView = z.output<typeof tokenListSchema>["tokens"][number];
export type TokenCreated = z.output<typeof tokenCreatedSchema>;
export type UserView = z.output<typeof userViewSchema>;

/** What administrators edit; reading needs any role. */
export class Registries {
  readonly #http: HubHttp;

  constructor(http: HubHttp) {
    this.#http = http;
  }

  async workflows(): Promise<readonly WorkflowView[]> {
    return (await this.#http.json(`${api}/workflows`, workflowListSchema)).workflows;
  }

  async putWorkflow(id: string, edit: z.input<typeof workflowEditSchema>): Promise<WorkflowView> {
    return this.#http.json(`${api}/workflows/${part(id)}`, workflowViewSchema, { method: "PUT", json: edit });
  }

  async objectTypes(): Promise<readonly ObjectTypeView[]> {
    return (await this.#http.json(`${api}/object_types`, objectTypeListSchema)).object_types;
  }

  async putObjectType(id: string, edit: z.input<typeof objectTypeEditSchema> = {}): Promise<ObjectTypeView> {
    return this.#http.json(`${api}/object_types/${part(id)}`, objectTypeViewSchema, {
      method: "PUT",
      json: edit,
    });
  }

  async triggers(): Promise<readonly TriggerView[]> {
    return (await this.#http.json(`${api}/triggers`, triggerListSchema)).triggers;
  }

  async putTrigger(id: string, edit: z.input<typeof triggerEditSchema>): Promise<TriggerView> {
    return this.#http.json(`${api}/triggers/${part(id)}`, triggerViewSchema, { method: "PUT", json: edit });
  }

  /** Removes a registry entry; entries of the hub's file stay. */
  async remove(kind: "workflows" | "object_types" | "triggers", id: string): Promise<void> {
    await this.#http.none(`${api}/${kind}/${part(id)}`, { method: "DELETE" });
  }

  async tokens(): Promise<readonly TokenView[]> {
    return (await this.#http.json(`${api}/tokens`, tokenListSchema)).tokens;
  }

  /** `secret` of the result is shown this once. */
  async createToken(token: z.input<typeof tokenCreateSchema>): Promise<TokenCreated> {
    return this.#http.json(`${api}/tokens`, tokenCreatedSchema, { method: "POST", json: token });
  }

  async revokeToken(id: string): Promise<void> {
    await this.#http.none(`${api}/tokens/${part(id)}`, { method: "DELETE" });
  }

  async users(): Promise<readonly UserView[]> {
    return (await this.#http.json(`${api}/users`, userListSchema)).users;
  }

  /** Makes or changes a user. */
  async putUser(name: string, edit: z.input<typeof userEditSchema>): Promise<UserView> {
    return this.#http.json(`${api}/users/${part(name)}`, userViewSchema, { method: "PUT", json: edit });
  }
}
