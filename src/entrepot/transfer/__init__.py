"""Copies a manifest with everything it names from one repository to another: pull, push, copy, save, load, mirror."""
