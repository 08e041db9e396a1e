"""The `offline` kind's parts: speech by espeak-ng, placeholder pictures, Lanczos upscaling; no key and no download.

Each part says what it is (a placeholder says so in the picture) and knows no HTTP; the adapter that joins them to the
pipeline lives beside them. Nothing heavy is imported before its first use.
"""
