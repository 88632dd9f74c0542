"""The backend that the lab breaks: a small HelloAgents with real pools, real children and real errors."""
