"""Keep what was seen: bundles, ledgers, signatures, and the executed notebook."""
