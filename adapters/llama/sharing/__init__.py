"""One engine for several workers of a server: a host process has the models, workers have a socket to it.

`remote` is what a worker has in place of `life`; `host` is the process; `link` is the connection, and starts the host when
nobody has. What crosses between them is in `wire`.
"""
