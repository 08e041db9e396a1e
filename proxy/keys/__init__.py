"""Keys: how they look, who they belong to, how they come and go. No key is ever kept, only its HMAC."""
