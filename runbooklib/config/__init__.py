"""Read what a site wrote: its environment, parameters, rules and runbooks."""
