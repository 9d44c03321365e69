"""Programs with the OpenTelemetry SDK inside, set up by its environment.

with_sdk.py serve PORT: FastAPI on PORT, with the instrumentations of FastAPI, httpx and openai.
POST /chat asks the model at MODEL_URL with openai, and then GET /openapi.json there with aiohttp,
which no instrumentation covers.

with_sdk.py ask URL: one POST with httpx and its instrumentation.
"""

import os
import sys

from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def exporter():
    if os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    return OTLPSpanExporter()


def serve(port):
    import aiohttp
    import uvicorn
    from fastapi import FastAPI
    from openai import AsyncOpenAI
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()
    app = FastAPI()
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])
    model_url = os.environ["MODEL_URL"]
    client = AsyncOpenAI(api_key="none", base_url=f"{model_url}/v1", max_retries=0)

    @app.post("/chat")
    async def chat():
        messages = [{"role": "user", "content": "hi"}]
        answer = await client.chat.completions.create(model="scripted", messages=messages)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{model_url}/openapi.json") as response:
                await response.read()
        return {"answer": answer.choices[0].message.content}

    uvicorn.run(app, host="127.0.0.1", port=port)


def ask(url):
    import httpx

    httpx.post(url, timeout=30).raise_for_status()


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(exporter()))
trace.set_tracer_provider(provider)
HTTPXClientInstrumentor().instrument()
if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    ask(sys.argv[2])
provider.shutdown()
