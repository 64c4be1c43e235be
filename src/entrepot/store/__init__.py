"""Where the bytes of blobs are kept. ``base`` is the contract, its siblings fulfil it."""
