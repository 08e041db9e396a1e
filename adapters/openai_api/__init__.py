"""Kind `openai`: every upstream that speaks OpenAI's dialect, whatever its accent. Bytes pass through where they are right.

adapter     one configured upstream: the body out, the answer in
chat_stream normalises a stream of chat chunks (sans-IO): a fast path for regular streams, an event at a time otherwise
choices     what a choice may look like: roles, tool calls, reasoning, finish reasons
whole       normalises an answer that is not streamed, and turns one into a stream
failures    six shapes of error body → UpstreamError
"""
