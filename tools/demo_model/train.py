"""Makes demo.gguf: text from the grammar, a vocabulary, a model trained for --minutes, the file, and its evaluation.

`python3 tools/demo_model/train.py --minutes 55`   (needs PyTorch and NumPy; one thread unless --threads says more)
"""

import argparse
import os
import random
import time

import torch
import torch.nn.functional as F

import bpe
import chat_samples
import evaluate
import gguf_writer
import model

HERE = os.path.dirname(os.path.abspath(__file__))
BATCH_TOKENS, POOL_DOCUMENTS, LONGEST = 4096, 480, 512
USER_WEIGHT = 0.15         # of a token in a user's or system's turn: mostly drawn at random, little to learn
BALANCE_STEP = 0.002       # how far a selection bias moves in a step
MATRIX_RATE, OTHER_RATE = 0.02, 0.004


class Muon:
    """Momentum whose update is made orthogonal by five Newton-Schulz steps (Jordan et al. 2024, their coefficients).
    Stacked experts are treated one by one."""

    def __init__(self, tensors, momentum=0.95, decay=0.01):
        self.tensors, self.momentum, self.decay = tensors, momentum, decay
        self.buffers = [torch.zeros_like(t) for t in tensors]

    @torch.no_grad()
    def step(self, rate):
        for tensor, buffer in zip(self.tensors, self.buffers):
            buffer.lerp_(tensor.grad, 1 - self.momentum)
            update = tensor.grad.lerp(buffer, self.momentum)
            tall = update.shape[-2] > update.shape[-1]
            x = update.transpose(-2, -1) if tall else update
            x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
            for _ in range(5):
                square = x @ x.transpose(-2, -1)
                x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
            update = x.transpose(-2, -1) if tall else x
            scale = max(1.0, tensor.shape[-2] / tensor.shape[-1]) ** 0.5
            tensor.mul_(1 - rate * self.decay).add_(update, alpha=-rate * scale)
            tensor.grad = None


def token_weights(ids, assistant):
    """Weight of each token as a target: small in user and system turns, 1 elsewhere."""
    weights, weight = [], 1.0
    for index, token in enumerate(ids):
        if token == bpe.IM_START:
            weight = 1.0 if ids[index + 1] == assistant else USER_WEIGHT
        weights.append(weight)
        if token == bpe.IM_END:
            weight = 1.0
    return weights


def batches(tokenizer, seed):
    """Endless batches of whole documents of similar length: ids and target weights, both [documents, time]."""
    count, assistant = 0, tokenizer.encode("assistant")[0]
    while True:
        documents = []
        for _ in range(POOL_DOCUMENTS):
            ids = tokenizer.encode(chat_samples.sample(random.Random(f"{seed}/{count}")).rstrip("\n"))
            count += 1
            if len(ids) <= LONGEST:
                documents.append(ids)
        documents.sort(key=len)
        pool, batch = [], []
        for ids in documents:
            if (len(batch) + 1) * len(ids) > BATCH_TOKENS:
                pool.append(batch)
                batch = []
            batch.append(ids)
        pool.append(batch)
        random.Random(count).shuffle(pool)
        for batch in pool:
            width = max(map(len, batch))
            ids = torch.tensor([d + [bpe.PAD] * (width - len(d)) for d in batch])
            weight = torch.tensor([token_weights(d, assistant) + [0.0] * (width - len(d)) for d in batch])
            yield ids, weight


def loss_of(weights, config, ids, weight, loads):
    h = model.hidden_states(weights, config, ids[:, :-1], loads)
    wanted = weight[:, 1:].reshape(-1)
    used = wanted > 0
    logits = h.reshape(-1, config.n_embd)[used] @ weights["token_embd.weight"].t()
    losses = F.cross_entropy(logits, ids[:, 1:].reshape(-1)[used], reduction="none")
    return (losses * wanted[used]).sum() / wanted.sum()


