"""Values and pure functions: findings, the verdict, plans, alerts and the time window."""
