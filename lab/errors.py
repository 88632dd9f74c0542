"""The lab's one error: a sentence that ends with what to do."""


class LabError(Exception):
    """Something of the lab is missing, did not start or did not become green."""
