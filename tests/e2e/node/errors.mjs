// As many failing calls as argv[4] says, one after the other; prints what the SDK raised for each. argv[5]: milliseconds
// after which the SDK itself gives up.
import OpenAI from "openai";

const [baseURL, form, count, timeout] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "k", maxRetries: 0, timeout: Number(timeout ?? 10_000) });
const body = { model: "m", messages: [{ role: "user", content: "hello" }], stream: form === "stream" };
const seen = [];
for (let i = 0; i < Number(count); i += 1) {
  try {
    const answer = await client.chat.completions.create(body);
    if (body.stream) for await (const chunk of answer) void chunk;
    seen.push({ name: "none" });
  } catch (error) {
    seen.push({
      name: error.constructor.name,
      status: error.status ?? null,
      code: error.code ?? null,
      type: error.type ?? null,
      id: error.requestID?.startsWith("req_") ?? false,
    });
  }
}
process.stdout.write(JSON.stringify(seen));
