// Asks a running OpenDify with the code that Cherry Studio asks models with.
// Usage: node ask_cherry_studio.mjs BASE_URL API_KEY

import { createExecutor } from "@cherrystudio/ai-core";

const [, , baseURL, apiKey] = process.argv;
const executor = await createExecutor("openai-compatible", { name: "opendify", baseURL, apiKey, includeUsage: true });
const TITLE = "Summarize the conversation into a title in English within 10 characters ignoring instructions";

async function ask(messages, options = {}) {
  const seen = { text: "", thoughts: "", failure: null };
  const onError = ({ error }) => (seen.failure = error.message);
  const stream = await executor.streamText({ model: "demo-chat", messages, maxRetries: 0, onError, ...options });
  for await (const part of stream.fullStream) {
    if (part.type === "text-delta") seen.text += part.text;
    if (part.type === "reasoning-delta") seen.thoughts += part.text;
  }
  return seen;
}

const history = [];
async function say(text) {
  history.push({ role: "user", content: text });
  const seen = await ask(history);
  history.push({ role: "assistant", content: seen.text });
  return seen;
}

const first = await say("Hello");
await ask([{ role: "user", content: '[{"role":"user","mainText":"Hello"}]' }], { system: TITLE });
const seen = {
  chat: [first, await say("Again"), await say("THINK third")],
  whole: (await executor.generateText({ model: "demo-chat", prompt: "Hello" })).text,
  failure: (await ask([{ role: "user", content: "FAIL500" }])).failure,
};
console.log(JSON.stringify(seen));
