"""Kind `aime`: jobs on an AIME API server, submitted and then polled.

adapter   one configured server: key or login, what an endpoint takes, submitting and following a job
inputs    a chat → the parameters that an endpoint declares
answers   what the server says → looks at a job, results and UpstreamErrors; its workers' secrets stay there
media     pictures and speech → the same, and the files out of results
"""
