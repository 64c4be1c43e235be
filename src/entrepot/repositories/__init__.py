"""Repositories, wherever they live. ``base`` is the contract, its siblings fulfil it."""
