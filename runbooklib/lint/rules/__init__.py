"""One module for each group of lint rules."""
