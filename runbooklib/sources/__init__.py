"""The systems that are asked, one module each: how to ask, and nothing about what the answer means."""
