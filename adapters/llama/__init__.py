"""The local engine: llama.cpp in a supervised child process, one per loaded model.

The parent side (`client`, `supervisor`, `life`) never imports llama_cpp; the child side (`worker` and what it imports)
never imports the gateway's core. What crosses between them is in `spec` and `frames`.
"""
