"""What a refresh says of itself: the report card, its checks, tables and plots."""
