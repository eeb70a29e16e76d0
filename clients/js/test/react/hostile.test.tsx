// @vitest-environment jsdom
import { act, cleanup, render } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import { ProcessingWidget, RealtimeProvider } from "../../src/react/index.js";
import { FakeClient } from "./fake-client.js";

const CHANNEL = "user-42";

const SCRIPTS = [
  '<img src=x onerror="window.hacked = true">',
  "<script>window.hacked = true</script>",
  '"><svg onload="window.hacked = true">',
  "javascript:window.hacked = true",
  '{{constructor.constructor("window.hacked = true")()}}',
];

afterEach(cleanup);

function show(): FakeClient {
  const client = new FakeClient();
  render(
    <RealtimeProvider client={client}>
      <ProcessingWidget userId={42} debug={false} badge={false} logs onResult={() => {}} />
    </RealtimeProvider>,
  );
  return client;
}

test.each(SCRIPTS)("text of an event is shown as text: %s", (script) => {
  const client = show();
  const usual = document.body.querySelectorAll("script, img, [onerror], [onload]").length;
  const data = { job: script, title: script, stage: script, message: script, error: script };
  for (const event of ["job.progress", "job.retrying", "job.failed"]) {
    act(() => void client.emit(CHANNEL, event, data, { key: `job-${script}` }));
  }
  expect(document.body.textContent).toContain(script);
  expect(document.body.querySelectorAll("script, img, [onerror], [onload]").length).toBe(usual);
  expect(document.body.querySelector('[href^="javascript"]')).toBeNull();
  expect("hacked" in window).toBe(false);
});

test.each(SCRIPTS)("question, choices, user and parent are shown as text: %s", (script) => {
  const client = show();
  const usual = document.body.querySelectorAll("script, img, [onerror], [onload]").length;
  const question = { id: script, text: script, choices: [script, script, {}, null, 1] };
  const data = { job: script, title: script, question, parent: script, by: script, result: script, cancellable: true };
  const key = `job-${script}`;
  act(() => void client.emit(CHANNEL, "job.asking", data, { key }));
  expect(document.body.querySelectorAll(".rb-answers button").length).toBe(4);
  act(() => void client.emit(CHANNEL, "job.lost", {}, { key, fold: "lapse" }));
  act(() => void client.emit(CHANNEL, "job.cancelling", { job: script, by: script, reason: script }, { key, fold: "note" }));
  act(() => void client.emit(CHANNEL, "job.cancelled", data, { key }));
  expect(document.body.textContent).toContain(`by ${script}`);
  expect(document.body.querySelectorAll("script, img, [onerror], [onload]").length).toBe(usual);
  expect("hacked" in window).toBe(false);
});

test.each([null, 1, "text", [], { id: {} }, { id: "q", choices: {} }, { id: "q", text: {}, choices: [[]] }])(
  "question %j breaks nothing",
  (question) => {
    const client = show();
    act(() => void client.emit(CHANNEL, "job.asking", { job: "a1", question }, { key: "job-a1" }));
    act(() => void client.emit(CHANNEL, "job.answered", question, { key: "job-a1", fold: "note" }));
    expect(document.body.querySelectorAll(".rb-job").length).toBe(1);
  },
);

test.each(["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"])(
  "name %s changes no prototype",
  (name) => {
    const client = show();
    const data: unknown = JSON.parse(
      `{"job": "${name}", "title": "${name}", "${name}": {"polluted": true}, "percent": 5}`,
    );
    act(() => void client.emit(CHANNEL, "job.progress", data as object, { key: name }));
    expect(document.body.textContent).toContain(name);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(Object.keys(Object.prototype)).toEqual([]);
  },
);
