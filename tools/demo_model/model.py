"""The lfm2moe forward pass in PyTorch, over a dictionary of tensors with the GGUF file's names and (row-major) shapes."""

import dataclasses
import math

import torch
import torch.nn.functional as F


@dataclasses.dataclass(frozen=True)
class Config:
    n_vocab: int = 2048
    n_embd: int = 192
    n_head: int = 3
    head_dim: int = 64
    n_head_kv: tuple = (0, 1, 0, 1, 0, 1)   # one entry a layer; 0 = short convolution
    n_ff: int = 384
    n_ff_exp: int = 128
    n_expert: int = 8
    n_expert_used: int = 2
    n_dense: int = 1                         # leading dense layers
    n_taps: int = 3
    n_context: int = 2048
    rope_base: float = 10000.0
    eps: float = 1e-5

    @property
    def n_layer(self):
        return len(self.n_head_kv)


def shapes(config):
    """Tensor name -> shape, in file order. A matrix is [outputs, inputs]; experts are stacked in front."""
    c, n = config, config.n_embd
    out = {"token_embd.weight": (c.n_vocab, n), "token_embd_norm.weight": (n,)}
    for layer, n_kv in enumerate(c.n_head_kv):
        b = f"blk.{layer}."
        out[b + "attn_norm.weight"] = (n,)
        if n_kv:
            out[b + "attn_q.weight"] = (c.n_head * c.head_dim, n)
            out[b + "attn_k.weight"] = out[b + "attn_v.weight"] = (n_kv * c.head_dim, n)
            out[b + "attn_output.weight"] = (n, c.n_head * c.head_dim)
            out[b + "attn_q_norm.weight"] = out[b + "attn_k_norm.weight"] = (c.head_dim,)
        else:
            out[b + "shortconv.in_proj.weight"] = (3 * n, n)
            out[b + "shortconv.conv.weight"] = (n, c.n_taps)
            out[b + "shortconv.out_proj.weight"] = (n, n)
        out[b + "ffn_norm.weight"] = (n,)
        if layer < c.n_dense:
            out[b + "ffn_gate.weight"] = out[b + "ffn_up.weight"] = (c.n_ff, n)
            out[b + "ffn_down.weight"] = (n, c.n_ff)
        else:
            out[b + "ffn_gate_inp.weight"] = (c.n_expert, n)
            out[b + "exp_probs_b.bias"] = (c.n_expert,)
            out[b + "ffn_gate_exps.weight"] = out[b + "ffn_up_exps.weight"] = (c.n_expert, c.n_ff_exp, n)
            out[b + "ffn_down_exps.weight"] = (c.n_expert, n, c.n_ff_exp)
    return out