def schedule(progress):
    """Share of the full rate: up over the first 2 %, level until 30 %, then down to nothing."""
    return min(1.0, progress / 0.02, (1.0 - progress) / 0.7)


def make_tokenizer(n_vocab, seed):
    texts = [chat_samples.sample(random.Random(f"vocabulary/{seed}/{i}")) for i in range(8000)]
    return bpe.Tokenizer(bpe.train_merges(texts, n_vocab - 256 - len(bpe.SPECIALS)))


def train(options, config, tokenizer):
    if options.continue_from:
        weights = evaluate.load(options.continue_from)[0]
        for name, tensor in weights.items():
            tensor.requires_grad_(not name.endswith(".bias"))
    else:
        weights = model.initial_weights(config, options.seed)
    trained = {name: w for name, w in weights.items() if w.requires_grad}
    matrices = [w for name, w in trained.items()
                if w.dim() >= 2 and "token_embd" not in name and "conv.weight" not in name and "ffn_gate_inp" not in name]
    others = [w for w in trained.values() if not any(w is m for m in matrices)]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.01)
    start, step, tokens, mean_loss, last_export = time.time(), 0, 0, None, time.time()
    for ids, weight in batches(tokenizer, options.seed):
        progress = (time.time() - start) / (options.minutes * 60)
        if progress >= 1.0 or (options.steps and step >= options.steps):
            break
        loads = {}
        loss = loss_of(weights, config, ids, weight, loads)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for group in adam.param_groups:
            group["lr"] = OTHER_RATE * schedule(progress)
        adam.step()
        adam.zero_grad(set_to_none=True)
        muon.step(MATRIX_RATE * schedule(progress))
        for block, counts in loads.items():      # balance without a loss: lift the experts that were chosen too seldom
            counts = counts.float()
            weights[block + "exp_probs_b.bias"] += BALANCE_STEP * schedule(progress) * torch.sign(counts.mean() - counts)
        step, tokens = step + 1, tokens + int((weight > 0).sum())
        mean_loss = loss.item() if mean_loss is None else 0.98 * mean_loss + 0.02 * loss.item()
        if step % 50 == 0:
            spread = max((c.max() / c.float().mean()).item() for c in loads.values())
            print(f"step {step}  {tokens / 1e6:.2f} M tokens  {tokens / (time.time() - start):.0f} tok/s  "
                  f"loss {mean_loss:.4f}  fullest expert {spread:.2f} x mean  {progress * options.minutes:.1f} min",
                  flush=True)
        if time.time() - last_export > options.export_minutes * 60:
            export(options.out, config, tokenizer, weights)
            last_export = time.time()
    print(f"trained {step} steps, {tokens} tokens, {(time.time() - start) / 60:.1f} minutes")
    return weights


def export(path, config, tokenizer, weights):
    arrays = {name: w.detach().numpy() for name, w in weights.items()}
    size = gguf_writer.write(path, config, tokenizer, arrays)
    print(f"wrote {os.path.basename(path)}: {size} bytes, {sum(a.size for a in arrays.values())} parameters", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=55)
    parser.add_argument("--steps", type=int, default=0, help="stop after so many steps (0: by time alone)")
    parser.add_argument("--export-minutes", type=float, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--continue-from", metavar="GGUF", help="start from this file's weights and vocabulary")
    parser.add_argument("--out", default=os.path.join(HERE, "demo.gguf"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = model.Config()
    if options.continue_from:
        _, config, tokenizer = evaluate.load(options.continue_from)
    else:
        tokenizer = make_tokenizer(config.n_vocab, options.seed)
    print(f"vocabulary: {len(tokenizer.tokens)} tokens, {len(tokenizer.merges)} merges", flush=True)
    weights = train(options, config, tokenizer)
    export(options.out, config, tokenizer, weights)
    evaluate.write_held_out()
    evaluate.report(options.out)


if __name__ == "__main__":
    main()
