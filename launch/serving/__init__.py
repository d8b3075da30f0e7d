"""The server behind `vlasteer serve`: openpi's websocket protocol, with steering values per request.

requests  a client's message as an observation, coefficients and noise
batching  requests that come together are answered together
server    connections: who may, how much, and what is answered when something is wrong

The messages themselves are `vlasteer.policies.remote`'s, whose client is the other end.
"""
