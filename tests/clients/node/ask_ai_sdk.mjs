// Asks a running OpenDify through the AI SDK and LangChain, and prints what came as one line of JSON.
// Usage: node ask_ai_sdk.mjs BASE_URL API_KEY

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, streamText } from "ai";

const [, , baseURL, apiKey] = process.argv;
const opendify = createOpenAICompatible({ name: "opendify", baseURL, apiKey, includeUsage: true });
const model = opendify("demo-chat");

async function continued(first) {
  const messages = [
    { role: "user", content: "Hello" },
    { role: "assistant", content: first },
    { role: "user", content: "Again" },
  ];
  let text = "";
  const stream = streamText({ model, messages });
  for await (const part of stream.textStream) text += part;
  return { text, tokens: (await stream.usage).totalTokens };
}

// It refers to what was answered before by its id.
async function throughResponses() {
  const model = createOpenAI({ baseURL, apiKey })("demo-chat");
  const asked = { role: "user", content: "Hello" };
  const first = await generateText({ model, messages: [asked] });
  const again = { role: "user", content: "Again" };
  const { text } = await generateText({ model, messages: [asked, ...first.response.messages, again] });
  return [first.text, text];
}

async function failure(promise) {
  try {
    return { unexpected: await promise };
  } catch (error) {
    return { status: error.statusCode ?? null, message: error.message };
  }
}

const whole = (await generateText({ model, prompt: "Hello" })).text;
const providerOptions = { opendify: { inputs: { city: "Bonn" } } };
const langchain = new ChatOpenAI({ model: "demo-chat", apiKey, configuration: { baseURL } });
const seen = {
  whole,
  continued: await continued(whole),
  thoughts: (await generateText({ model, prompt: "THINK why", providerOptions })).reasoningText,
  chat: (await generateText({ model: createOpenAI({ baseURL, apiKey }).chat("demo-chat"), prompt: "Hello" })).text,
  failure: await failure(generateText({ model, prompt: "FAIL500", maxRetries: 0 })),
  responses: await throughResponses(),
  langchain: (await langchain.invoke("Hello")).content,
};
console.log(JSON.stringify(seen));
