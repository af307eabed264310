// Asks a running OpenDify through the official SDK and prints what came as one line of JSON.
// Usage: node ask.mjs PACKAGE BASE_URL API_KEY

const [, , name, baseURL, apiKey] = process.argv;
const { default: OpenAI } = await import(name);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

function body(question, model = "demo-chat") {
  return { model, messages: [{ role: "user", content: question }] };
}

async function askWhole(question, model) {
  const completion = await client.chat.completions.create(body(question, model));
  return completion.choices[0].message.content;
}

async function askStreamed(question) {
  let text = "";
  for await (const chunk of await client.chat.completions.create({ ...body(question), stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return text;
}

async function askHelper(question) {
  const completion = await client.chat.completions.stream(body(question)).finalChatCompletion();
  return completion.choices[0].message.content;
}

async function failure(promise) {
  try {
    return { unexpected: await promise };
  } catch (error) {
    const { name: kind } = error.constructor;
    return { kind, status: error.status ?? null, code: error.code, param: error.param, message: error.message };
  }
}

const odd = "team/support bot";
const outcome = {
  listed: (await client.models.list()).data.map((model) => model.id).includes(odd),
  retrieved: (await client.models.retrieve(odd)).id,
  whole: await askWhole("Hello there"),
  streamed: await askStreamed("Hello there"),
  helper: await askHelper("Hello there"),
  unknown: await failure(askWhole("Hello there", "gpt-4o")),
  refused: await failure(askWhole("FAIL500 please")),
  broken: await failure(askStreamed("ERRMID please")),
  brokenHelper: await failure(askHelper("DROP:4 please")),
};
console.log(JSON.stringify(outcome));
