"""A FastAPI application that knows nothing of OpenTelemetry: `opentelemetry-instrument uvicorn` runs it.

/price gets /openapi.json at MODEL_URL with aiohttp, which no instrumentation here covers, so that no call
shows the SDK.
"""

import os

import aiohttp
from fastapi import FastAPI

app = FastAPI()


@app.api_route("/price", methods=["GET", "POST"])
async def price():
    async with aiohttp.ClientSession() as session:
        async with session.get(os.environ["MODEL_URL"] + "/openapi.json") as response:
            return {"bytes": len(await response.read())}
