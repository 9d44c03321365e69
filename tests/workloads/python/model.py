"""A scripted model server with the APIs of OpenAI, Anthropic and Ollama: model.py PORT

The one stand-in among the workloads: it answers from a script in place of a model. Its caller
decides what it answers: `scripted/script.py` has the language. It speaks TLS where TLS_CERTIFICATE and
TLS_KEY name files.
"""

import os
import sys

import uvicorn
from fastapi import FastAPI

from scripted import anthropic_api, ollama_api, openai_api

app = FastAPI()
for api in (openai_api, anthropic_api, ollama_api):
    app.include_router(api.router)

uvicorn.run(
    app,
    host=os.environ.get("HOST", "127.0.0.1"),
    port=int(sys.argv[1]),
    ssl_certfile=os.environ.get("TLS_CERTIFICATE"),
    ssl_keyfile=os.environ.get("TLS_KEY"),
)
