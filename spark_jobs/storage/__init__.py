"""The session and the tables: reading, appending once, settling, compacting, expiring."""
