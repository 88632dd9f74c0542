"""The systems that runbooks query, in modules by system: how to query them, not what an answer means."""
