"""Kind `bytez`: serverless models over its OpenAI-like endpoint (v2).

chat    the few parameters it takes; stop sequences, which it does not, are enforced here
"""
