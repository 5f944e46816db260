"""Writes the demo model as a GGUF v3 file (Q8_0 matrices, F32 for the rest) and reads its tensors back for evaluation."""

import os
import struct

import numpy as np

import bpe

ALIGNMENT = 32
F32, Q8_0 = 0, 8
U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
BLOCK = np.dtype([("d", "<f2"), ("q", "i1", 32)])

CHAT_TEMPLATE = """{{- bos_token -}}
{%- for message in messages -%}
    {{- "<|im_start|>" + message["role"] + "\\n" + message["content"] + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
{%- endif -%}
"""


def tensor_type(name, shape):
    """Q8_0 for matrices whose rows are whole blocks; norms, taps, router and bias stay F32."""
    keep = len(shape) == 1 or "conv.weight" in name or "ffn_gate_inp" in name or shape[-1] % 32 != 0
    return F32 if keep else Q8_0


def quantize_q8_0(values):
    """Blocks of 32: d = max|x| / 127 as f16, q = x / d rounded to the nearest integer."""
    x = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, 32)
    blocks = np.zeros(len(x), BLOCK)
    scale = np.abs(x).max(1) / 127.0
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    blocks["d"] = scale.astype(np.float16)
    blocks["q"] = np.clip(np.rint(x * inverse[:, None]), -127, 127).astype(np.int8)
    return blocks.tobytes()


def _string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        element, values = value
        return struct.pack("<IQ", element, len(values)) + b"".join(_value(element, v) for v in values)
    return struct.pack({U32: "<I", I32: "<i", FLOAT: "<f", BOOL: "<?"}[kind], value)


def metadata(config, tokenizer):
    """(key, type, value) for everything that the runtime reads."""
    a = "lfm2moe."
    return [
        ("general.architecture", STRING, "lfm2moe"), ("general.name", STRING, "lfm-demo stories"),
        ("general.alignment", U32, ALIGNMENT), ("general.quantization_version", U32, 2), ("general.file_type", U32, 7),
        ("general.sampling.temp", FLOAT, 0.1), ("general.sampling.top_k", I32, 50),
        ("general.sampling.penalty_repeat", FLOAT, 1.05),
        (a + "context_length", U32, config.n_context), (a + "embedding_length", U32, config.n_embd),
        (a + "block_count", U32, config.n_layer), (a + "feed_forward_length", U32, config.n_ff),
        (a + "attention.head_count", U32, config.n_head), (a + "attention.head_count_kv", ARRAY, (I32, config.n_head_kv)),
        (a + "attention.layer_norm_rms_epsilon", FLOAT, config.eps), (a + "rope.freq_base", FLOAT, config.rope_base),
        (a + "vocab_size", U32, config.n_vocab), (a + "shortconv.l_cache", U32, config.n_taps),
        (a + "expert_count", U32, config.n_expert), (a + "expert_used_count", U32, config.n_expert_used),
        (a + "expert_feed_forward_length", U32, config.n_ff_exp), (a + "leading_dense_block_count", U32, config.n_dense),
        (a + "expert_gating_func", U32, 2),
        ("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "lfm2"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, tokenizer.tokens)),
        ("tokenizer.ggml.token_type", ARRAY, (I32, tokenizer.types)),
        ("tokenizer.ggml.merges", ARRAY, (STRING, [f"{x} {y}" for x, y in tokenizer.merges])),
        ("tokenizer.ggml.bos_token_id", U32, bpe.BOS), ("tokenizer.ggml.eos_token_id", U32, bpe.IM_END),
        ("tokenizer.ggml.padding_token_id", U32, bpe.PAD), ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.chat_template", STRING, CHAT_TEMPLATE),
    ]


def write(path, config, tokenizer, tensors):
    """tensors: name -> float array. Written beside the path and moved there when complete."""
    keys = metadata(config, tokenizer)
    out = bytearray(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys)))
    for key, kind, value in keys:
        out += _string(key) + struct.pack("<I", kind) + _value(kind, value)
    offset, payloads = 0, []
    for name, values in tensors.items():
        kind = tensor_type(name, values.shape)
        data = quantize_q8_0(values) if kind == Q8_0 else np.ascontiguousarray(values, dtype="<f4").tobytes()
        out += _string(name) + struct.pack("<I", values.ndim)
        out += b"".join(struct.pack("<Q", n) for n in reversed(values.shape)) + struct.pack("<IQ", kind, offset)
        payloads.append(data + bytes(-len(data) % ALIGNMENT))
        offset += len(payloads[-1])
    out += bytes(-len(out) % ALIGNMENT)
    out += b"".join(payloads)
    temporary = path + ".part"
    with open(temporary, "wb") as file:
        file.write(out)
    os.replace(temporary, path)
    return len(out)


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self):
        size = self.take("Q")
        self.at += size
        return self.data[self.at - size:self.at].decode("utf-8")

    def value(self, kind):
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            element, count = self.take("I"), self.take("Q")
            return [self.value(element) for _ in range(count)]
        return self.take({U32: "I", I32: "i", FLOAT: "f", BOOL: "?"}[kind])


def read(path):
    """(metadata as a dictionary, name -> f32 array) of a file that write() made."""
    with open(path, "rb") as file:
        reader = _Reader(file.read())
    reader.at = 8
    n_tensors, n_keys = reader.take("Q"), reader.take("Q")
    keys, infos, tensors = {}, [], {}
    for _ in range(n_keys):
        key = reader.text()
        keys[key] = reader.value(reader.take("I"))
    for _ in range(n_tensors):
        name = reader.text()
        shape = [reader.take("Q") for _ in range(reader.take("I"))][::-1]
        infos.append((name, shape, reader.take("I"), reader.take("Q")))
    start = reader.at + -reader.at % ALIGNMENT
    for name, shape, kind, offset in infos:
        count = int(np.prod(shape))
        if kind == F32:
            tensors[name] = np.frombuffer(reader.data, "<f4", count, start + offset).reshape(shape).copy()
        else:
            blocks = np.frombuffer(reader.data, BLOCK, count // 32, start + offset)
            tensors[name] = (blocks["q"] * blocks["d"].astype(np.float32)[:, None]).reshape(shape)
    return keys, tensors
