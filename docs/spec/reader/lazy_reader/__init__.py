"""A reader for lazily verified models, written from `lazy-verification.md` alone.

It is there to show that the text is enough, and to be compared with other implementations: plain
Python, made to be read, and too slow for large models.
"""
