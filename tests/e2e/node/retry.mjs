// One call for each text of argv, with the SDK's own retries; prints what each came to.
import OpenAI from "openai";

const [baseURL, apiKey, kind, ...texts] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 2, timeout: 20_000 });
const stream = kind === "stream";
const seen = await Promise.all(
  texts.map(async (text) => {
    try {
      const answer = await client.chat.completions.create({ model: "m", messages: [{ role: "user", content: text }], stream });
      if (!stream) return answer.choices[0].message.content;
      let got = "";
      for await (const chunk of answer) got += chunk.choices[0]?.delta?.content ?? "";
      return got;
    } catch (error) {
      return `error: ${error.constructor.name}`;
    }
  }),
);
process.stdout.write(JSON.stringify(seen));
