"""Our own OpenAPI document, made from the types that decode requests and from one table of operations; imported at the first
request for it, never at the start.
"""
