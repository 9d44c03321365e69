"""Programs with the OpenTelemetry SDK inside, set up by its environment.

with_sdk.py serve PORT: FastAPI on PORT, with the instrumentations of FastAPI, httpx and openai.
POST /chat asks the model at MODEL_URL with openai, and then GET /openapi.json there with aiohttp,
which no instrumentation covers. GET /price does the latter alone.

with_sdk.py ask URL [COUNT]: one POST with httpx and its instrumentation, or so many at once.

EXPORTS says what is exported: `traces`, which is the default, `metrics`, or both with a comma. Without
traces no spans are made.

With OTEL_TRACES_EXPORTER=none both are what `opentelemetry-instrument` makes of that: their spans are
made and named in headers, and exported by nobody; metrics are exported all the same.
"""

import asyncio
import os
import sys

from opentelemetry import metrics, trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def exporter():
    if os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    return OTLPSpanExporter()


def metric_exporter():
    if os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    return OTLPMetricExporter()


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

    @app.get("/price")
    async def price():
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{model_url}/openapi.json") as response:
                return {"bytes": len(await response.read())}

    @app.post("/chat")
    async def chat():
        messages = [{"role": "user", "content": "hi"}]
        answer = await client.chat.completions.create(model="scripted", messages=messages)
        await price()
        return {"answer": answer.choices[0].message.content}

    uvicorn.run(app, host="127.0.0.1", port=port)


async def ask(url, count):
    import httpx

    async with httpx.AsyncClient(timeout=60) as client:
        answers = await asyncio.gather(*(client.post(url) for _ in range(count)))
    for answer in answers:
        answer.raise_for_status()


exports = os.environ.get("EXPORTS", "traces").split(",")
has_spans = "traces" in exports
if os.environ.get("OTEL_TRACES_EXPORTER") == "none":
    exports = ["metrics"]
provider = TracerProvider()
if "metrics" in exports:
    meters = MeterProvider([PeriodicExportingMetricReader(metric_exporter())])
    metrics.set_meter_provider(meters)
    metrics.get_meter("with_sdk").create_histogram("sdk.started").record(1)
if "traces" in exports:
    provider.add_span_processor(BatchSpanProcessor(exporter()))
if has_spans:
    trace.set_tracer_provider(provider)
HTTPXClientInstrumentor().instrument()
if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    asyncio.run(ask(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1))
provider.shutdown()
