// Asks through Vercel's AI SDK, and prints the thinking and the sources that it shows as one line of JSON.
// Usage: node aisdk.mjs BASE_URL API_KEY MODEL QUESTION

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";

const [, , baseURL, apiKey, model, prompt] = process.argv;
// The first shows thinking, the second sources; neither shows both.
const providers = {
  compatible: createOpenAICompatible({ name: "opendify", baseURL, apiKey })(model),
  openai: createOpenAI({ baseURL, apiKey }).chat(model),
};

function shown(text, reasoning, sources) {
  return { text, reasoning: reasoning ?? null, sources: sources.map(({ url, title }) => ({ url, title })) };
}

const outcome = {};
for (const [name, provider] of Object.entries(providers)) {
  const whole = await generateText({ model: provider, prompt, maxRetries: 0 });
  const streamed = streamText({ model: provider, prompt, maxRetries: 0 });
  outcome[name] = {
    whole: shown(whole.text, whole.reasoningText, whole.sources),
    streamed: shown(await streamed.text, await streamed.reasoningText, await streamed.sources),
  };
}
console.log(JSON.stringify(outcome));
