"""A hub of many sites: what separates them at one nats-server, and what is made there for them."""
