// The official Node SDK's vectors, pictures, voice and ears against the gateway at argv[2]; a picture is at argv[3], a
// recording at argv[4]. Prints one JSON object of what it saw, for the test to judge.
import fs from "node:fs";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "caller-key", maxRetries: 0, timeout: 20_000 });
const [picture, recording] = process.argv.slice(3);
const seen = {};

const packed = await client.embeddings.create({ model: "vectors", input: ["a ferry", "an oar"] });
const plain = await client.embeddings.create({ model: "vectors", input: ["a ferry", "an oar"], encoding_format: "float" });
seen.embeddings = {
  count: packed.data.length,
  length: packed.data[0].embedding.length,
  apart: Math.max(...packed.data.flatMap((row, i) => row.embedding.map((x, j) => Math.abs(x - plain.data[i].embedding[j])))),
  differ: Math.abs(plain.data[0].embedding[0] - plain.data[1].embedding[0]),
  tokens: packed.usage.prompt_tokens,
};

const drawn = await client.images.generate({ model: "brush", prompt: "a ferry", n: 2, size: "1024x1024" });
seen.generate = drawn.data.map((row) => row.b64_json);

const edited = await client.images.edit({
  model: "edits",
  image: [await toFile(fs.createReadStream(picture), "uno.png", { type: "image/png" }), fs.createReadStream(picture)],
  prompt: "blue",
});
seen.edit = edited.data.map((row) => row.b64_json);

const speech = await client.audio.speech.create({ model: "voice", voice: "nova", input: "Good day to you.", response_format: "flac" });
seen.speech = { type: speech.headers.get("content-type"), data: Buffer.from(await speech.arrayBuffer()).toString("base64") };

const heard = await client.audio.transcriptions.create({ model: "ears", file: fs.createReadStream(recording), language: "it" });
seen.heard = { text: heard.text, usage: heard.usage.type };
const told = await client.audio.transcriptions.create({
  model: "old-ears",
  file: fs.createReadStream(recording),
  response_format: "verbose_json",
  timestamp_granularities: ["word"],
});
seen.words = told.words.map((word) => word.word);
seen.srt = await client.audio.transcriptions.create({
  model: "old-ears",
  file: fs.createReadStream(recording),
  response_format: "srt",
});
seen.streamed = [];
const stream = await client.audio.transcriptions.create({ model: "ears", file: fs.createReadStream(recording), stream: true });
for await (const event of stream) seen.streamed.push(event.type);

try {
  await client.audio.transcriptions.create({ model: "ears", file: await toFile(Buffer.from("no sound"), "a.wav") });
} catch (error) {
  seen.refused = { name: error.constructor.name, status: error.status, param: error.param };
}

process.stdout.write(JSON.stringify(seen));
