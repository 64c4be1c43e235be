"""What tests of registries need: a real server on a free port, contract suites, images, faults.

Import what you need from its module; this one imports nothing, because pytest loads the plugin in here
into every run of everybody who has entrepot installed.
"""
