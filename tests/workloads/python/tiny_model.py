"""Writes a tiny model with random weights for Ollama: tiny_model.py DIRECTORY

What it says is noise, but llama.cpp loads and runs it like any other. Leaves tiny.gguf and a
Modelfile in the directory.
"""

import sys
from pathlib import Path

import gguf
import numpy

LAYERS, WIDTH, HEADS, INNER, CONTEXT = 2, 64, 2, 128, 512

directory = Path(sys.argv[1])
directory.mkdir(parents=True, exist_ok=True)
random = numpy.random.default_rng(seed=1)
writer = gguf.GGUFWriter(directory / "tiny.gguf", "llama")

tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
kinds = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.BYTE] * 256
letters = "▁etaoinshrdlucmfwypvbgkjqxz"
tokens += letters
kinds += [gguf.TokenType.NORMAL] * len(letters)

writer.add_name("tiny")
writer.add_context_length(CONTEXT)
writer.add_embedding_length(WIDTH)
writer.add_block_count(LAYERS)
writer.add_feed_forward_length(INNER)
writer.add_head_count(HEADS)
writer.add_head_count_kv(HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(WIDTH // HEADS)
writer.add_vocab_size(len(tokens))
writer.add_tokenizer_model("llama")
writer.add_token_list(tokens)
writer.add_token_scores([-float(number) for number in range(len(tokens))])
writer.add_token_types(kinds)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)


def add(name, *shape, ones=False):
    weights = numpy.ones(shape) if ones else random.normal(0, 0.1, shape)
    writer.add_tensor(f"{name}.weight", weights.astype(numpy.float32))


add("token_embd", len(tokens), WIDTH)
add("output_norm", WIDTH, ones=True)
add("output", len(tokens), WIDTH)
for layer in range(LAYERS):
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        add(f"blk.{layer}.{name}", WIDTH, WIDTH)
    for name in ("attn_norm", "ffn_norm"):
        add(f"blk.{layer}.{name}", WIDTH, ones=True)
    for name in ("ffn_gate", "ffn_up"):
        add(f"blk.{layer}.{name}", INNER, WIDTH)
    add(f"blk.{layer}.ffn_down", WIDTH, INNER)

writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
(directory / "Modelfile").write_text(
    'FROM ./tiny.gguf\nTEMPLATE "{{ .Prompt }}"\nPARAMETER num_predict 16\n'
)
