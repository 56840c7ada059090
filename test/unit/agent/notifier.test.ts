import { expect, it } from "vitest";
import { Notifier } from "../../../src/agent/notifier.ts";
import { nextTurn } from "../../helpers/clocks.ts";

/** Waits for the news of a key (or any), and notes when they came. */
function wait(news: Notifier, heard: string[], name: string, key?: string): void {
  void news.next(undefined, key).then(() => heard.push(name));
}

it("news of one thing wake those that wait for it and for anything; news of all wake all", async () => {
  const news = new Notifier();
  const heard: string[] = [];
  wait(news, heard, "any");
  wait(news, heard, "a", "a");
  wait(news, heard, "b", "b");
  wait(news, heard, "b too", "b");
  news.notify("a");
  await nextTurn();
  expect(heard).toEqual(["any", "a"]);
  wait(news, heard, "any again");
  wait(news, heard, "a again", "a");
  news.notify();
  await nextTurn();
  expect(heard.slice(2).toSorted()).toEqual(["a again", "any again", "b", "b too"]);
  news.notify("b");
  await nextTurn();
  expect(heard).toHaveLength(6);
});

it("an abort ends a wait, and what follows is missed by nobody", async () => {
  const news = new Notifier();
  const heard: string[] = [];
  const cut = new AbortController();
  void news.next(cut.signal, "a").then(() => heard.push("cut"));
  cut.abort();
  await nextTurn();
  wait(news, heard, "a", "a");
  news.notify("a");
  await nextTurn();
  expect(heard).toEqual(["cut", "a"]);
  await news.next(cut.signal, "a");
});
