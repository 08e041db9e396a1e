// One streamed and one whole call that the upstream (told by the test) lets fail; prints what the SDK raised.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "k", maxRetries: 0, timeout: 10_000 });
const stream = process.argv[3] === "stream";
const seen = { text: "" };
try {
  const answer = await client.chat.completions.create({ model: "m", messages: [{ role: "user", content: "hello" }], stream });
  if (stream) for await (const chunk of answer) seen.text += chunk.choices[0]?.delta?.content ?? "";
  seen.finished = true;
} catch (error) {
  seen.error = { name: error.constructor.name, status: error.status ?? null, code: error.code ?? null, message: error.message };
}
process.stdout.write(JSON.stringify(seen));
