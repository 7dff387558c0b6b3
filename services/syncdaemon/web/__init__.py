"""What is served over HTTP: it only shows, and changes nothing.

The way of a request: `listener` accepts its connection, `callers` bounds how many there are and how long each may
take, `server` hands the request to `pages`, and `access` decides whether its sender may see the page. `token` reads
the token that senders on other machines need. `views` is what the rest of the program hands in to be shown.
"""
