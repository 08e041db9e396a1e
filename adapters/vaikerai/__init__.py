"""Kind `vaikerai`: predictions on VaikerAI, and with another preset on Replicate.

adapter      one configured upstream: which part serves what, its event streams, the reports that it sends
api          exchanges with the API: objects, lists page by page, what a model takes, uploads
reference    how a target names its model
schema       what a model takes, read out of its OpenAPI document
predictions  from creation to end: one create, following, cancelling, waking
answers      what the API says → looks at a prediction, texts, UpstreamErrors
inputs       a chat → the inputs that a model's schema declares
texts        the text of a prediction, by its event stream or by polling
orders       an order for pictures → inputs
pictures     pictures drawn, edited, enlarged, fetched
sounds       speech
vectors      embeddings
attachments  files that go in
hooks        which reports are genuine
shelves      the lists that operators look into
"""
