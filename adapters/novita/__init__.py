"""Kind `novita`: language models over its OpenAI-like endpoint, pictures and speech over its own.

adapter    one configured upstream, and which module serves what
llm        chats: the body they take
reasons    what its errors and its tasks' states mean
tasks      exchanges, and tasks submitted and read by the one engine
orders     a wish for pictures → the bodies of its routes
pictures   drawn, enlarged, edited, cleaned up
sounds     speech
"""
