"""The benchmark: entrepot beside Debian's docker-registry and nginx on one machine; see docs/benchmarks.md."""
