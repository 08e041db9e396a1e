"""Wire types as msgspec Structs: what callers send and what they get. Each module is one resource; they import no stage."""
