"""Kind `bytez`: serverless models (v2), or models that are loaded first (v1).

adapter  one configured upstream of either interface, and which module serves what
api      exchanges and their errors, also those that come with status 200; running a model once
chat     v2's OpenAI-like endpoint: the few parameters it takes, stop sequences enforced here
media    pictures, speech and vectors, whichever interface makes them
life     v1: loading a model once for everybody who waits, its status, unloading
raw      v1: a chat over a raw text stream
"""
