"""Kind `venice`: Venice itself, all its routes.

adapter    one configured upstream: chats with their venice_parameters, and which module serves what
pictures   images drawn, enlarged and edited over Venice's own routes
sounds     speech, whole, sentence by sentence, or as OpenAI's events
said       what its headers say, for callers of either dialect and for us
"""
