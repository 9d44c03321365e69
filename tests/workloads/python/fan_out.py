"""The workload of the benchmarks: fan_out.py PORT URL CALLS [sdk]

Answers each request after CALLS calls of URL, one after the other, over kept-alive connections, as
an agent that asks a model in a loop. The bodies are about as large as a short chat. With sdk, the
OpenTelemetry SDK and its instrumentations of FastAPI and httpx are in the process.
It speaks TLS where TLS_CERTIFICATE and TLS_KEY name files.
"""

import os
import sys

import httpx
import uvicorn
from fastapi import FastAPI

QUESTION = {"model": "bench", "messages": [{"role": "user", "content": "x" * 2000}]}


def application(url: str, calls: int) -> FastAPI:
    app = FastAPI()
    client = httpx.AsyncClient()

    @app.get("/work")
    async def work():
        answers = [(await client.post(url, json=QUESTION)).json() for _ in range(calls)]
        return {"characters": sum(len(answer["text"]) for answer in answers)}

    return app


def instrument(app: FastAPI):
    from opentelemetry import metrics, trace
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
    HTTPXClientInstrumentor().instrument()
    FastAPIInstrumentor.instrument_app(app)


if __name__ == "__main__":
    port, url, calls = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    app = application(url, calls)
    if sys.argv[4:] == ["sdk"]:
        instrument(app)
    # A line per request would be the larger part of some requests.
    tls = {"ssl_certfile": os.environ.get("TLS_CERTIFICATE"), "ssl_keyfile": os.environ.get("TLS_KEY")}
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, **tls)
