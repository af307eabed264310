// Asks a running OpenDify through the official SDK and prints what came as one line of JSON.
// Usage: node ask.mjs PACKAGE BASE_URL API_KEY

const [, , name, baseURL, apiKey] = process.argv;
const { default: OpenAI, toFile } = await import(name);
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

async function keepFile() {
  const file = await toFile(Buffer.from("hello from node"), "notes 名.txt");
  const kept = await client.files.create({ file, purpose: "user_data" });
  const content = await (await client.files.content(kept.id)).text();
  const listed = [];
  for await (const each of client.files.list({ limit: 1 })) listed.push(each.id);
  const deleted = await client.files.delete(kept.id);
  return { filename: kept.filename, content, listed: listed.includes(kept.id), deleted: deleted.deleted };
}

// Four bytes of MP3, and what a recorder in a browser calls its files.
async function transcribe(fields = {}) {
  const file = new File([new Uint8Array([0xff, 0xfb, 0x90, 0x00])], "recording.webm", { type: "audio/webm;codecs=opus" });
  return client.audio.transcriptions.create({ model: "demo-chat", file, ...fields });
}

async function transcribeStreamed() {
  const events = [];
  for await (const event of await transcribe({ stream: true })) events.push(event);
  return events.map((event) => [event.type, event.delta ?? event.text]);
}

async function speak(fields = {}) {
  const answer = await client.audio.speech.create({ model: "demo-chat", input: "Hi", voice: "alloy", ...fields });
  return [answer.headers.get("content-type"), (await answer.arrayBuffer()).byteLength];
}

const asked = (input, previous_response_id) => ({ model: "demo-chat", input, previous_response_id });

async function respond() {
  const first = await client.responses.create(asked("Hello there"));
  const again = await client.responses.stream(asked("Again", first.id)).finalResponse();
  const kept = await client.responses.retrieve(again.id);
  await client.responses.delete(again.id);
  return [first.output_text, again.output_text, kept.output_text];
}

// Version 6 hands out `error` and `response.failed`, version 7 raises the first.
async function endOfResponse(input) {
  let last;
  try {
    for await (const event of await client.responses.create({ ...asked(input), stream: true })) last = event.type;
  } catch (error) {
    last = "error";
  }
  return last;
}

const odd = "team/support bot";
const outcome = {
  listed: (await client.models.list()).data.map((model) => model.id).includes(odd),
  retrieved: (await client.models.retrieve(odd)).id,
  whole: await askWhole("Hello there"),
  streamed: await askStreamed("Hello there"),
  helper: await askHelper("Hello there"),
  file: await keepFile(),
  noFile: await failure(client.files.retrieve("file-nobody-has-this")),
  transcribed: (await transcribe()).text,
  transcribedAsText: await transcribe({ response_format: "text" }),
  transcribedStreamed: await transcribeStreamed(),
  spoken: await speak(),
  notSpoken: await failure(speak({ response_format: "pcm" })),
  responses: await respond(),
  brokenResponse: await endOfResponse("DROP:4 please"),
  refusedResponse: await failure(client.responses.create(asked("FAIL500 please"))),
  unknown: await failure(askWhole("Hello there", "gpt-4o")),
  refused: await failure(askWhole("FAIL500 please")),
  broken: await failure(askStreamed("ERRMID please")),
  brokenHelper: await failure(askHelper("DROP:4 please")),
};
console.log(JSON.stringify(outcome));
