"""The books: one row for each call that reached an upstream; and whatever else must survive a restart, in the same file."""
