"""PromQL: built from names and values, and read as an expression tree."""
