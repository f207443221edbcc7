"""Which days have what: answered, newly matured, due by dates, planned; and how it is told."""
