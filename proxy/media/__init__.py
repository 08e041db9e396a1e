"""Pictures, sound and vectors as bytes: what routes and adapters share to check, convert and encode media.

It owns the only imports of Pillow (`images`, `canvas`) and PyAV (`audio`) and loads neither until one of those is
imported. It knows no HTTP, no upstream and no model; every refusal is an error of `proxy.errors` naming the field.
"""
