"""The lab's error: a sentence that ends with what to do."""


class LabError(Exception):
    """A part of the lab is missing, did not start or did not become green."""
