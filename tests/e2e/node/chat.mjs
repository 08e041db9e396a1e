// The official Node SDK against the gateway at argv[2]; prints one JSON object of what it saw, for the test to judge.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "caller-key", maxRetries: 0, timeout: 10_000 });
const messages = [{ role: "user", content: "hello" }];
const tools = [
  {
    type: "function",
    function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
  },
];
const seen = {};

const whole = await client.chat.completions.create({ model: "m", messages });
seen.whole = { content: whole.choices[0].message.content, finish: whole.choices[0].finish_reason, model: whole.model };
seen.requestId = whole._request_id;

let text = "";
let usage = null;
const finishes = [];
const started = performance.now();
const stream = await client.chat.completions.create({
  model: "m",
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.choices[0]?.finish_reason) finishes.push(chunk.choices[0].finish_reason);
  if (chunk.usage) usage = { total: chunk.usage.total_tokens, choices: chunk.choices.length };
}
seen.stream = { text, finishes, usage, ms: performance.now() - started };

let usages = 0; // chunks of a stream that was not asked for its usage and tells it all the same, or has no choice
let plain = "";
for await (const chunk of await client.chat.completions.create({ model: "m", messages, stream: true })) {
  plain += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.usage || chunk.choices.length === 0) usages += 1;
}
seen.plain = { text: plain, usages };

const helped = await client.chat.completions.stream({ model: "m", messages, tools, tool_choice: "required" }).finalChatCompletion();
seen.tools = { finish: helped.choices[0].finish_reason, name: helped.choices[0].message.tool_calls[0].function.name };

const two = await client.chat.completions.create({ model: "m", messages, n: 2, logprobs: true });
seen.two = { count: two.choices.length, logprobs: Boolean(two.choices[1].logprobs?.content?.length) };

seen.models = [];
for await (const model of client.models.list()) seen.models.push(model.id);

try {
  await client.chat.completions.create({ model: "nobody/has-this", messages });
} catch (error) {
  seen.missing = { name: error.constructor.name, status: error.status, code: error.code, param: error.param, id: Boolean(error.requestID) };
}

process.stdout.write(JSON.stringify(seen));
