"""A web handler that hands over what it is sent: `REPLAY_DIR=... uvicorn hand_over_fastapi:app`.

The file is on the disk before the handler answers: 201 with the receipt where it came within a second, else 202 with
the ticket, which the caller may ask for later.
"""

from __future__ import annotations

import os

from fastapi import FastAPI, Request, Response

from syncdaemon.client import AsyncOutbox, ReceiptTimeout

app = FastAPI()
outbox = AsyncOutbox(os.environ["REPLAY_DIR"])


@app.post("/evidence")
async def evidence(request: Request, response: Response) -> dict[str, object]:
    ticket = await outbox.put(await request.body())
    try:
        receipt = await ticket.receipt(timeout=1)
    except ReceiptTimeout:
        response.status_code = 202
        return {"ticket": str(ticket)}
    response.status_code = 201
    return {"ticket": str(ticket), "stream": receipt.stream, "stream_seq": receipt.stream_seq}
