"""Kind `novita`: language models over its OpenAI-like endpoint, with errors of its own.

llm     chat: the body it takes, and what its `reason` means
"""
