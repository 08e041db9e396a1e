"""Kind `vaikerai`: predictions on VaikerAI, and with another preset on Replicate.

adapter   one configured upstream: references, what a model takes, creating, following and cancelling a prediction
inputs    a chat → the inputs that a model's schema declares
answers   what the upstream says → looks at a prediction, texts, UpstreamErrors
"""
