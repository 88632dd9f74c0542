"""What the answers mean, one module a concern: (context, *, limits) -> Finding.

The first line of a check's docstring is the question that it answers, as a reader sees it.
"""
