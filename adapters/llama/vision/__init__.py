"""Pictures in chats of the local engine: fetched and checked in the gateway, seen through a projector in the child."""