def initial_weights(config, seed):
    """Norms 1, biases 0, matrices normal; those that write into the residual stream start smaller."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(config).items():
        if "norm" in name:
            weights[name] = torch.ones(shape)
        elif name.endswith(".bias"):
            weights[name] = torch.zeros(shape)
        else:
            std = 0.02 if name == "token_embd.weight" else 1.0 / math.sqrt(shape[-1])
            if any(part in name for part in ("attn_output", "out_proj", "ffn_down")):
                std /= math.sqrt(2 * config.n_layer)
            weights[name] = torch.randn(shape, generator=generator) * std
        weights[name].requires_grad_(not name.endswith(".bias"))
    return weights


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def rope(x, config):
    """NEOX rotation of x[batch, head, time, head_dim]: dimension i is paired with i + head_dim / 2."""
    half = config.head_dim // 2
    frequency = config.rope_base ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = torch.arange(x.shape[2], dtype=torch.float32)[:, None] * frequency
    cos, sin = angle.cos(), angle.sin()
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def attention(w, b, x, config, n_kv):
    batch, time, _ = x.shape

    def heads(name, n):
        return (x @ w[f"{b}attn_{name}.weight"].t()).view(batch, time, n, config.head_dim).transpose(1, 2)
    q = rope(rms_norm(heads("q", config.n_head), w[b + "attn_q_norm.weight"], config.eps), config)
    k = rope(rms_norm(heads("k", n_kv), w[b + "attn_k_norm.weight"], config.eps), config)
    k, v = (t.repeat_interleave(config.n_head // n_kv, 1) for t in (k, heads("v", n_kv)))
    mask = torch.full((time, time), float("-inf")).triu(1)
    scores = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(config.head_dim) + mask, -1)
    return (scores @ v).transpose(1, 2).reshape(batch, time, -1) @ w[b + "attn_output.weight"].t()


def short_convolution(w, b, x, config):
    gate_in, gate_out, value = (x @ w[b + "shortconv.in_proj.weight"].t()).chunk(3, -1)
    taps = w[b + "shortconv.conv.weight"]
    s = F.pad(gate_in * value, (0, 0, config.n_taps - 1, 0))
    y = sum(s[:, tap:tap + x.shape[1]] * taps[:, tap] for tap in range(config.n_taps))
    return (gate_out * y) @ w[b + "shortconv.out_proj.weight"].t()


def dense_ffn(w, b, x):
    hidden = F.silu(x @ w[b + "ffn_gate.weight"].t()) * (x @ w[b + "ffn_up.weight"].t())
    return hidden @ w[b + "ffn_down.weight"].t()


def moe_ffn(w, b, x, config, loads):
    """x[n, n_embd]. The bias takes part in the choice of the experts only. Adds to loads[b] how often each was chosen."""
    scores = torch.sigmoid(x @ w[b + "ffn_gate_inp.weight"].t())
    chosen = (scores.detach() + w[b + "exp_probs_b.bias"]).topk(config.n_expert_used, -1).indices
    share = scores.gather(1, chosen)
    share = share / (share.sum(-1, keepdim=True) + 1e-6)
    order = chosen.flatten().argsort()
    row = order // config.n_expert_used
    counts = torch.bincount(chosen.flatten(), minlength=config.n_expert)
    if loads is not None:
        loads[b] = counts
    gathered, parts = x[row].split(counts.tolist()), []
    for expert, part in enumerate(gathered):
        hidden = F.silu(part @ w[b + "ffn_gate_exps.weight"][expert].t()) * (part @ w[b + "ffn_up_exps.weight"][expert].t())
        parts.append(hidden @ w[b + "ffn_down_exps.weight"][expert].t())
    weighted = torch.cat(parts) * share.flatten()[order][:, None]
    return torch.zeros_like(x).index_add(0, row, weighted)


def hidden_states(w, config, ids, loads=None):
    """ids[batch, time] -> normed hidden states [batch, time, n_embd]; logits are these times the embedding."""
    h = w["token_embd.weight"][ids]
    for layer, n_kv in enumerate(config.n_head_kv):
        b = f"blk.{layer}."
        x = rms_norm(h, w[b + "attn_norm.weight"], config.eps)
        h = h + (attention(w, b, x, config, n_kv) if n_kv else short_convolution(w, b, x, config))
        x = rms_norm(h, w[b + "ffn_norm.weight"], config.eps)
        if layer < config.n_dense:
            h = h + dense_ffn(w, b, x)
        else:
            h = h + moe_ffn(w, b, x.reshape(-1, config.n_embd), config, loads).view_as(h)
    return rms_norm(h, w["token_embd_norm.weight"], config.eps)


@torch.no_grad()
def generate(w, config, prompts, stop, n_new=260, temperature=0.0, top_k=50, repeat_penalty=1.0, window=64, seed=1):
    """Continues every prompt (a list of ids) until a stop token or n_new tokens. Temperature 0 = greedy."""
    rows, done = [list(p) for p in prompts], [False] * len(prompts)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_new):
        live = [i for i in range(len(rows)) if not done[i]]
        if not live:
            break
        longest = max(len(rows[i]) for i in live)
        ids = torch.tensor([rows[i] + [0] * (longest - len(rows[i])) for i in live])
        last = torch.tensor([len(rows[i]) - 1 for i in live])
        h = hidden_states(w, config, ids)[torch.arange(len(live)), last]
        logits = h @ w["token_embd.weight"].t()
        for row, i in enumerate(live):
            if repeat_penalty != 1.0:
                recent = torch.tensor(sorted(set(rows[i][-window:])))
                value = logits[row, recent]
                logits[row, recent] = torch.where(value > 0, value / repeat_penalty, value * repeat_penalty)
            if temperature == 0.0:
                token = int(logits[row].argmax())
            else:
                best = logits[row].topk(top_k)
                chances = torch.softmax(best.values / temperature, -1)
                token = int(best.indices[torch.multinomial(chances, 1, generator=generator)])
            rows[i].append(token)
            done[i] = token in stop
    return [row[len(prompt):] for row, prompt in zip(rows, prompts)]
