"""Rate limits, concurrency and budgets: buckets, their arithmetic, and three places to keep them."""
