"""One folder per source. A connector imports `schemas` and `core.sdk`, and nothing else of ours."""
