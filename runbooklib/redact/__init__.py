"""Remove secrets from text and data before they are recorded, used or shown."""
