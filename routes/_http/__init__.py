"""HTTP/1.1 in, on httptools, under uvicorn's server: a connection's requests one after the other, each a Turn."""
