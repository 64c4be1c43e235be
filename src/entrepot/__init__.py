"""entrepot: a container registry and its client in one package."""

__version__ = "0.1.0"
