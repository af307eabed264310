// Sends files to apps through the official SDK, and prints what they answered as one line of JSON.
// Usage: node files.mjs PACKAGE BASE_URL API_KEY FOLDER

import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";

const [, , name, baseURL, apiKey, folder] = process.argv;
const { default: OpenAI } = await import(name);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

async function encoded(file) {
  return (await readFile(`${folder}/${file}`)).toString("base64");
}

async function ask(model, part) {
  const content = [{ type: "text", text: "What is this?" }, part];
  const completion = await client.chat.completions.create({ model, messages: [{ role: "user", content }] });
  return completion.choices[0].message.content;
}

async function refusal(promise) {
  try {
    return { unexpected: await promise };
  } catch (error) {
    return { status: error.status, code: error.code, param: error.param };
  }
}

const image = { type: "image_url", image_url: { url: `data:image/png;base64,${await encoded("cat.png")}` } };
const sound = { type: "input_audio", input_audio: { data: await encoded("hello.mp3"), format: "mp3" } };
const data = `data:application/pdf;base64,${await encoded("paper.pdf")}`;
const paper = { type: "file", file: { filename: "paper.pdf", file_data: data } };
const kept = await client.files.create({ file: createReadStream(`${folder}/paper.pdf`), purpose: "user_data" });

const outcome = {
  image: await ask("demo-chatflow", image),
  paper: await ask("demo-chatflow", paper),
  kept: await ask("demo-chatflow", { type: "file", file: { file_id: kept.id } }),
  sound: await ask("demo-chatflow", sound),
  deaf: await refusal(ask("demo-workflow", sound)),
  nobody: await refusal(ask("demo-chatflow", { type: "file", file: { file_id: "file-nobody-has-this" } })),
};
console.log(JSON.stringify(outcome));
