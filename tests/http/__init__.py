"""The protocol, item by item: what a client of the registry can ask, and what it gets. See docs/conformance.md.

Most tests run twice: ``asgi`` calls the application in this process, ``wire`` a server of two workers through
a socket (``pytest tests/http -k wire``).
"""
